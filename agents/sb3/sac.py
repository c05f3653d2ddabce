"""SAC over pages: a stochastic actor scores the candidates or names a point among their features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC

from perennial.agents.base import Decision, Items, Keys, Observations, Spaces
from perennial.agents.sb3.actions import Scores, kind_of
from perennial.agents.sb3.continuous_policies import PageSacPolicy
from perennial.agents.sb3.off_policy import OffPolicy
from perennial.agents.validation import number


class Continuous(OffPolicy):
    """Serves by a vector in a box: ``action="scores"``, one number for each candidate, or ``"proto"``, see `actions`.

    The chance of the slate that a drawn vector shows has no closed form: propensities are NaN, declared unknown.
    """

    def _set_action(self, action: Any) -> None:
        self.action_kind = kind_of(action, ("scores", "proto"))

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        self.network["slate_size"] = spaces.slate_size if self.action_kind is Scores else None
        super().begin(items, spaces, seed)

    @property
    def stored(self) -> tuple[str, ...]:
        return ("action",)

    def _said(self, actions: NDArray[Any]) -> NDArray[Any]:
        unscaled: NDArray[Any] = self.model.policy.unscale_action(actions)
        return unscaled

    def _stored(self, actions: NDArray[Any]) -> NDArray[Any]:
        scaled: NDArray[Any] = self.model.policy.scale_action(actions)
        return scaled.astype(np.float32)

    def _shown(self, actions: NDArray[np.float32], observations: Observations, propensity: float) -> Decision:
        """The slates that these actions, scaled to [-1, 1], say."""
        slates = self.actions.slates(self._said(actions), observations["candidates"])
        return self._decision(slates, actions, propensity)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Unknown: NaN."""
        return np.full(slates.shape, np.nan)


class Sac(Continuous):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1801.01290) with a learned temperature (arXiv:1812.05905)."""

    algorithm = SAC
    policy_class = PageSacPolicy

    def __init__(
        self,
        action: str = "scores",
        learning_rate: float = 1e-3,
        buffer_size: int = 20_000,
        learning_starts: int = 200,
        batch_size: int = 128,
        gamma: float = 0.5,
        tau: float = 0.01,
        train_freq: int = 4,
        gradient_steps: int = 1,
        ent_coef: str | float = "auto_0.1",
        entropy_per_entry: float = -1.0,
        reward_scale: float = 1.0,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3 (a step is a page), and:

        action: "scores" or "proto".
        entropy_per_entry: target entropy in nats for each entry of the action; -1 is the paper's.
        reward_scale: factor on rewards.
        embedding, width: size of item vectors and of hidden layers.
        id_scale: speed of the free vector of a single item, relative to what items share; 0 = none.
        """
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_learning(
            learning_rate, buffer_size, learning_starts, batch_size, gamma, tau, train_freq, gradient_steps
        )
        self._set_action(action)
        learned = isinstance(ent_coef, str) and ent_coef.startswith("auto")
        self.options["ent_coef"] = ent_coef if learned else number("ent_coef", ent_coef, 0.0)
        self.entropy_per_entry = number("entropy_per_entry", entropy_per_entry, -np.inf)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        size = self.action_kind(items, spaces).space().shape
        assert size is not None
        self.options["target_entropy"] = self.entropy_per_entry * size[0]
        super().begin(items, spaces, seed)

    def act(self, observations: Observations, keys: Keys) -> Decision:
        """Draw from the actor, tanh(mean + spread x normal), with the agent's own generator."""
        with torch.inference_mode():
            mean, log_std, _ = self.model.actor.get_action_dist_params(self._tensors(observations))
        noise = self.rng.standard_normal(mean.shape, dtype=np.float32)
        actions = np.tanh(mean.numpy() + np.exp(log_std.numpy()) * noise)
        return self._shown(actions.astype(np.float32), observations, np.nan)
