"""A world saved at any tick, in mid-visit or not, and restored elsewhere goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from perennial.envs import World, saving
from perennial.envs.shop import ShopEnv, ShopVectorEnv
from perennial.envs.world import Visits

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200}
EPISODES = ("visit", "horizon", "user")


def first_ten(visits: Visits) -> Any:
    return np.tile(np.arange(10), (len(visits), 1))


def play(world: World, first: int, last: int) -> list[bytes]:
    rewards = []
    for tick in range(first, last):
        visits = world.arrivals(tick)
        while len(visits):
            rewards.append(world.respond(visits, first_ten(visits)).reward.tobytes())
    return rewards


def test_between_ticks() -> None:
    one, two = (World(seed=9, visits_per_day=400.0, **SMALL) for _ in range(2))
    play(one, 0, 48)
    assert two.restore(one.save()) is None
    assert play(one, 48, 96) == play(two, 48, 96)


def test_with_visits_under_way_and_others_waiting(tmp_path: Path) -> None:
    one, two = (World(seed=9, visits_per_day=900.0, **SMALL) for _ in range(2))
    visits = one.arrivals(240, 263)
    for _ in range(3):
        one.respond(visits, first_ten(visits))
    assert len(visits)
    assert visits.waiting is not None
    saving.write(tmp_path / "world.npz", one.save(visits))
    again = two.restore(saving.read(tmp_path / "world.npz"))
    assert again is not None
    while len(visits):
        assert np.array_equal(one.observe(visits)["candidates"], two.observe(again)["candidates"])
        assert np.array_equal(
            one.respond(visits, first_ten(visits)).reward, two.respond(again, first_ten(again)).reward
        )
    assert len(again) == 0
    assert play(one, 264, 288) == play(two, 264, 288)


def test_open_visits_are_not_forgotten() -> None:
    world = World(seed=1, visits_per_day=2000.0, **SMALL)
    world.arrivals(12)
    with pytest.raises(RuntimeError, match=r"Visits are open: hand them to save\(visits\)"):
        world.save()


def steps(env: Any, seen: tuple[Any, Any], count: int) -> list[bytes]:
    """Everything that comes out of `count` steps of a fixed policy."""
    out: list[Any] = []
    (observations, info), vector = seen, isinstance(env, gym.vector.VectorEnv)
    for _ in range(count):
        shape = (env.num_envs, 10) if vector else (10,)
        observations, reward, terminated, truncated, info = env.step(np.broadcast_to(np.arange(10), shape))
        out += [*observations.values(), reward, terminated, truncated]
        out += [value for name, value in info.items() if "final" not in name]
        if not vector and (terminated or truncated):
            observations, info = env.reset()
            out += [*observations.values(), *info.values()]
    return [np.ascontiguousarray(part).tobytes() for part in out]


@pytest.mark.parametrize("episode", EPISODES)
@pytest.mark.parametrize("calendar", ["advance", "random"])
def test_the_single_env_in_mid_visit(episode: str, calendar: str) -> None:
    arguments = {"episode": episode, "episode_days": 5, "calendar": calendar, **SMALL}
    one, two = ShopEnv(**arguments), ShopEnv(**arguments)
    steps(one, one.reset(seed=3), 41)
    two.reset(seed=8)
    seen = two.restore(one.save())
    assert all(np.array_equal(seen[0][name], array) for name, array in one._look()[0].items())
    assert steps(one, one._look(), 60) == steps(two, seen, 60)


@pytest.mark.parametrize("episode", EPISODES)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_the_vector_env_with_lanes_at_their_end(episode: str, mode: str) -> None:
    arguments = {"num_envs": 16, "episode": episode, "episode_days": 3, "autoreset_mode": mode, **SMALL}
    one, two = ShopVectorEnv(**arguments), ShopVectorEnv(**arguments)
    steps(one, one.reset(seed=3), 17)
    saved = one.save()
    steps(one, one._look(), 5)  # what was saved is a copy
    one.restore(saved)
    assert steps(one, one._look(), 40) == steps(two, two.restore(saved), 40)


def test_a_foreign_or_incomplete_save_is_refused_and_changes_nothing() -> None:
    env, other = ShopEnv(**SMALL), ShopEnv(**{**SMALL, "n_users": 200})
    env.reset(seed=1)
    other.reset(seed=1)
    before = env.save()
    for name in before:
        with pytest.raises(ValueError, match="'saved' must hold"):
            env.restore({key: value for key, value in before.items() if key != name})
    with pytest.raises(ValueError, match="'saved' must hold 'loyalty' as float32 of shape"):
        env.restore(other.save())
    assert all(np.array_equal(before[name], array) for name, array in env.save().items())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'path' must end in .npz"):
        saving.write(tmp_path / "world.pkl", {})
    with pytest.raises(TypeError):
        saving.write(tmp_path / "world.npz", {"file": np.zeros(1)})  # a name that NumPy keeps for itself
    assert list(tmp_path.iterdir()) == []
