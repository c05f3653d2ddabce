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


LOOKS = np.array([1.0, 0.5])


@pytest.mark.parametrize("known", [True, False])
def test_position_weights_follow_items_from_slot_to_slot(known):
    """Clicks of an item in proportion to the looks at its slot; the target swaps one item and brings another."""
    served, target = [2, 4], [4, 1]
    pages, chance = every_log(served)
    attraction = np.random.default_rng(1).random(M)
    rewards = attraction[pages.slates] * LOOKS
    slates = np.tile(np.array(target, np.int32), (len(pages), 1))
    own = np.tile(np.array(served, np.int32), (len(pages), 1)) if known else None
    weights = off_policy.position_weights(pages, slates, EPSILON, LOOKS, own)
    assert chance @ (weights * rewards).sum(axis=1) == pytest.approx(attraction[target] @ LOOKS)
    assert chance @ (weights @ LOOKS) == pytest.approx(LOOKS.sum())  # what SNIPS divides by
    if known:  # moved from the second slot to the first: seen on all pages but a share epsilon, for all it is worth
        plain = ~pages.explored
        assert weights[plain, 1] == pytest.approx(1.0 / ((1 - EPSILON) * 0.5 + EPSILON * LOOKS.sum() / M))


def test_snips_by_position_knows_a_constant_exactly():
    """If every look is a click, the self-normalised estimate is the sum of the looks, whatever was drawn."""
    weights = np.random.default_rng(0).random((20, 2))
    data = Weighted(weights, np.tile(LOOKS, (20, 1)), weights, weights, np.arange(20, dtype=np.int32), LOOKS)
    found = evaluate(data, "snips")
    assert (found.value, found.high - found.low) == pytest.approx((1.5, 0.0))


def test_examination_never_rises():
    """Clicks 30, 0, 40, 10 on explored pages and 10 added: 40, then the mean of 10 and 50, then 20."""
    clicked = np.zeros((50, 4), np.bool_)
    for slot, clicks in enumerate((30, 0, 40, 10)):
        clicked[:clicks, slot] = True
    pages = replace(wave(0, list(range(50))), clicked=clicked, explored=np.ones(50, np.bool_))
    np.testing.assert_allclose(off_policy.examination(pages), [1.0, 0.75, 0.75, 0.5])
    np.testing.assert_allclose(off_policy.examination(replace(pages, explored=np.zeros(50, np.bool_))), 1.0)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("looks", [LOOKS, None])
def test_expected_support_is_that_of_all_logs(known, looks):
    """Compound Poisson is wider than two of six items drawn without replacement, and never narrower."""
    served, first, second = [2, 4], [2, 1], [2, 4]
    pages, chance = every_log(served)

    def tiled(slates):
        return np.tile(np.array(slates, np.int32), (len(pages), 1))

    own = tiled(served) if known else None

    def weights(slates):
        if looks is None:
            return off_policy.slot_weights(pages, tiled(slates), EPSILON, own)
        return off_policy.position_weights(pages, tiled(slates), EPSILON, looks, own)

    total = np.abs(weights(first) - weights(second)).sum(axis=1)
    told = off_policy.expected_support(pages, tiled(first), tiled(second), EPSILON, looks, own)
    np.testing.assert_allclose(told, told[:1].repeat(len(told), axis=0))
    for power, found, most in zip((2, 4), told[0], (2, 5), strict=True):
        assert 1.0 - 1e-9 <= found / (chance @ total**power) < most
    same = off_policy.expected_support(pages, tiled(first), tiled(first), EPSILON, looks, own)
    assert off_policy.expected_size(same) == 0.0


def test_expected_size_counts_what_carries_the_error():
    """Alike: all of them. One of weight 100 among 1,000 of weight 1: about one; Kish would say 110."""
    alike = np.ones((50, 2))
    assert off_policy.expected_size(alike) == pytest.approx(50)
    mixed = np.concatenate([np.ones((1000, 2)), [[100.0**2, 100.0**4]]])
    assert off_policy.expected_size(mixed) == pytest.approx(11_000**2 / (1000 + 1e8))


def test_without_exploration_bounds_hold_whatever_the_unseen_earn():
    """All see [2, 4]; the candidate shows [4, 1]: 4 moves up and doubles, 2 is lost, 1 earns 0 to half a click."""
    pages = wave(0, list(range(10)), clicked=np.tile([[True, False], [False, True]], (5, 1)))
    pages = replace(pages, slates=np.tile(np.array([[2, 4]], np.int32), (10, 1)), explored=np.zeros(10, np.bool_))
    first = np.tile(np.array([[4, 1]], np.int32), (10, 1))
    found = off_policy.without_exploration(pages, first, pages.slates, LOOKS, alpha=0.05)
    # Item 4, clicked on half the pages at half the looks: +.5; item 2, clicked on half the pages: -.5.
    assert found.value == pytest.approx(0.0 + 0.25)
    assert found.low < 0.0 < 0.5 < found.high
    reach = 0.0 - found.low
    assert found.high - 0.5 == pytest.approx(reach)
    same = off_policy.without_exploration(pages, pages.slates, pages.slates, LOOKS)
    assert (same.low, same.high) == (0.0, 0.0)
    unseen = off_policy.without_exploration(pages, pages.slates, first, LOOKS)
    assert unseen.high == pytest.approx(reach)
    nothing = off_policy.without_exploration(pages.take(np.arange(0)), first[:0], first[:0], LOOKS)
    assert (nothing.low, nothing.high) == (-np.inf, np.inf)


def test_two_witnesses_leave_what_both_allow():
    first, second = off_policy.Value(1.0, -2.0, 3.0, 9.0), off_policy.Value(0.0, -1.0, 5.0, 4.0)
    assert off_policy.both(first, second) == off_policy.Value(1.0, -1.0, 3.0, 9.0)


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


def test_few_that_carry_the_error_widen_the_interval():
    """Student's quantile at 5 degrees of freedom is 2.5706; below one, nothing is said."""
    wide, normal = (evaluate(hand(), "ips", freedom=freedom) for freedom in (5.0, np.inf))
    assert (wide.high - wide.value) / (normal.high - normal.value) == pytest.approx(2.570582 / 1.959964, rel=1e-6)
    assert evaluate(hand(), "ips", freedom=0.5).high == np.inf


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
