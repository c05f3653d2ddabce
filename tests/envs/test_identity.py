"""The identity of the world: the same visits, bit for bit, in the single env, at any vector width and in the loop."""

from __future__ import annotations

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
from perennial.envs import World
from perennial.experiments.loop import Loop
from tests.envs.identity import SEED, SIZES, Recorder, Records, hash_policy, last_visit, loop_records


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


def test_the_records_tell_worlds_apart(expected: Records) -> None:
    assert loop_records(World(seed=SEED + 1, **SIZES)) != expected


@pytest.mark.parametrize("step", [3, 24])
def test_hours_served_side_by_side_meet_the_same_visits(expected: Records, step: int) -> None:
    assert loop_records(World(seed=SEED, **SIZES), step) == expected
