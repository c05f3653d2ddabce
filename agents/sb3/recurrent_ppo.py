"""RecurrentPPO of sb3-contrib over slates: an LSTM along the pages of a visit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO

from perennial.agents.base import Feedback, Keys, Observations
from perennial.agents.sb3 import checkpoint, rollouts
from perennial.agents.sb3.memory import Memory, Recalled, rounds
from perennial.agents.sb3.on_policy import Served
from perennial.agents.sb3.plackett_luce import PlackettLuce
from perennial.agents.sb3.ppo import PlackettLuceLearner
from perennial.agents.sb3.recurrent_policy import RecurrentSlatePolicy, RecurrentSlotwisePolicy
from perennial.agents.validation import whole

AFTER = "after_"  # goes before the names of extras that are remembered from a page on


class RecurrentPpo(PlackettLuceLearner):
    """PPO whose policy remembers the pages of a visit (Hausknecht and Stone 2015, arXiv:1507.06527, for the idea).

    The LSTM's state before each page is stored with the page (``extras``), so that a round of training begins every
    sequence from the state that the policy had: zeros at the first page of a visit.
    """

    algorithm = RecurrentPPO
    credited: ClassVar[dict[str, type[Any]]] = {"slot": RecurrentSlotwisePolicy, "page": RecurrentSlatePolicy}
    buffer_class = rollouts.RecurrentBuffer
    more: ClassVar[tuple[str, ...]] = ("memory",)
    carries: ClassVar[bool] = False
    made: ClassVar[tuple[str, ...]] = ()  # observations that the agent makes
    left: ClassVar[tuple[str, ...]] = ("memory",)  # what a page leaves in the memory that no log could tell

    def __init__(
        self,
        n_steps: int = 256,
        batch_size: int = 64,
        n_epochs: int = 4,
        learning_rate: float = 3e-3,
        gamma: float = 0.9,
        gae_lambda: float = 0.5,
        clip_range: float = 0.2,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        credit: str = "slot",
        state: int = 32,
        reward_scale: float = 0.25,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3, and as in `Ppo`; state: size of the LSTM's hidden and cell vectors."""
        self._set_rounds(n_steps, gamma)
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_losses(learning_rate, gae_lambda, ent_coef, vf_coef, max_grad_norm)
        self._set_clipping(batch_size, n_epochs, clip_range)
        self._set_credit(credit)
        self.network["state"] = whole("state", state, 1)

    def _forget(self) -> None:
        super()._forget()
        self.memory = Memory(self.spaces.n_users, self._blank(), self.carries)

    def _blank(self) -> dict[str, Any]:
        """What is remembered of one who was never met."""
        return {"memory": np.zeros((2, 1, self.network["state"]), dtype=np.float32)}

    def _made(self, observations: Observations, recalled: Recalled) -> dict[str, NDArray[Any]]:
        """Observations that the agent makes from what it remembers."""
        return {}

    def _look(self, observations: Observations, recalled: Recalled) -> tuple[PlackettLuce, torch.Tensor, torch.Tensor]:
        """The slate distribution, the values, and the LSTM's state after the page."""
        seen = self._tensors({**observations, **self._made(observations, recalled)})
        scores, values, after = self.model.policy.look(seen, torch.from_numpy(recalled["memory"]))
        return PlackettLuce(self.spaces.slate_size).proba_distribution(scores.double()), values, after

    def _ranking(self, observations: Observations, keys: Keys) -> tuple[Any, torch.Tensor, dict[str, NDArray[Any]]]:
        ranking, values, after = self._look(observations, self.memory.recall(keys))
        return ranking, values, {"memory_after": after.numpy()}

    def _serve(self, observations: Observations, keys: Keys) -> Served:
        recalled = self.memory.recall(keys)
        served = super()._serve(observations, keys)
        after = {"memory": served.extras.pop("memory_after")}
        after |= self._noted(observations, recalled, served.slates)
        self.memory.keep(keys, recalled, after)
        served.extras.update({name: recalled[name] for name in self.more})
        served.extras.update({AFTER + name: after[name] for name in self.left})
        served.extras.update(self._made(observations, recalled))
        return served

    @property
    def stored(self) -> tuple[str, ...]:
        return (*super().stored, *self.made, *(AFTER + name for name in self.left))

    def recollect(self, pages: Feedback) -> None:
        """Remember the users of these pages as serving did, page after page; pages by others left nothing."""
        if any(name not in pages.extras for name in self.stored):
            return
        pages = pages.take(pages.extras["policy_version"] > 0)  # 0: zero-filled, by nobody
        for rows in rounds(pages.keys.user_id):
            part = pages.take(rows)
            recalled = self.memory.recall(part.keys)
            after = self._noted(part.observations, recalled, part.slates)
            after |= {name: part.extras[AFTER + name] for name in self.left}
            self.memory.keep(part.keys, recalled, after)

    def _noted(self, observations: Observations, recalled: Recalled, slates: NDArray[np.int32]) -> Recalled:
        """What else is remembered of a page, with the LSTM's state."""
        return {}

    def _buffer(self, n: int, gamma: float, **more: Any) -> Any:
        shape = (n, 1, 1, self.network["state"])
        return super()._buffer(n, gamma, hidden_state_shape=shape, **more)

    def _learned(self) -> dict[str, NDArray[Any]]:
        return super()._learned() | checkpoint.prefixed("users", self.memory.state())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        super().restore(state)
        self.memory.restore(checkpoint.part("users", state))
