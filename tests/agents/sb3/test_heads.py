"""What critics make of a vector of scores: every slot of the slate that it says counts."""

from __future__ import annotations

import numpy as np
import torch

from perennial.agents.base import top_k
from perennial.agents.sb3.heads import ScoredValue, relaxed_ranks


def test_relaxed_ranks_are_those_of_the_formula() -> None:
    """Of (2, 1, 0): logits (4-3, 2-2, 0-3) for the first, (-3, -2, -3) for the second."""
    first, second = np.exp([1.0, 0.0, -3.0]), np.exp([-3.0, -2.0, -3.0])
    ranks = relaxed_ranks(torch.tensor([[2.0, 1.0, 0.0]]), 2, sharpness=1.0)[0]
    np.testing.assert_allclose(ranks, [first / first.sum(), second / second.sum()], rtol=1e-6)


def test_sharp_ranks_are_the_slate() -> None:
    scores = torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, (20, 12)).astype(np.float32))
    ranks = relaxed_ranks(scores, 4, sharpness=1e6)
    np.testing.assert_allclose(ranks.sum(dim=2), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(ranks.argmax(dim=2), top_k(scores.numpy(), 4))
    assert ranks.max(dim=2).values.min() > 0.999


def test_beneath_a_clear_winner_the_next_slot_still_teaches() -> None:
    """Worth 1 for the winner and for candidate 1, 0 for the others, all scored low: candidate 1 is to rise."""
    critic = ScoredValue(n_candidates=6, width=3, slate_size=2)
    worth, state = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3)
    scores = torch.tensor([[0.95, -0.6, -0.5, -0.6, -0.7, -0.6]], requires_grad=True)
    critic(torch.cat([worth, state, scores], dim=1)).sum().backward()
    assert scores.grad is not None
    assert scores.grad[0, 1] > 0.5
    assert (scores.grad[0, 2:] < 0).all()


def test_the_value_is_blind_to_the_order_of_candidates() -> None:
    rng = np.random.default_rng(1)
    worth, scores = (torch.as_tensor(rng.uniform(-1, 1, (8, 10)).astype(np.float32)) for _ in range(2))
    state, order = torch.ones(8, 5), torch.as_tensor(rng.permutation(10))
    critic = ScoredValue(n_candidates=10, width=5, slate_size=3)
    with torch.no_grad():
        one = critic(torch.cat([worth, state, scores], dim=1))
        other = critic(torch.cat([worth[:, order], state, scores[:, order]], dim=1))
    torch.testing.assert_close(one, other)


def test_no_slate_is_worth_more_than_the_gains_of_its_slots() -> None:
    """However high candidates are scored: a value that the log does not pin cannot run away."""
    critic = ScoredValue(n_candidates=10, width=5, slate_size=3)
    state = torch.ones(1, 5)
    scores = torch.linspace(-1, 1, 10)[None]
    with torch.no_grad():
        values = [critic(torch.cat([torch.full((1, 10), worth), state, scores], dim=1)) for worth in (-1e6, 1e6)]
        level, gains = critic.level(state), critic.gain.sum()
    torch.testing.assert_close(torch.cat(values), torch.cat([level, level + gains]))
