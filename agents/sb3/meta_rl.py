"""RL^2: a recurrent policy whose state is the adaptation, carried from visit to visit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Observations
from perennial.agents.sb3 import rollouts
from perennial.agents.sb3.memory import Recalled, outcome_of
from perennial.agents.sb3.recurrent_ppo import RecurrentPpo
from perennial.agents.sb3.vec_env import PageVecEnv


class MetaRl(RecurrentPpo):
    """Recurrent PPO that learns to adapt (Duan et al. 2016, "RL^2", arXiv:1611.02779).

    Weights hold what is common to all users and times; what is special to this user, now, is found out anew by the
    LSTM, whose state is carried over the user's visits and never reset. It reads, beside the page, what was shown on
    the user's page before and which of it was clicked, as the paper feeds the last action and reward; both are
    observable when serving, since clicked items enter the history. (A page that the exploration floor took over it
    takes for its own.) Returns run over the ends of visits too, up to the last page that a user had in the round: where
    that page ended a visit, the user has not come back, and nothing follows it; in mid-visit it lends its value only.

    `learn` needs an environment whose episode is a user's life (``episode="user"``), or the state ends with the visit.
    """

    carries = True
    more = ("memory", "step")
    made = ("shown", "outcome")
    left = ("memory", "shown")  # of an explored page the log tells what was shown, not what the policy had chosen

    def space(self) -> gym_spaces.Dict:
        k, n = self.spaces.slate_size, self.spaces.n_items
        made: dict[str, gym_spaces.Space[Any]] = {
            "shown": gym_spaces.Box(-1, n - 1, (k,), np.int32),  # ids on the user's page before, -1 = there was none
            "outcome": gym_spaces.Box(0.0, 1.0, (k,), np.float32),  # 1 = clicked
        }
        return gym_spaces.Dict({**super().space().spaces, **made})

    def _blank(self) -> dict[str, Any]:
        return super()._blank() | {
            "shown": np.full(self.spaces.slate_size, -1, dtype=np.int32),
            "history": np.full(self.spaces.history, -1, dtype=np.int32),
            "step": np.zeros((), dtype=np.int64),
        }

    def _made(self, observations: Observations, recalled: Recalled) -> dict[str, NDArray[Any]]:
        outcome = outcome_of(recalled["shown"], recalled["history"], observations["history"])
        return {"shown": recalled["shown"], "outcome": outcome}

    def _noted(self, observations: Observations, recalled: Recalled, slates: NDArray[np.int32]) -> Recalled:
        shown = np.take_along_axis(observations["candidates"], slates.astype(np.int64), axis=1)
        return {"shown": shown, "history": observations["history"], "step": recalled["step"] + 1}

    def _own(self, feedback: Feedback) -> rollouts.Pages:
        """Pages of a user are one run, whatever visit they belong to: counted by ``step``."""
        pages = super()._own(feedback)
        if pages:
            pages |= {"visit": feedback.keys.user_id[self._rows(feedback)].astype(np.int64), "page": pages["step"]}
        return pages

    def _rows(self, feedback: Feedback) -> NDArray[np.int64]:
        return np.flatnonzero(feedback.extras["policy_version"] == self.version)

    def _ready(self, waiting: rollouts.Pages) -> tuple[NDArray[np.bool_], rollouts.Pages]:
        """All; a page in mid-visit whose follower is not there lends its value only."""
        lends = waiting["explored"] | ~(rollouts.successive(waiting) | waiting["ended"])
        return np.ones(len(lends), dtype=np.bool_), waiting | {"explored": lends}

    def _lanes(self, env: VectorEnv[Any, Any, Any]) -> PageVecEnv:
        return TellingVecEnv(env, self.actions, self.space(), self.reward_scale)


class TellingVecEnv(PageVecEnv):
    """Lanes of pages that also tell what the page before had shown and what was clicked of it."""

    _shown: NDArray[np.int32]  # (lanes, K) ids on the page before, -1 = there was none
    _history: NDArray[np.int32]  # (lanes, H) as of that page

    def step_async(self, actions: NDArray[Any]) -> None:
        super().step_async(actions)
        self._shown = np.take_along_axis(self._candidates, self._actions.astype(np.int64), axis=1)

    def _last(self, observation: Mapping[str, NDArray[Any]], lane: int) -> dict[str, NDArray[Any]]:
        rows = slice(lane, lane + 1)
        outcome = outcome_of(self._shown[rows], self._history[rows], observation["history"][None])[0]
        return super()._last({**observation, "shown": self._shown[lane].copy(), "outcome": outcome}, lane)

    def _seen(self, observations: Mapping[str, NDArray[Any]], begun: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        if begun.all():
            self._shown = np.full((self.num_envs, self.actions.k), -1, dtype=np.int32)
            outcome = np.zeros(self._shown.shape, dtype=np.float32)
        else:
            self._shown[begun] = -1
            outcome = outcome_of(self._shown, self._history, observations["history"])
        self._history = np.array(observations["history"])
        return super()._seen({**observations, "shown": self._shown.copy(), "outcome": outcome}, begun)
