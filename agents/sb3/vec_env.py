"""Hand a Gymnasium `VectorEnv` to stable-baselines3, which knows only its own `VecEnv`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from perennial.agents.sb3.actions import Actions


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium `VectorEnv` with same-step autoreset, seen as a stable-baselines3 `VecEnv`.

    Both restart an ended lane within the step that ended it and return the new episode's first observation. The last
    observation travels as ``terminal_observation``, the finished episode's sum and length as ``episode``.

    ``TimeLimit.truncated`` tells the critic to bootstrap: only at a cut that the observation did not show coming, such
    as a horizon. Where what is left is part of the state, as pages until the page limit are, the limit is an end like
    any other, and what would lie behind it is no state that anybody could learn (Pardo et al. 2018, "Time limits in
    reinforcement learning", sections 3 and 4). The env says so in ``metadata["limit_observed"]`` (default False). So
    `learn` aims at what logged pages teach (`rollouts.Filled`, `off_policy.completion`).
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], reward_scale: float = 1.0) -> None:
        """`env`: any vector env whose ``metadata["autoreset_mode"]`` is `AutoresetMode.SAME_STEP`.

        `reward_scale`: factor on the rewards the learner sees; ``episode`` keeps the env's own.
        """
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"'env' must have metadata['autoreset_mode'] = {AutoresetMode.SAME_STEP}. Got {mode}. "
                "Build it with gymnasium.make_vec(..., autoreset_mode=AutoresetMode.SAME_STEP)."
            )
        self.env, self.reward_scale = env, reward_scale
        self._limit_observed = bool(env.metadata.get("limit_observed", False))
        self._sums, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
        self._start = time.time()
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        observations, _ = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        self._sums[:], self._lengths[:] = 0.0, 0
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions.astype(self.action_space.dtype, copy=False)

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        done = terminated | truncated
        self._sums += rewards
        self._lengths += 1
        lanes: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        cut = np.zeros_like(done) if self._limit_observed else truncated & ~terminated
        self._close_episodes(np.flatnonzero(done), cut, infos, lanes)
        return observations, (self.reward_scale * rewards).astype(np.float32), done, lanes

    def _close_episodes(
        self, ended: NDArray[np.int64], cut: NDArray[np.bool_], infos: Mapping[str, Any], lanes: list[dict[str, Any]]
    ) -> None:
        """Write into `lanes` what stable-baselines3 wants to know of those that `ended`; `cut`: it would go on."""
        if not len(ended):
            return
        passed = time.time() - self._start
        sums, lengths, cuts = self._sums[ended], self._lengths[ended].tolist(), cut[ended].tolist()
        for lane, total, length, goes_on in zip(ended.tolist(), sums, lengths, cuts, strict=True):
            lanes[lane] = {
                "terminal_observation": lane_of(infos["final_obs"], lane),
                "TimeLimit.truncated": goes_on,
                "episode": {"r": total, "l": length, "t": passed},
            }
        self._sums[ended], self._lengths[ended] = 0.0, 0

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(self._lanes(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets it on the whole vector env: its lanes share one object."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls the vector env's method, which must answer with one entry per lane (as ``action_masks`` does)."""
        answers = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [answers[lane] for lane in self._lanes(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False] * len(self._lanes(indices))

    def _lanes(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        if isinstance(indices, int):
            return [indices]
        return range(self.num_envs) if indices is None else list(indices)


class PageVecEnv(GymnasiumVecEnv):
    """Lanes of pages for a learner that says in its own way, `actions`, which slate it means.

    `env` shows pages as in `perennial.agents.base.Observations` and takes slates, slots into ``candidates``; the
    learner sees the parts in `space`. Where `actions` has masks, ``action_masks`` gives them, for `MaskablePPO`.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        actions: Actions,
        space: gym_spaces.Dict,
        reward_scale: float = 1.0,
    ) -> None:
        super().__init__(env, reward_scale)
        slots, expected = env.single_action_space, gym_spaces.MultiDiscrete([actions.m] * actions.k)
        if slots != expected:
            raise ValueError(
                f"'env' must take slates, {expected}, as the agent was begun with. Got {slots}: "
                "build it with action='slate' and the agent's candidates and slate size."
            )
        self.actions, self.observation_space, self.action_space = actions, space, actions.space()
        self._names = list(space.spaces)

    def reset(self) -> Any:
        return self._seen(super().reset(), np.ones(self.num_envs, dtype=np.bool_))

    def step_async(self, actions: NDArray[Any]) -> None:
        slates = self.actions.slates(actions, self._candidates)
        self._actions = slates.astype(self.env.single_action_space.dtype, copy=False)

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        observations, rewards, done, lanes = super().step_wait()
        for lane in np.flatnonzero(done).tolist():
            lanes[lane]["terminal_observation"] = self._last(lanes[lane]["terminal_observation"], lane)
        return self._seen(observations, done), rewards, done, lanes

    def _last(self, observation: Mapping[str, NDArray[Any]], lane: int) -> dict[str, NDArray[Any]]:
        """What the learner sees of one lane's last page."""
        return {name: observation[name] for name in self._names}

    def _seen(self, observations: Mapping[str, NDArray[Any]], begun: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """The parts the learner sees; the candidates are kept for reading its action. `begun`: new episodes."""
        self._candidates = np.asarray(observations["candidates"])
        return {name: observations[name] for name in self._names}

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "action_masks":
            if self.actions.masks is None:
                raise AttributeError("These actions are always all allowed: there are no masks.")
            return [self.action_masks] * len(self._lanes(indices))
        return super().get_attr(attr_name, indices)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        if method_name == "action_masks":
            masks = self.action_masks()
            return [masks[lane] for lane in self._lanes(indices)]
        return super().env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def action_masks(self) -> NDArray[np.bool_]:
        """bool (lanes, actions): what makes sense on the pages now shown."""
        masks: NDArray[np.bool_] = self.actions.masks(self._candidates)
        return masks


def lane_of(batch: Any, lane: int) -> Any:
    """One lane's observation out of a batch: a mapping of arrays, or one entry (array or mapping) per lane."""
    if isinstance(batch, Mapping):
        return {name: np.array(values[lane]) for name, values in batch.items()}
    return batch[lane]
