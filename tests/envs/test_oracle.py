"""The oracle against sampling and against brute force over every slate of tiny worlds, for every way of choosing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perennial.envs import Reward, World
from perennial.envs.drift import NoDrift, Seasonal
from perennial.envs.oracle import Oracle
from perennial.envs.world import CHOICES

PAGES = 200_000
RICH = Reward(click=1.0, cart=2.0, purchase=5.0, not_interested=0.5)


@pytest.mark.parametrize("choice", CHOICES)
def test_mean_sampled_reward_equals_the_expected_reward(choice: str) -> None:
    """200,000 pages, slates with and without repeats: mean of (sampled - expected) within 3 standard errors of 0."""
    world = World(seed=21, n_users=2000, n_items=400, visits_per_day=20_000.0, reward=RICH, choice=choice)
    oracle, rng = Oracle(world), np.random.default_rng(0)
    gaps, clicks, tick = [], [], 24 * 250
    while sum(map(len, gaps)) < PAGES:
        visits = world.arrivals(tick)
        tick += 1
        while len(visits):
            slates = rng.integers(0, 50, (len(visits), 10))
            expected = oracle.score(visits, slates)
            answer = world.respond(visits, slates)
            gaps.append(answer.reward - expected.reward)
            clicks.append(answer.clicked.sum(1) - expected.clicks)
    for parts in (gaps, clicks):
        gap = np.concatenate(parts)[:PAGES]
        assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(PAGES)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("weight", [0.0, 500.0])
def test_no_slate_beats_the_best(weight: float, choice: str) -> None:
    """All 5^4 slates, repeats included, with "not interested" so dear that values fall below zero at weight 500."""
    world = World(
        seed=4,
        n_users=50,
        n_items=60,
        n_candidates=5,
        slate_size=4,
        reward=Reward(1.0, 1.0, 1.0, weight),
        visits_per_day=900.0,
        choice=choice,
    )
    oracle = Oracle(world)
    below_zero = 0
    for tick in range(12, 16):
        visits = world.arrivals(tick)
        while len(visits):
            best = oracle.best_slates(visits)
            every = [
                oracle.expected_reward(visits, np.tile(slate, (len(visits), 1)))
                for slate in itertools.product(range(5), repeat=4)
            ]
            assert np.max(every, axis=0) == pytest.approx(oracle.expected_reward(visits, best), abs=1e-12)
            assert (oracle.regret(visits, best) == 0).all()
            below_zero += int((oracle.truth(visits).value < 0).sum())
            world.respond(visits, best)
    assert (below_zero > 0) == (weight > 0)


def test_the_best_slate_under_position_is_a_stable_sort() -> None:
    world = World(seed=6, n_users=400, visits_per_day=3000.0)
    oracle, visits = Oracle(world), world.arrivals(12)
    order = np.argsort(-oracle.truth(visits).value, axis=1, kind="stable")[:, :10]
    assert np.array_equal(oracle.best_slates(visits), order)


def test_truth_adds_up_to_the_expected_reward() -> None:
    world = World(seed=5, n_users=400, visits_per_day=3000.0, reward=RICH)
    oracle, visits = Oracle(world), world.arrivals(12)
    truth, slates = oracle.truth(visits), np.tile(np.arange(10), (len(visits), 1))
    theta = truth.persistence[:, None] ** np.arange(10)
    assert oracle.expected_reward(visits, slates) == pytest.approx((theta * truth.value[:, :10]).sum(1))


def test_looking_with_other_parameters() -> None:
    """With those of its own day a page looks as it is; with the twin's, the season is gone."""
    world = World(seed=8, n_users=400, visits_per_day=3000.0)
    oracle, tick = Oracle(world), 24 * 340 + 12
    visits = world.arrivals(tick)
    own, now = oracle.truth(visits), oracle.truth(visits, world.conditions(tick))
    assert np.array_equal(own.logit, now.logit)
    assert np.array_equal(own.persistence, now.persistence)
    still = oracle.truth(visits, NoDrift().at(np.array([0.0]), world.setting))
    assert np.abs(own.logit - still.logit).max() > 0.5


def test_magnitude_and_budget() -> None:
    still, moving = (World(seed=1, n_users=50, drift=drift) for drift in (NoDrift(), Seasonal()))
    days = 24 * np.array([10, 100, 300])
    assert (Oracle(still).magnitude(days, days + 24) == 0).all()
    twice = World(seed=1, n_users=50, drift=Seasonal(2.0))
    assert Oracle(twice).magnitude(days, days + 240) == pytest.approx(2 * Oracle(moving).magnitude(days, days + 240))
    assert Oracle(moving).magnitude(days, days + 24 * 365).max() < 0.1 * Oracle(moving).budget(0, 365)
    assert Oracle(moving).budget(0, 365) == pytest.approx(
        Oracle(moving).budget(0, 100) + Oracle(moving).budget(100, 365)
    )


def test_asking_the_oracle_changes_nothing() -> None:
    asked, left = World(seed=9, n_users=500), World(seed=9, n_users=500)
    oracle = Oracle(asked)
    for tick in range(8, 14):
        a, b = asked.arrivals(tick), left.arrivals(tick)
        while len(a):
            slates = np.tile(np.arange(10), (len(a), 1))
            oracle.regret(a, slates)
            one, two = asked.respond(a, slates), left.respond(b, slates)
            assert all(np.array_equal(x, y) for x, y in zip(vars(one).values(), vars(two).values(), strict=True))
    assert all(np.array_equal(v, left.save()[k]) for k, v in asked.save().items())
