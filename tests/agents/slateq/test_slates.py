"""The best slate under a conditional logit: against brute force and the paper's linear programme."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.optimize import linprog

from perennial.agents.slateq.slates import exact_slates, slate_value, top_k_slates


def problem(seed: int, pages: int = 40, candidates: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight, value = np.exp(rng.normal(size=(pages, candidates))), rng.normal(1.0, 2.0, size=(pages, candidates))
    return weight, value, rng.normal(size=pages)


def worth(weight, value, nothing, slates, pull=None) -> np.ndarray:
    w, v = (np.take_along_axis(part, slates.astype(np.int64), axis=1) for part in (weight, value))
    return slate_value(w, v, nothing, alike(slates.shape[1]) if pull is None else pull)


def alike(size: int) -> np.ndarray:
    """Slots whose place does not matter."""
    return np.ones(size)


def test_value_by_hand() -> None:
    """Weights 2, 1 and 1 for nothing; worths 3, 5 and 1: (6 + 5 + 1) / 4."""
    assert slate_value(np.array([[2.0, 1.0]]), np.array([[3.0, 5.0]]), np.array([1.0]), alike(2)).tolist() == [3.0]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_exact_is_the_best_of_all_slates(size: int) -> None:
    weight, value, nothing = problem(size)
    best = np.full(len(nothing), -np.inf)
    for slate in combinations(range(8), size):
        best = np.maximum(best, slate_value(weight[:, slate], value[:, slate], nothing, alike(size)))
    slates = exact_slates(weight, value, nothing, alike(size))
    assert all(len(set(slate)) == size for slate in slates.tolist())
    assert worth(weight, value, nothing, slates) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("pull", [[1.0, 0.8, 0.64, 0.512], [1.0, 0.4, 1.3, 0.4]])
def test_exact_is_the_best_of_all_orders_where_the_place_of_a_slot_matters(pull: list[float]) -> None:
    """A visitor who chooses slot k with weight pull_k v: brute force over ordered slates, by the formula itself."""
    weight, value, nothing = problem(5, candidates=6)
    best = np.full(len(nothing), -np.inf)
    for slate in permutations(range(6), 4):
        drawn = weight[:, slate] * np.array(pull)
        best = np.maximum(best, ((drawn * value[:, slate]).sum(axis=1) + nothing) / (1 + drawn.sum(axis=1)))
    slates = exact_slates(weight, value, nothing, np.array(pull))
    assert worth(weight, value, nothing, slates, np.array(pull)) == pytest.approx(best, abs=1e-12)
    blind = worth(weight, value, nothing, exact_slates(weight, value, nothing, alike(4)), np.array(pull))
    assert (blind < best - 1e-3).any()


def test_exact_is_the_optimum_of_the_linear_programme() -> None:
    """Charnes and Cooper: y = t x; maximise sum w v y + nothing t with t + sum w y = 1, sum y = K t, 0 <= y <= t."""
    weight, value, nothing = problem(7, pages=15, candidates=12)
    found = worth(weight, value, nothing, exact_slates(weight, value, nothing, alike(4)))
    for row in range(15):
        w = weight[row]
        solved = linprog(
            -np.append(w * value[row], nothing[row]),
            A_ub=np.hstack([np.eye(12), -np.ones((12, 1))]),
            b_ub=np.zeros(12),
            A_eq=np.array([np.append(w, 1.0), np.append(np.ones(12), -4.0)]),
            b_eq=[1.0, 0.0],
        )
        assert -solved.fun == pytest.approx(found[row], abs=1e-9)


def test_top_k_is_cheap_and_sometimes_wrong() -> None:
    """A popular item of little worth crowds out a better one: top-K shows it, the best slate does not."""
    weight, value, nothing = np.array([[4.0, 1.0, 1.0]]), np.array([[1.0, 3.0, 2.0]]), np.zeros(1)
    assert top_k_slates(weight, value, nothing, alike(2)).tolist() == [[0, 1]]
    assert sorted(exact_slates(weight, value, nothing, alike(2))[0].tolist()) == [1, 2]
    cheap = worth(*problem(3), top_k_slates(*problem(3), alike(3)))
    best = worth(*problem(3), exact_slates(*problem(3), alike(3)))
    assert (cheap <= best + 1e-12).all()
    assert (cheap < best - 1e-6).any()
