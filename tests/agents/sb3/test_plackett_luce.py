"""Plackett-Luce against enumeration, and its samples against its probabilities."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch

from perennial.agents.sb3.plackett_luce import PlackettLuce

ALL = torch.tensor(list(permutations(range(5), 3)))  # the 60 ordered slates of 3 out of 5


def scores(rows: int, seed: int = 0, m: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1.5, (rows, m)))


def by_hand(row: np.ndarray, slate: tuple[int, ...]) -> list[float]:
    """P(a_k | a_<k) by dividing weights, one slot after the other."""
    left, chances = np.exp(row), []
    for slot in slate:
        chances.append(left[slot] / left.sum())
        left[slot] = 0.0
    return chances


def test_slot_probabilities_equal_enumeration() -> None:
    row = scores(1)
    log_p = PlackettLuce(3).proba_distribution(row.expand(60, 5)).slot_log_prob(ALL)
    expected = [by_hand(row[0].numpy(), tuple(slate)) for slate in ALL.tolist()]
    np.testing.assert_allclose(log_p.exp().numpy(), expected, rtol=1e-12)


def test_all_slates_sum_to_one() -> None:
    for seed in range(5):
        log_p = PlackettLuce(3).proba_distribution(scores(1, seed).expand(60, 5)).log_prob(ALL)
        assert abs(float(log_p.exp().sum()) - 1) < 1e-6


def test_far_apart_scores_stay_exact() -> None:
    policy = PlackettLuce(2).proba_distribution(torch.tensor([[80.0, 0.0, -80.0]]))
    torch.testing.assert_close(policy.slot_log_prob(torch.tensor([[2, 1]])), torch.tensor([[-160.0, -80.0]]))


def test_ranking_all_candidates_is_allowed() -> None:
    policy = PlackettLuce(3).proba_distribution(torch.zeros(1, 3))
    chances = policy.slot_log_prob(torch.tensor([[2, 0, 1]])).exp()
    torch.testing.assert_close(chances, torch.tensor([[1 / 3, 1 / 2, 1.0]]))


def test_a_repeated_slot_has_probability_zero_and_spares_the_others() -> None:
    policy = PlackettLuce(3).proba_distribution(torch.zeros(1, 4))
    chances = policy.slot_log_prob(torch.tensor([[1, 1, 2]])).exp()
    torch.testing.assert_close(chances, torch.tensor([[1 / 4, 0.0, 1 / 3]]))


def test_sample_frequencies_match_probabilities() -> None:
    n, row = 60_000, scores(1, seed=3).float()
    torch.manual_seed(0)
    policy = PlackettLuce(3).proba_distribution(row.expand(n, 5))
    codes = (policy.sample() * torch.tensor([25, 5, 1])).sum(dim=1)
    seen = torch.bincount(codes, minlength=125)[(ALL * torch.tensor([25, 5, 1])).sum(dim=1)].numpy() / n
    expected = PlackettLuce(3).proba_distribution(row.expand(60, 5)).log_prob(ALL).exp().numpy()
    errors = (seen - expected) / np.sqrt(expected * (1 - expected) / n)
    assert np.abs(errors).max() < 4
    assert (errors**2).sum() < 100


def test_mode_is_the_most_likely_slate() -> None:
    row = scores(1, seed=4)
    policy = PlackettLuce(3).proba_distribution(row.expand(60, 5))
    best = ALL[policy.log_prob(ALL).argmax()]
    assert policy.mode()[0].tolist() == best.tolist()


def test_gradient_is_chosen_minus_expected() -> None:
    """For one slot, d log p / d s = one-hot - softmax."""
    row = scores(1).requires_grad_()
    PlackettLuce(1).proba_distribution(row).log_prob(torch.tensor([[2]])).sum().backward()
    expected = torch.nn.functional.one_hot(torch.tensor([2]), 5) - row.detach().softmax(dim=1)
    torch.testing.assert_close(row.grad, expected)


def test_the_entropy_estimate_is_right_on_average() -> None:
    """Weighted by the chances of all 60 slates it is the exact entropy, -sum p log p."""
    for seed in range(3):
        policy = PlackettLuce(3).proba_distribution(scores(1, seed).expand(60, 5))
        log_p = policy.log_prob(ALL)
        exact = -(log_p.exp() * log_p).sum()
        torch.testing.assert_close((log_p.exp() * policy.entropy()).sum(), exact, rtol=1e-12, atol=1e-12)


def test_slot_entropies_of_a_uniform_policy() -> None:
    uniform = PlackettLuce(3).proba_distribution(torch.zeros(1, 5, dtype=torch.float64))
    expected = torch.tensor([np.log([5.0, 4.0, 3.0])])
    torch.testing.assert_close(uniform.slot_entropy(torch.tensor([[4, 0, 2]])), expected)
    torch.testing.assert_close(uniform.entropy(), expected.sum(dim=1))  # no slates were given: it draws its own


def test_more_entropy_is_where_its_gradient_points() -> None:
    row = scores(200, seed=5).requires_grad_()
    policy = PlackettLuce(3).proba_distribution(row)
    policy.log_prob(policy.sample())
    before = policy.entropy().mean()
    before.backward()
    assert row.grad is not None
    moved = PlackettLuce(3).proba_distribution(row.detach() + 50 * row.grad)
    assert policy.path is not None
    assert moved.slot_entropy(policy.path).sum(dim=1).mean() > before
