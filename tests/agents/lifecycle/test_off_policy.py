from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from perennial.agents.base import Agent, Decision
from perennial.agents.exploring import Exploring
from perennial.agents.lifecycle import off_policy
from perennial.agents.lifecycle.off_policy import Weighted, compare, effective_size, evaluate
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import begun

M, K, EPSILON = SPACES.n_candidates, SPACES.slate_size, 0.3


class Fixed(Agent):
    """Always shows the same slots."""

    def __init__(self, slots):
        self.slots = np.array(slots, np.int32)

    def act(self, observations, keys):
        slates = np.tile(self.slots, (len(keys), 1))
        return Decision(slates, np.ones(slates.shape))


def every_log(served):
    """All that an explored policy may show on one page, each with its chance: (pages, chance)."""
    uniform = np.array(list(permutations(range(M), K)), np.int32)
    slates = np.concatenate([np.array([served], np.int32), uniform])
    chance = np.concatenate([[1 - EPSILON], np.full(len(uniform), EPSILON / len(uniform))])
    page = wave(0, [0])
    pages = page.take(np.zeros(len(slates), np.int64))
    explored = np.arange(len(slates)) > 0
    floor = Exploring(Fixed(served), EPSILON)
    propensity = floor._mixture((slates == served).cumprod(axis=1).astype(float), slates, M)
    return replace(pages, slates=slates, explored=explored, slot_propensity=propensity), chance


def earned(pages):
    """What a slot earns: any function of slot and item."""
    table = np.random.default_rng(1).random((K, M))
    return table[np.arange(K), pages.slates], table


@pytest.mark.parametrize("known", [True, False])
def test_slot_weights_are_unbiased_by_enumeration(known):
    served, target = [2, 4], [2, 1]  # agree in the first slot only
    pages, chance = every_log(served)
    rewards, table = earned(pages)
    slates = np.tile(np.array(target, np.int32), (len(pages), 1))
    own = np.tile(np.array(served, np.int32), (len(pages), 1)) if known else None
    weights = off_policy.slot_weights(pages, slates, EPSILON, own)
    np.testing.assert_allclose(chance @ weights, 1.0)
    assert chance @ (weights * rewards).sum(axis=1) == pytest.approx(table[0, 2] + table[1, 1])
    assert weights.max() <= M / EPSILON + 1e-9


def test_cascade_weights_are_unbiased_where_a_slot_depends_on_those_above():
    served, target = [2, 4], [2, 1]
    pages, chance = every_log(served)
    above = np.random.default_rng(2).random((M, M))
    rewards = np.stack([above[pages.slates[:, 0], 0], above[pages.slates[:, 0], pages.slates[:, 1]]], axis=1)
    weights = off_policy.cascade_weights(pages, Fixed(target))
    assert chance @ (weights * rewards).sum(axis=1) == pytest.approx(above[2, 0] + above[2, 1])
    whole = off_policy.slate_weights(pages, Fixed(target))
    assert chance @ (whole * rewards).sum(axis=1) == pytest.approx(above[2, 0] + above[2, 1])
    np.testing.assert_array_equal(whole[:, 0], whole[:, 1])


def hand():
    """Two users, three pages, two slots."""
    weights = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    clicks = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    predicted, target = np.full((3, 2), 0.5), np.full((3, 2), 0.6)
    return Weighted(weights, clicks, predicted, target, np.array([1, 1, 2], np.int32))


def test_estimators_by_hand():
    """IPS (2 + 1 + 2) / 3; SNIPS 2/3 + 3/3; DM 1.2; DR 1.2 + (1 + .5 + (-.5 + 1)) / 3."""
    values = {name: evaluate(hand(), name).value for name in off_policy.ESTIMATORS}
    assert values == pytest.approx({"ips": 5 / 3, "snips": 5 / 3, "dm": 1.2, "dr": 1.2 + 2 / 3})
    assert effective_size(hand().weights) == pytest.approx(6.0**2 / 10)


def test_the_interval_sums_each_users_pages():
    """IPS: pages 2, 1, 2 about 5/3; users -1/3 and 1/3; sd = sqrt(2/9 x 2) / 3."""
    found = evaluate(hand(), "ips")
    assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(4 / 9) / 3, rel=1e-6)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_a_policy_does_not_differ_from_itself():
    for name in off_policy.ESTIMATORS:
        found = compare(hand(), hand(), name)
        assert (found.value, found.low, found.high, found.effective) == (0.0, 0.0, 0.0, 0.0)


def test_what_was_never_seen_is_not_known():
    """No weight at all: the estimate is the model's or nothing, and the interval says that anything is possible."""
    unseen = replace(hand(), weights=np.zeros((3, 2)))
    for name in ("ips", "dr"):
        assert evaluate(unseen, name).high == np.inf
        assert compare(unseen, replace(unseen, target=unseen.target / 2), name).low == -np.inf


def test_a_perfect_model_leaves_dr_nothing_to_correct():
    data = replace(hand(), predicted=hand().earned)
    assert evaluate(data, "dr").low == evaluate(data, "dr").high == pytest.approx(1.2)


def test_who_served_is_known_only_if_it_shows_the_same_again():
    champion, pages = Fixed([0, 3]), wave(0, [1, 2, 3], explored=np.array([False, True, False]))
    own = np.array([[0, 3], [1, 2], [0, 3]], np.int32)
    pages = replace(pages, slates=own)
    np.testing.assert_array_equal(off_policy.known_slates(champion, pages, 1), [[0, 3]] * 3)
    assert off_policy.known_slates(champion, pages, 2) is None  # another version served
    assert off_policy.known_slates(Fixed([0, 4]), pages, 1) is None  # it has learned since
    assert off_policy.known_slates(begun(SPACES), pages, 1) is None  # it draws lots
    assert off_policy.known_slates(champion, pages.take(np.arange(0)), 1) is None


def test_asking_an_agent_that_draws_lots_leaves_its_generator_alone():
    agent, pages = begun(SPACES), wave(0, [1, 2, 3])
    before = agent.state()["generator"].copy()
    off_policy.own_slates(agent, pages)
    np.testing.assert_array_equal(agent.state()["generator"], before)
