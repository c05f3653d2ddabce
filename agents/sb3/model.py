"""Build stable-baselines3's PPO from sizes alone, or on a vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from perennial.agents.base import Items, Spaces
from perennial.agents.sb3.policy import SlatePolicy, SlotwisePolicy
from perennial.agents.sb3.vec_env import GymnasiumVecEnv


def page_space(spaces: Spaces) -> gym_spaces.Dict:
    """What a page shows, as in `Observations`; parts of size 0 are left out."""
    floats = {
        "user": spaces.user_dim,
        "page": spaces.page_dim,
        "calendar": spaces.calendar_dim,
        "notice": spaces.notice_dim,
    }
    parts: dict[str, gym_spaces.Space[Any]] = {
        name: gym_spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in floats.items() if size > 0
    }
    parts["history"] = gym_spaces.Box(-1, spaces.n_items - 1, (spaces.history,), np.int32)
    parts["candidates"] = gym_spaces.Box(0, spaces.n_items - 1, (spaces.n_candidates,), np.int32)
    return gym_spaces.Dict(parts)


def slate_space(spaces: Spaces) -> gym_spaces.MultiDiscrete:
    """K slots into M candidates."""
    return gym_spaces.MultiDiscrete([spaces.n_candidates] * spaces.slate_size)


def ppo_on_spaces(items: Items, spaces: Spaces, network: dict[str, Any], **options: Any) -> PPO:
    """A PPO that will be fed from a log: no environment, silent logger. The same steps as in `PPO.load`."""
    policy_options = {"items": items, **network}
    model = PPO(SlotwisePolicy, None, device="cpu", policy_kwargs=policy_options, _init_setup_model=False, **options)  # type: ignore[arg-type]
    model.observation_space, model.action_space, model.n_envs = page_space(spaces), slate_space(spaces), 1
    model._setup_model()
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def ppo_on_env(
    env: VectorEnv[Any, Any, Any],
    items: Items | None = None,
    network: dict[str, Any] | None = None,
    reward_scale: float = 1.0,
    **options: Any,
) -> PPO:
    """A PPO that learns by `learn()` on a Gymnasium vector env.

    With `items`, the item table, the slate policy ranks candidates; without, stable-baselines3's `MultiInputPolicy`
    takes the observations as floats (for environments whose observations are no ids). Where the catalogue depends on
    the seed, reset the env with its seed first, and leave `seed` out of `options`, which go to `PPO`.
    """
    lanes = GymnasiumVecEnv(env, reward_scale)
    if items is None:
        return PPO("MultiInputPolicy", lanes, device="cpu", **options)
    return PPO(SlatePolicy, lanes, device="cpu", policy_kwargs={"items": items, **(network or {})}, **options)
