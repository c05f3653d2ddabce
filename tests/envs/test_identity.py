"""The identity of the world: the same visits, bit for bit, in the single env, at any vector width and in the loop."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from perennial.envs import World
from perennial.envs.world import Response

POTENTIAL_VISITS = 5000
SEED = 11
SIZES: dict[str, Any] = {"n_users": 600, "n_items": 300, "page_limit": 6}

Records = dict[tuple[int, int], bytes]


def hash_policy(keys: dict[str, NDArray[Any]], observations: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Slates (n, 10) that are a pure function of (visit, page, candidates); now and then an item comes twice."""
    salt = keys["visit"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + keys["page"].astype(np.uint64)
    mixed = observations["candidates"][:, :10].astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + salt[:, None]
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    return ((mixed >> np.uint64(33)) % np.uint64(50)).astype(np.int64)


def record(
    into: Records,
    keys: dict[str, NDArray[Any]],
    observations: dict[str, NDArray[Any]],
    slates: NDArray[Any],
    response: Response,
) -> None:
    """Note all that was seen and all that came of it, as bytes, by (visit, page)."""
    parts = [*keys.values(), *observations.values(), slates.astype(np.int64), *vars(response).values()]
    for n, key in enumerate(zip(keys["visit"].tolist(), keys["page"].tolist(), strict=True)):
        assert key not in into
        into[key] = b"|".join(np.ascontiguousarray(part[n]).tobytes() for part in parts)


def last_visit(world: World) -> int:
    """Key of the last of the first `POTENTIAL_VISITS` potential visits."""
    keys: list[int] = []
    tick = 0
    while len(keys) < POTENTIAL_VISITS:
        keys += world._arrivals.at(tick)[0][0].tolist()
        tick += 1
    return keys[POTENTIAL_VISITS - 1]


def loop_records(world: World) -> Records:
    """Tick by tick, all visits of a tick side by side, as the closed loop does it."""
    into: Records = {}
    end = last_visit(world)
    for tick in range(end // 2**20 + 1):
        visits = world.arrivals(tick)
        while len(visits):
            keys, seen = world.keys(visits), world.observe(visits)
            slates = hash_policy(keys, seen)
            record(into, keys, seen, slates, world.respond(visits, slates))
    return {key: value for key, value in into.items() if key[0] <= end}


class Recorder:
    """Wraps the kernel's resolve, so that a face's own pages are recorded as the world resolves them."""

    def __init__(self, world: World) -> None:
        self.records: Records = {}
        self._world = world
        self._resolve = world.resolve
        world.resolve = self  # type: ignore[method-assign,assignment]

    def __call__(self, lanes: Any, rows: NDArray[Any], slates: NDArray[Any]) -> Response:
        from perennial.envs import Visits

        visits = Visits(lanes, rows)
        keys, seen = self._world.keys(visits), self._world.observe(visits)
        response = self._resolve(lanes, rows, slates)
        record(self.records, keys, seen, slates, response)
        return response


@pytest.fixture(scope="module")
def expected() -> Records:
    return loop_records(World(seed=SEED, **SIZES))


def played(env: Any, wanted: Records) -> Records:
    """The wanted visits' records, played through the face `env`."""
    observations, info = env.reset(seed=SEED)
    recorder = Recorder(env.unwrapped.world)
    single = not isinstance(env, gym.vector.VectorEnv)
    missing = set(wanted)
    for step in range(len(wanted) * 2 + 2000):
        keys = {name: np.atleast_1d(info[name]) for name in ("visit", "page", "user_id", "tick")}
        batch = {name: array[None] for name, array in observations.items()} if single else observations
        slates = hash_policy(keys, batch)
        observations, _, terminated, truncated, info = env.step(slates[0] if single else slates)
        if single and (terminated or truncated):
            observations, info = env.reset()
        if step % 50 == 0 and missing <= recorder.records.keys():
            break
    return {key: value for key, value in recorder.records.items() if key in missing}


def test_single_env_meets_the_same_visits(expected: Records) -> None:
    env = gym.make("perennial.envs:perennial/Shop-v0", disable_env_checker=True, **SIZES)
    assert played(env, expected) == expected


@pytest.mark.parametrize("width", [1, 7, 256])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_env_meets_the_same_visits_at_any_width(expected: Records, width: int, mode: str) -> None:
    env = gym.make_vec("perennial.envs:perennial/Shop-v0", num_envs=width, autoreset_mode=mode, **SIZES)
    assert played(env, expected) == expected


def test_the_records_tell_worlds_apart(expected: Records) -> None:
    assert loop_records(World(seed=SEED + 1, **SIZES)) != expected
