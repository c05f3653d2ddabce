"""What an episode is, and which day holds in a visit: visits, lives and horizons; advance, frozen and random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.envs.observations import calendar
from perennial.envs.shop import ShopEnv, ShopVectorEnv

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "visits_per_day": 30.0}
SLATE = np.arange(10)


def whole_episodes(env: ShopEnv, count: int, seed: int = 1) -> list[list[dict[str, int]]]:
    """The infos of the pages served, episode by episode."""
    _, info = env.reset(seed=seed)
    episodes: list[list[dict[str, int]]] = []
    for _ in range(count):
        pages = [info]
        while True:
            _, _, terminated, truncated, info = env.step(SLATE)
            if terminated or truncated:
                break
            pages.append(info)
        episodes.append(pages)
        _, info = env.reset()
    return episodes


def test_a_life_is_one_visitors_visits_within_the_days() -> None:
    env = ShopEnv(episode="user", episode_days=60, **SMALL)
    lives = whole_episodes(env, 30)
    for pages in lives:
        ticks = [page["tick"] for page in pages]
        assert len({page["user_id"] for page in pages}) == 1
        assert ticks == sorted(ticks)
        assert ticks[-1] < ticks[0] + 24 * 60
        firsts = [page["visit"] for page in pages if page["page"] == 0]
        assert len(set(firsts)) == len(firsts)
    assert sum(len({page["visit"] for page in pages}) > 1 for pages in lives) > 10


def test_a_life_takes_just_the_potential_visits_that_loyalty_lets_happen() -> None:
    assert max(visits_of_a_life(seed) for seed in range(4, 10)) > 2


def visits_of_a_life(seed: int) -> int:
    """Live one through, hold its visits against the stream of potential ones; how many there were."""
    env = ShopEnv(episode="user", episode_days=60, **SMALL)
    _, info = env.reset(seed=seed)
    user, first = info["user_id"], info["tick"]
    pending, draws = env.world.potential(first + 1, first + 24 * 60 - 1)
    mine = pending[1] == user
    visits, chances = pending[0, mine].tolist(), draws[mine].tolist()
    lived, loyalty = [info["visit"]], []
    while True:
        before = info["visit"]
        _, _, terminated, truncated, info = env.step(SLATE)
        assert not terminated
        if truncated or info["visit"] != before:
            loyalty.append(float(env.world._state.loyalty[user]))
        if truncated:
            break
        if info["visit"] != before:
            lived.append(info["visit"])
    wanted, at = [lived[0]], 0
    for visit, draw in zip(visits, chances, strict=True):
        if draw < 0.3 + 0.7 * loyalty[at]:
            wanted.append(visit)
            at += 1
    assert lived == wanted
    return len(lived)


def test_no_visitors_days_are_lived_twice() -> None:
    env = ShopVectorEnv(num_envs=8, episode="user", episode_days=20, autoreset_mode="SameStep", **SMALL)
    _, info = env.reset(seed=2)
    seen: set[tuple[int, int]] = set()
    for _ in range(300):
        seen |= set(zip(info["visit"].tolist(), info["page"].tolist(), strict=True))
        before = len(seen)
        *_, info = env.step(np.tile(SLATE, (8, 1)))
        pages = set(zip(info["visit"].tolist(), info["page"].tolist(), strict=True))
        assert len(pages) == 8
        assert not pages & seen
        assert before == len(seen)


def test_a_horizon_goes_through_the_visits_one_after_the_other() -> None:
    visits = [page["visit"] for pages in whole_episodes(ShopEnv(**SMALL), 200) for page in pages if page["page"] == 0]
    horizons = whole_episodes(ShopEnv(episode="horizon", episode_days=1, **SMALL), 5)
    together = [page["visit"] for pages in horizons for page in pages if page["page"] == 0]
    assert together == visits[: len(together)]
    assert len(together) > 20
    for pages in horizons:
        assert pages[-1]["tick"] < pages[0]["tick"] + 24
    assert [pages[0]["tick"] // 24 for pages in horizons] == sorted({pages[0]["tick"] // 24 for pages in horizons})


@pytest.mark.parametrize("episode", ["horizon", "user"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_every_width_ends_episodes_by_truncation_only(episode: str, mode: str) -> None:
    env = ShopVectorEnv(num_envs=5, episode=episode, episode_days=2, autoreset_mode=mode, **SMALL)
    env.reset(seed=3)
    truncations = 0
    for _ in range(400):
        _, _, terminated, truncated, _ = env.step(np.tile(SLATE, (5, 1)))
        assert not terminated.any()
        truncations += int(truncated.sum())
    assert truncations > 10


def test_frozen_keeps_the_day_and_lets_the_hours_and_visitors_go_on() -> None:
    env = ShopEnv(calendar="frozen", start_day=200, **SMALL)
    observation, info = env.reset(seed=1)
    ticks = set()
    for _ in range(800):
        ticks.add(info["tick"])
        shown = np.array([24 * 200 + info["tick"] % 24])
        assert np.array_equal(observation["calendar"], calendar(shown)[0])
        lane = env._faces.visits.lanes
        now = env.world.conditions(shown)
        user = lane.user[0]
        need = env.world.visitors.taste[user] + env.world.visitors.sensitivity[user] * now.need[0, 0] + now.level[0]
        assert lane.need[0] == pytest.approx(need, abs=1e-5)
        observation, _, terminated, truncated, info = env.step(SLATE)
        if terminated or truncated:
            observation, info = env.reset()
    assert max(ticks) - min(ticks) > 24


def test_random_days_are_uniform_over_the_year_and_belong_to_the_visit() -> None:
    days: dict[int, int] = {}
    for width in (1, 16):
        env = ShopVectorEnv(num_envs=width, calendar="random", start_day=100, **SMALL)
        _, info = env.reset(seed=5)
        for _ in range(4000 // width):
            shown = env.visits.lanes.shown // 24
            for visit, day in zip(info["visit"].tolist(), shown.tolist(), strict=True):
                assert days.setdefault(visit, day) == day
            *_, info = env.step(np.tile(SLATE, (width, 1)))
    found = np.array(list(days.values())) - 100
    assert found.min() >= 0
    assert found.max() < 365
    assert abs(found.mean() - 182) < 4 * 365 / np.sqrt(12 * len(found))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episode": "vist"}, "'episode' must be one of .*Did you mean 'visit'"),
        ({"calendar": "freeze"}, "'calendar' must be one of"),
        ({"action": "score"}, "'action' must be one of .*Did you mean 'scores'"),
        ({"observation": None}, "'observation' must be one of"),
        ({"episode_days": 0}, "'episode_days' must be an integer >= 1"),
        ({"start_day": -1}, "'start_day' must be an integer >= 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShopEnv(**arguments, **SMALL)
