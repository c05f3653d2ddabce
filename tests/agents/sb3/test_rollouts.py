"""Which pages are learned from, and what return each of their slots is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces
from stable_baselines3.common.buffers import RolloutBuffer

from perennial.agents.base import Feedback, Keys
from perennial.agents.sb3 import rollouts

SPACE = gym_spaces.Dict({"page": gym_spaces.Box(-1, 1, (1,), np.float32)})
SLATE = gym_spaces.MultiDiscrete([5, 5])


def feedback(visits: list[int], pages: list[int], ended: list[int], explored: list[int], version: int = 3) -> Feedback:
    """Pages with reward 1 click in slot 1 (of 2), values 10 x visit + page, served by policy `version`."""
    n = len(visits)
    clicked = np.tile([False, True], (n, 1))
    value = (10 * np.array(visits) + np.array(pages)).astype(np.float32)
    return Feedback(
        keys=Keys(np.array(visits), np.array(pages, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int64)),
        observations={"page": value[:, None]},
        slates=np.tile(np.array([1, 2], np.int32), (n, 1)),
        slate_items=np.zeros((n, 2), np.int32),
        clicked=clicked,
        carted=np.zeros((n, 2), bool),
        purchased=np.zeros((n, 2), bool),
        not_interested=np.zeros((n, 2), bool),
        reward=np.ones(n, np.float32),
        terminated=np.array(ended, bool),
        truncated=np.zeros(n, bool),
        slot_propensity=np.ones((n, 2)),
        version=np.zeros(n, np.int32),
        explored=np.array(explored, bool),
        extras={
            "policy_version": np.full(n, version, np.int32),
            "value": np.column_stack([value, value + 0.5]),
            "log_prob": np.full((n, 2), -1.0, np.float32),
        },
    )


def test_only_pages_of_this_version_are_taken() -> None:
    mixed = Feedback.concatenate([feedback([1], [0], [1], [0], version=2), feedback([2], [0], [1], [0], version=3)])
    assert rollouts.own_pages(mixed, 3, ["page"])["visit"].tolist() == [2]


def test_pages_without_extras_are_nobodys() -> None:
    log = feedback([1], [0], [1], [0])
    log.extras.clear()
    assert rollouts.own_pages(log, 3, ["page"]) == {}


def test_pages_are_sorted_and_count_once() -> None:
    first = rollouts.own_pages(feedback([2, 1], [0, 1], [0, 1], [0, 0]), 3, ["page"])
    second = rollouts.own_pages(feedback([1, 2, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0]), 3, ["page"])
    merged = rollouts.merge(rollouts.merge({}, first), second)
    assert list(zip(merged["visit"], merged["page"], strict=True)) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert merged["observations/page"].ravel().tolist() == [10, 11, 20, 21]


def test_a_visit_is_complete_from_first_page_to_end() -> None:
    """Visit 1 is whole, 2 has not ended, 3 misses its first page, 4 misses one between."""
    log = feedback([1, 1, 2, 2, 3, 4, 4], [0, 1, 0, 1, 1, 0, 2], [0, 1, 0, 0, 1, 0, 1], [0] * 7)
    pages = rollouts.own_pages(log, 3, ["page"])
    assert rollouts.complete(pages).tolist() == [True, True] + [False] * 5


def test_reward_is_shared_by_outcomes_and_adds_up() -> None:
    log = feedback([1, 2, 3], [0, 0, 0], [1, 1, 1], [0, 0, 0])
    log.clicked[:] = [[True, True], [False, True], [False, False]]
    log.purchased[0, 1] = True
    log.reward[:] = [6, 2, -1]
    shares = rollouts.slot_rewards(log)
    np.testing.assert_allclose(shares, [[2, 4], [0, 2], [-0.5, -0.5]])
    log.not_interested[1:, 0] = True
    np.testing.assert_allclose(rollouts.slot_rewards(log), [[2, 4], [0, 2], [-1, 0]])


@pytest.mark.parametrize("slots", [1, 3])
def test_advantages_equal_those_of_stable_baselines3(slots: int) -> None:
    """With slots unrolled into steps, the advantages are those of its own buffer, number for number."""
    rng, n, gamma, lam = np.random.default_rng(0), 12, 0.9, 0.7
    rewards, values = (rng.normal(size=(n, slots)).astype(np.float32) for _ in range(2))
    goes_on = np.array([1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0], bool)
    after = np.where(goes_on, np.append(values[1:, 0], 0), 0).astype(np.float32)
    buffer = RolloutBuffer(n * slots, SPACE["page"], SLATE, "cpu", lam, gamma)
    buffer.rewards[:, 0], buffer.values[:, 0] = rewards.ravel(), values.ravel()
    buffer.episode_starts[slots::slots, 0] = ~goes_on[:-1]
    buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
    mine = rollouts.slot_advantages(rewards, values, after, goes_on, gamma, lam)
    np.testing.assert_allclose(mine.ravel(), buffer.advantages[:, 0], rtol=1e-5, atol=1e-6)


def test_an_explored_page_cuts_the_run_and_lends_its_value() -> None:
    """Visit 1: pages 0 (own), 1 (explored), 2 (own, end). With lambda 0: advantage = r + gamma V(next) - V."""
    pages = rollouts.own_pages(feedback([1, 1, 1], [0, 1, 2], [0, 0, 1], [0, 1, 0]), 3, ["page"])
    buffer = rollouts.VisitBuffer(2, SPACE, SLATE, "cpu", gae_lambda=0.0, gamma=0.5)
    buffer.fill(pages)
    expected = [[0 + 0.5 * 10.5 - 10, 1 + 0.5 * 11 - 10.5], [0 + 0.5 * 12.5 - 12, 1 - 12.5]]
    np.testing.assert_allclose(buffer.advantages[:, 0], expected)
    np.testing.assert_allclose(buffer.returns[:, 0], buffer.values[:, 0] + expected)


def test_batches_hold_whole_pages_with_all_slots() -> None:
    pages = rollouts.own_pages(feedback([1, 2, 3, 4], [0] * 4, [1] * 4, [0] * 4), 3, ["page"])
    buffer = rollouts.VisitBuffer(4, SPACE, SLATE, "cpu", gamma=1.0)
    buffer.fill(pages)
    batch = next(buffer.get(2))
    assert batch.observations["page"].shape == (2, 1)
    assert batch.actions.shape == (2, 2)
    np.testing.assert_allclose(batch.old_values, (batch.observations["page"] + torch.tensor([0.0, 0.5])).flatten())
