"""The oracle against sampling and against brute force over every slate of tiny worlds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perennial.envs import Reward, World
from perennial.envs.oracle import Oracle, best_slates, first_places

PAGES = 200_000
RICH = Reward(click=1.0, cart=2.0, purchase=5.0, not_interested=0.5)


def test_mean_sampled_reward_equals_the_expected_reward() -> None:
    """200,000 pages, slates with and without repeats: mean of (sampled - expected) within 3 standard errors of 0."""
    world = World(seed=21, n_users=2000, n_items=400, visits_per_day=20_000.0, reward=RICH)
    oracle, rng = Oracle(world), np.random.default_rng(0)
    gaps, tick = [], 24 * 250
    while sum(map(len, gaps)) < PAGES:
        visits = world.arrivals(tick)
        tick += 1
        while len(visits):
            slates = rng.integers(0, 50, (len(visits), 10))
            expected = oracle.expected_reward(visits, slates)
            gaps.append(world.respond(visits, slates).reward - expected)
    gap = np.concatenate(gaps)[:PAGES]
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(PAGES)


@pytest.mark.parametrize("weight", [0.0, 500.0])
def test_no_slate_beats_the_best(weight: float) -> None:
    """All 5^4 slates, repeats included, with "not interested" so dear that values fall below zero at weight 500."""
    world = World(
        seed=4,
        n_users=50,
        n_items=60,
        n_candidates=5,
        slate_size=4,
        reward=Reward(1.0, 1.0, 1.0, weight),
        visits_per_day=900.0,
    )
    oracle = Oracle(world)
    below_zero = 0
    for tick in range(12, 16):
        visits = world.arrivals(tick)
        while len(visits):
            best = oracle.expected_reward(visits, oracle.best_slates(visits))
            every = [
                oracle.expected_reward(visits, np.tile(slate, (len(visits), 1)))
                for slate in itertools.product(range(5), repeat=4)
            ]
            assert np.max(every, axis=0) == pytest.approx(best, abs=1e-12)
            assert (oracle.regret(visits, oracle.best_slates(visits)) == 0).all()
            below_zero += int((oracle.values(visits) < 0).sum())
            world.respond(visits, oracle.best_slates(visits))
    assert (below_zero > 0) == (weight > 0)


def test_best_slates_fills_up_with_repeats_where_values_are_negative() -> None:
    values = np.array([[-1.0, 0.5, -2.0, 0.25], [-3.0, -1.0, -2.0, -4.0]])
    assert best_slates(values, 3).tolist() == [[1, 3, 1], [1, 1, 1]]


def test_first_places() -> None:
    assert first_places(np.array([[2, 1, 2, 1, 0]])).tolist() == [[True, True, False, False, True]]


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
