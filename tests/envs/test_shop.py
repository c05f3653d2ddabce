"""The Gymnasium faces: both env checkers with warnings as errors, episode ends, autoreset, seeds, refusals."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from perennial.envs.shop import ShopEnv

SHOP = "perennial.envs:perennial/Shop-v0"
SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "page_limit": 4}


@pytest.mark.parametrize("check", [gymnasium_check, sb3_check])
def test_env_checkers_find_nothing(check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(gym.make(SHOP, **SMALL).unwrapped)


@pytest.mark.parametrize("preset", ["gift_shop", "marketplace"])
@pytest.mark.parametrize("drift", ["seasonal", "none"])
def test_observations_stay_in_their_space(preset: str, drift: str) -> None:
    env = gym.make_vec(SHOP, num_envs=5, preset=preset, drift=drift, **SMALL)
    env.action_space.seed(0)
    observations, _ = env.reset(seed=0)
    for _ in range(60):
        assert env.observation_space.contains(observations)
        observations, rewards, *_ = env.step(env.action_space.sample())
        assert np.isfinite(rewards).all()


def test_same_seed_same_bits_and_other_seed_others() -> None:
    def rewards(seed: int) -> list[float]:
        env = gym.make(SHOP, **SMALL)
        env.action_space.seed(1)
        env.reset(seed=seed)
        total = []
        for _ in range(100):
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total.append(float(reward))
            if terminated or truncated:
                env.reset()
        return total

    assert rewards(3) == rewards(3) != rewards(4)


def test_next_step_autoreset_ignores_the_action_after_an_end() -> None:
    env = gym.make_vec(SHOP, num_envs=8, **SMALL)
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    ended = np.zeros(8, bool)
    seen = 0
    for _ in range(60):
        before = info["visit"].copy()
        _, rewards, terminated, truncated, info = env.step(env.action_space.sample())
        assert not rewards[ended].any()
        assert (info["visit"][ended] != before[ended]).all()
        assert (info["page"][ended] == 0).all()
        assert (info["visit"][~ended] == before[~ended]).all()
        assert not (terminated & truncated).any()
        ended = terminated | truncated
        seen += int(ended.sum())
    assert seen > 20


def test_same_step_autoreset_hands_out_the_final_page() -> None:
    env = gym.make_vec(SHOP, num_envs=8, autoreset_mode="SameStep", **SMALL)
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    for _ in range(30):
        before = info["visit"].copy()
        observations, _, terminated, truncated, info = env.step(env.action_space.sample())
        ended = terminated | truncated
        for lane in np.flatnonzero(ended):
            final = info["final_obs"][lane]
            assert info["final_info"]["visit"][lane] == before[lane]
            assert env.single_observation_space.contains(final)
            assert not np.array_equal(final["candidates"], observations["candidates"][lane])
        assert (info["visit"][ended] != before[ended]).all()
        assert ended.any() == ("final_obs" in info)


def test_page_limit_truncates_and_leaving_terminates() -> None:
    env = gym.make(SHOP, n_users=300, n_items=200, page_limit=2, disable_env_checker=True)
    env.reset(seed=0)
    ends = {"terminated": 0, "truncated": 0}
    page = 0
    for _ in range(400):
        _, _, terminated, truncated, _ = env.step(np.arange(10))
        page += 1
        assert not (terminated and truncated)
        assert truncated == (page == 2 and not terminated)
        if terminated or truncated:
            ends["terminated" if terminated else "truncated"] += 1
            env.reset()
            page = 0
    assert min(ends.values()) > 20


def test_jumping_to_a_day() -> None:
    env = gym.make(SHOP, **SMALL)
    _, info = env.reset(seed=0, options={"day": 100})
    assert info["tick"] // 24 == 100
    jumped, _ = env.reset(options={"day": 100})
    assert (jumped["history"] == -1).all()


def test_what_is_handed_out_is_the_callers_own() -> None:
    env = gym.make_vec(SHOP, num_envs=3, **SMALL)
    first, _ = env.reset(seed=0)
    kept = {name: array.copy() for name, array in first.items()}
    env.step(np.tile(np.arange(10), (3, 1)))
    assert all(np.array_equal(first[name], kept[name]) for name in first)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ShopEnv(render_mode="human"), ValueError, "'render_mode' must be None, 'ansi' or 'rgb_array'"),
        (lambda: gym.make(SHOP, seed=1), TypeError, r"takes its seed by reset\(seed=...\)"),
        (lambda: gym.make(SHOP, drift="seasnal"), ValueError, "'drift' must be one of .*Got 'seasnal'"),
        (lambda: gym.make_vec(SHOP, num_envs=200, **SMALL), ValueError, r"'num_envs' must lie in \[1, 150\]"),
        (
            lambda: gym.make(SHOP, **SMALL).unwrapped.step(np.arange(10)),
            RuntimeError,
            r"Call reset\(\) before step\(\)",
        ),
        (lambda: gym.make(SHOP, **SMALL).reset(options={"dya": 3}), ValueError, "'options' may hold 'day' only"),
        (
            lambda: gym.make(SHOP, **SMALL).reset(options={"day": 3.5}),
            TypeError,
            r"options\['day'\] must be an integer",
        ),
    ],
)
def test_refusals_say_what_to_do(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_refused_action_changes_nothing() -> None:
    env, twin = gym.make(SHOP, **SMALL).unwrapped, gym.make(SHOP, **SMALL).unwrapped
    env.reset(seed=5)
    twin.reset(seed=5)
    for bad in (np.zeros(10), np.full(10, np.nan), np.full(10, 50), np.arange(9), np.full(10, -1)):
        with pytest.raises((TypeError, ValueError)):
            env.step(bad)
    one, two = env.step(np.arange(10)), twin.step(np.arange(10))
    assert one[1:4] == two[1:4]
    assert all(np.array_equal(one[0][name], two[0][name]) for name in one[0])
