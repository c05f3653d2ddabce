"""The adapter from Gymnasium's vector env to stable-baselines3's, on a counting environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO

from perennial.agents.sb3.vec_env import GymnasiumVecEnv


class Counting(gym.Env[dict[str, Any], np.ndarray]):
    """Counts its steps; ends by itself after `end` of them, or is cut after `cut`. Reward = step number."""

    metadata = {"render_modes": []}
    action_space = gym.spaces.MultiDiscrete([3, 3])
    observation_space = gym.spaces.Dict(
        {"count": gym.spaces.Box(0, 99, (1,), np.float32), "id": gym.spaces.Box(0, 2**31 - 1, (1,), np.int32)}
    )

    def __init__(self, end: int, cut: int) -> None:
        self.end, self.cut = end, cut

    def seen(self) -> dict[str, Any]:
        return {"count": np.array([self.count], np.float32), "id": np.array([2**24 + 1 + self.count], np.int32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.count, self.draw = 0, self.np_random.random()
        return self.seen(), {}

    def step(self, action: np.ndarray) -> Any:
        self.count += 1
        return self.seen(), float(self.count), self.count >= self.end, self.count >= self.cut, {}


def lanes(mode: AutoresetMode = AutoresetMode.SAME_STEP) -> SyncVectorEnv:
    """Lane 0 terminates after 2 steps, lane 1 is cut after 3, lane 2 does both at 3."""
    ends = [(2, 99), (99, 3), (3, 3)]
    return SyncVectorEnv([lambda e=e, c=c: Counting(e, c) for e, c in ends], autoreset_mode=mode)


def test_ended_lanes_restart_within_the_step() -> None:
    env, act = GymnasiumVecEnv(lanes()), np.zeros((3, 2), np.int64)
    assert env.reset()["count"].ravel().tolist() == [0, 0, 0]
    env.step(act)
    seen, rewards, done, infos = env.step(act)
    assert seen["count"].ravel().tolist() == [0, 2, 2]
    assert rewards.tolist() == [2, 2, 2]
    assert rewards.dtype == np.float32
    assert done.tolist() == [True, False, False]
    assert infos[0]["terminal_observation"]["count"].tolist() == [2]
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["r"] == 3
    assert infos[0]["episode"]["l"] == 2
    assert infos[1] == {}
    assert infos[2] == {}


def test_only_a_cut_that_is_no_end_counts_as_truncated() -> None:
    env, act = GymnasiumVecEnv(lanes()), np.zeros((3, 2), np.int64)
    env.reset()
    for _ in range(3):
        _, _, done, infos = env.step(act)
    assert done.tolist() == [False, True, True]
    assert infos[1]["TimeLimit.truncated"] is True
    assert infos[2]["TimeLimit.truncated"] is False
    assert infos[1]["terminal_observation"]["count"].tolist() == [3]


def test_a_limit_that_the_observation_shows_is_an_end() -> None:
    envs, act = lanes(), np.zeros((3, 2), np.int64)
    envs.metadata = {**envs.metadata, "limit_observed": True}
    env = GymnasiumVecEnv(envs)
    env.reset()
    for _ in range(3):
        _, _, done, infos = env.step(act)
    assert done.tolist() == [False, True, True]
    assert infos[1]["TimeLimit.truncated"] is False
    assert infos[1]["episode"]["l"] == 3


def test_ids_and_seeds_pass_unchanged() -> None:
    env = GymnasiumVecEnv(lanes())
    env.seed(11)
    seen = env.reset()
    assert seen["id"].dtype == np.int32
    assert seen["id"].ravel().tolist() == [2**24 + 1] * 3
    direct = lanes()
    direct.reset(seed=11)
    assert [e.draw for e in env.get_attr("envs")[0]] == [e.draw for e in direct.envs]


def test_methods_answer_lane_by_lane() -> None:
    env = lanes()
    env.action_masks = lambda: np.eye(3, dtype=bool)  # type: ignore[attr-defined]
    masks = GymnasiumVecEnv(env).env_method("action_masks", indices=[2, 0])
    assert [mask.tolist() for mask in masks] == [[False, False, True], [True, False, False]]


def test_reward_scale_leaves_the_episode_figure_alone() -> None:
    env, act = GymnasiumVecEnv(lanes(), reward_scale=0.5), np.zeros((3, 2), np.int64)
    env.reset()
    env.step(act)
    _, rewards, _, infos = env.step(act)
    assert rewards.tolist() == [1, 1, 1]
    assert infos[0]["episode"]["r"] == 3


def test_another_autoreset_mode_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"'env' must have metadata\['autoreset_mode'\] = .*SAME_STEP. Got .*NEXT_STEP"
    ):
        GymnasiumVecEnv(lanes(AutoresetMode.NEXT_STEP))


def test_stock_ppo_learns_through_it() -> None:
    model = PPO(
        "MultiInputPolicy", GymnasiumVecEnv(lanes()), n_steps=8, batch_size=12, n_epochs=1, seed=0, device="cpu"
    )
    model.learn(48)
    assert model.num_timesteps == 48
    assert len(model.ep_info_buffer) > 10
