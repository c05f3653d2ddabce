"""The identity of the world: the same visits, bit for bit, in the single env, at any vector width and in the loop."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from perennial.agents.base import Agent, Decision, Keys, Observations, Spaces
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob
from perennial.agents.lifecycle.triggers import Never
from perennial.agents.lifecycle.windows import AllDays
from perennial.envs import Response, Reward, World
from perennial.envs.shop import DRIFTS, ShopEnv, ShopVectorEnv
from perennial.experiments.loop import Loop
from tests.envs.identity import (
    POTENTIAL_VISITS,
    SEED,
    SIZES,
    Recorder,
    Records,
    hash_policy,
    last_visit,
    loop_records,
    record,
)

FEW = 600
WHOLE = pytest.param(POTENTIAL_VISITS, marks=[pytest.mark.slow, pytest.mark.timeout(900)])
KEY_TYPES = {"visit": np.int64, "page": np.int32, "user_id": np.int32, "tick": np.int64}


@pytest.fixture(scope="module")
def expected() -> Records:
    return loop_records(World(seed=SEED, **SIZES))


def played(env: Any, wanted: Records, steps: int | None = None, seen: Any = None) -> Records:
    """The wanted visits' records, played through the face `env` from its reset or from what is `seen` there."""
    observations, info = env.reset(seed=SEED) if seen is None else seen
    recorder = Recorder(env.unwrapped.world)
    missing = set(wanted)
    for step in range(len(wanted) * 2 + 2000 if steps is None else steps):
        keys = {name: info[name] for name in KEY_TYPES}
        observations, *_, info = env.step(hash_policy(keys, observations))
        if step % 50 == 0 and missing <= recorder.records.keys():
            break
    return {key: value for key, value in recorder.records.items() if key in missing}


def alone(env: ShopEnv, wanted: Records) -> Records:
    """The wanted visits' records as the single env tells them."""
    found: Records = {}
    observation, info = env.reset(seed=SEED)
    while not wanted.keys() <= found.keys():
        keys = {name: np.array([info[name]], dtype) for name, dtype in KEY_TYPES.items()}
        seen = {name: array[None] for name, array in observation.items()}
        slates = hash_policy(keys, seen)
        observation, reward, terminated, truncated, info = env.step(slates[0])
        outcome = np.array([reward], np.float32), np.array([terminated]), np.array([truncated])
        nothing = np.zeros((1, 10), bool)
        record(found, keys, seen, slates, Response(nothing, nothing, nothing, nothing, *outcome), public=True)
        if terminated or truncated:
            observation, info = env.reset()
    return {key: value for key, value in found.items() if key in wanted}


def test_single_env_meets_the_same_visits() -> None:
    wanted = loop_records(World(seed=SEED, **SIZES), 24, public=True)
    assert alone(ShopEnv(**SIZES), wanted) == wanted


@pytest.mark.parametrize("width", [7, 256])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_env_meets_the_same_visits_at_any_width(expected: Records, width: int, mode: str) -> None:
    env = gym.make_vec("perennial.envs:perennial/Shop-v0", num_envs=width, autoreset_mode=mode, **SIZES)
    assert played(env, expected) == expected


def first_of(records: Records, world: World) -> Records:
    """The records of the first `FEW` potential visits."""
    last = last_visit(world, FEW)
    return {key: value for key, value in records.items() if key[0] <= last}


class HashAgent(Agent):
    """The policy of this test as an agent."""

    def act(self, observations: Observations, keys: Keys) -> Decision:
        slates = hash_policy(vars(keys), dict(observations)).astype(np.int32)
        return Decision(slates, np.ones(slates.shape))


def test_the_closed_loop_meets_the_same_visits(expected: Records, tmp_path: Path) -> None:
    world = World(seed=SEED, **SIZES)
    spaces = Spaces(**world.sizes)
    last_day = last_visit(world) // 2**20 // 24
    recorder = Recorder(world)
    training = TrainingJob(HashAgent, world.items, spaces, seed=0)
    strategy = Strategy(Never(), AllDays(), Never(), ImmediateRollout())
    registry = Registry(tmp_path / "registry", "test", SEED)
    deployment = Deployment(training.fresh(), strategy.rollout, registry, epsilon=0.0)
    Loop(world, deployment, strategy, training, FeedbackLog(tmp_path / "log", spaces)).run(0, 24 * last_day + 23)
    registry.close()
    assert {key: value for key, value in recorder.records.items() if key in expected} == expected


@pytest.mark.parametrize(
    ("drift", "choice"), [*((name, "position") for name in DRIFTS), ("seasonal", "cascade"), ("seasonal", "single")]
)
@pytest.mark.parametrize("count", [FEW, WHOLE])
def test_every_drift_and_choice_at_every_width(drift: str, choice: str, count: int) -> None:
    arguments = {**SIZES, "drift": DRIFTS[drift](), "choice": choice, "reward": Reward(1.0, 2.0, 3.0, 0.5)}
    wanted = loop_records(World(seed=SEED, **arguments), 24, count)
    for width in (1, 33):
        assert played(ShopVectorEnv(num_envs=width, **arguments), wanted) == wanted
    told = loop_records(World(seed=SEED, **arguments), 24, count, public=True)
    assert alone(ShopEnv(**arguments), told) == told


def records_of(seed: int) -> Records:
    return loop_records(World(seed=seed, **SIZES), 24, FEW)


def test_processes_meet_the_same_visits(expected: Records) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        one, other = pool.map(records_of, [SEED, SEED])
    assert one == other == {key: expected[key] for key in one}


def test_saved_in_the_middle_and_restored_elsewhere(expected: Records) -> None:
    first, second = (ShopVectorEnv(num_envs=64, **SIZES) for _ in range(2))
    few = first_of(expected, first.world)
    begun = played(first, few, 8)
    assert 0 < len(begun) < len(few)
    observations, info = second.restore(first.save())
    rest = played(second, {key: few[key] for key in few if key not in begun}, None, (observations, info))
    assert begun | rest == few


def test_jumping_meets_what_walking_meets() -> None:
    """The same potential visits, draws and parameters; visitors start without history."""
    walked, jumped = (ShopEnv(**SIZES) for _ in range(2))
    walked.reset(seed=SEED)
    jumped.reset(seed=SEED, options={"day": 30})
    ticks = 24 * 30 + np.arange(24)
    for tick in ticks.tolist():
        for one, two in zip(walked.world.potential(tick), jumped.world.potential(tick), strict=True):
            assert np.array_equal(one, two)
    assert np.array_equal(walked.world.conditions(ticks).packed(), jumped.world.conditions(ticks).packed())
    assert jumped.reset(options={"day": 30})[1]["tick"] // 24 == 30


def test_the_records_tell_worlds_apart(expected: Records) -> None:
    other = loop_records(World(seed=SEED + 1, **SIZES), 24, FEW)
    assert not other.items() <= expected.items()


@pytest.mark.parametrize("step", [3, 24])
def test_hours_served_side_by_side_meet_the_same_visits(expected: Records, step: int) -> None:
    assert loop_records(World(seed=SEED, **SIZES), step) == expected
