"""What holds for every registered id: checkers, twins of a seed, pickles, whole episodes, vector = single, spawn."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import perennial.envs  # noqa: F401 - registers the ids

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200}
IDS = sorted(name for name in gym.registry if name.startswith("perennial/"))
SHOPS = [name for name in IDS if gym.spec(name).vector_entry_point is not None]


def make(name: str, **arguments: Any) -> Any:
    return gym.make(name, disable_env_checker=True, **(SMALL if name in SHOPS else {}), **arguments).unwrapped


def flat(*parts: Any) -> list[bytes]:
    """Observations, infos and numbers, as bytes."""
    out: list[bytes] = []
    for part in parts:
        out += flat(*part.values()) if isinstance(part, dict) else [np.ascontiguousarray(part).tobytes()]
    return out


def played(env: Any, count: int = 40) -> list[bytes]:
    out = []
    for _ in range(count):
        *step, info = env.step(env.action_space.sample())
        out += flat(*step, info)
        if step[2] or step[3]:
            out += flat(*env.reset())
    return out


def test_there_are_ids() -> None:
    assert "perennial/Shop-v0" in IDS
    assert len(SHOPS) >= 4


@pytest.mark.parametrize("name", IDS)
def test_both_checkers_find_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A Box of features has wider bounds than [-1, 1]; ids are integers in a Dict. Both are meant.
        warnings.filterwarnings("ignore", message=".*not within the same.*|.*recommend.*normalize.*|.*Box.*precision.*")
        check_env(make(name), skip_render_check=True)
        sb3_check_env(make(name), warn=False)


@pytest.mark.parametrize("name", IDS)
def test_the_same_seed_is_the_same_path_and_another_is_not(name: str) -> None:
    paths = []
    for seed in (5, 5, 6):
        env = make(name)
        env.action_space.seed(1)
        paths.append(flat(*env.reset(seed=seed)) + played(env))
    assert paths[0] == paths[1] != paths[2]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("clone", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])  # noqa: S301
def test_a_copy_goes_its_own_way_from_the_same_place(name: str, clone: Any) -> None:
    env = make(name)
    env.action_space.seed(1)
    env.reset(seed=2)
    played(env, 7)
    twin = clone(env)
    assert played(twin) == played(env)


@pytest.mark.parametrize("name", IDS)
def test_whole_random_episodes_stay_in_their_spaces(name: str) -> None:
    env = make(name)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    ended = 0
    while ended < 5:
        assert env.observation_space.contains(observation)
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(reward)
        assert not (terminated and truncated)
        if terminated or truncated:
            ended += 1
            observation, _ = env.reset()


@pytest.mark.parametrize("name", SHOPS)
def test_a_vector_of_one_is_the_single_env(name: str) -> None:
    single, vector = make(name), gym.make_vec(name, num_envs=1, autoreset_mode="SameStep", **SMALL)
    single.action_space.seed(3)
    one, two = single.reset(seed=4)[0], vector.reset(seed=4)[0]
    for _ in range(60):
        together = two if not isinstance(two, dict) else {key: array[0] for key, array in two.items()}
        assert flat(one) == flat(together if isinstance(together, dict) else together[0])
        action = single.action_space.sample()
        one, reward, terminated, truncated, _ = single.step(action)
        two, rewards, terminations, truncations, _ = vector.step(np.asarray(action)[None])
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], truncations[0])
        if terminated or truncated:
            one, _ = single.reset()


@pytest.mark.parametrize("name", IDS[:1] + [name for name in IDS if "Scores" in name])
def test_spawned_workers_make_it_by_its_module_path(name: str) -> None:
    arguments = SMALL if name in SHOPS else {}
    env = gym.make_vec(
        f"perennial.envs:{name}",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        **arguments,
    )
    env.action_space.seed(0)
    observations, _ = env.reset(seed=[1, 1])
    env.step(env.action_space.sample())
    env.close()
    arrays = observations.values() if isinstance(observations, dict) else [observations]
    assert all(np.array_equal(array[0], array[1]) for array in arrays)
