"""The best slate under a conditional logit: against brute force and the paper's linear programme."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linprog

from perennial.agents.slateq.slates import exact_slates, slate_value, top_k_slates


def problem(seed: int, pages: int = 40, candidates: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight, value = np.exp(rng.normal(size=(pages, candidates))), rng.normal(1.0, 2.0, size=(pages, candidates))
    return weight, value, rng.normal(size=pages)


def worth(weight, value, nothing, slates) -> np.ndarray:
    w, v = (np.take_along_axis(part, slates.astype(np.int64), axis=1) for part in (weight, value))
    return slate_value(w, v, nothing)


def test_value_by_hand() -> None:
    """Weights 2, 1 and 1 for nothing; worths 3, 5 and 1: (6 + 5 + 1) / 4."""
    assert slate_value(np.array([[2.0, 1.0]]), np.array([[3.0, 5.0]]), np.array([1.0])).tolist() == [3.0]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_exact_is_the_best_of_all_slates(size: int) -> None:
    weight, value, nothing = problem(size)
    best = np.full(len(nothing), -np.inf)
    for slate in combinations(range(8), size):
        best = np.maximum(best, slate_value(weight[:, slate], value[:, slate], nothing))
    slates = exact_slates(weight, value, nothing, size)
    assert all(len(set(slate)) == size for slate in slates.tolist())
    assert worth(weight, value, nothing, slates) == pytest.approx(best, abs=1e-12)


def test_exact_is_the_optimum_of_the_linear_programme() -> None:
    """Charnes and Cooper: y = t x; maximise sum w v y + nothing t with t + sum w y = 1, sum y = K t, 0 <= y <= t."""
    weight, value, nothing = problem(7, pages=15, candidates=12)
    found = worth(weight, value, nothing, exact_slates(weight, value, nothing, 4))
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
    assert top_k_slates(weight, value, nothing, 2).tolist() == [[0, 1]]
    assert sorted(exact_slates(weight, value, nothing, 2)[0].tolist()) == [1, 2]
    cheap = worth(*problem(3), top_k_slates(*problem(3), 3))
    best = worth(*problem(3), exact_slates(*problem(3), 3))
    assert (cheap <= best + 1e-12).all()
    assert (cheap < best - 1e-6).any()
