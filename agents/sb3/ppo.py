"""PPO of stable-baselines3 over slates: served and taught page by page in the loop, or by `learn` on an environment."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO

from perennial.agents.base import Keys, Observations
from perennial.agents.sb3.on_policy import SlateRanking
from perennial.agents.sb3.plackett_luce import PlackettLuce
from perennial.agents.sb3.policy import SlatePolicy, SlotwisePolicy
from perennial.agents.validation import one_of


class PlackettLuceLearner(SlateRanking):
    """Plackett-Luce slates, credited slot by slot (see `SlotwisePolicy`) or page by page, as `learn` must."""

    credited: ClassVar[dict[str, type[Any]]] = {"slot": SlotwisePolicy, "page": SlatePolicy}

    def _set_credit(self, credit: Any) -> None:
        self.credit = one_of("credit", credit, tuple(self.credited))
        self.policy_class = self.credited[self.credit]  # type: ignore[misc]

    def learn(self, env: VectorEnv[Any, Any, Any], steps: int, callback: Any = None) -> dict[str, float]:
        """As `Sb3Agent.learn`; an environment rewards pages, so that `credit` must be "page"."""
        if self.credit != "page":
            raise ValueError(f"'credit' must be 'page' to learn on an environment. Got {self.credit!r}: build it so.")
        return super().learn(env, steps, callback)

    def _ranking(
        self, observations: Observations, keys: Keys
    ) -> tuple[PlackettLuce, torch.Tensor, dict[str, NDArray[Any]]]:
        scores, values = self.model.policy.scores_and_values(self._tensors(observations))
        return PlackettLuce(self.spaces.slate_size).proba_distribution(scores.double()), values, {}


class Ppo(PlackettLuceLearner):
    """Proximal policy optimisation (Schulman et al. 2017) with a Plackett-Luce slate policy; see `OnPolicy`."""

    algorithm = PPO

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
        reward_scale: float = 0.25,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3 (`gamma` is from page to page, `gae_lambda` from step to step), and:

        n_steps: own pages that start a round of training, at least `batch_size`.
        credit: "slot", a page's reward belongs to the slots that earned it; "page", to the slate as a whole.
        reward_scale: factor on page rewards, so that returns are about 1.
        embedding, width: size of item vectors and of hidden layers.
        id_scale: speed of the free vector of a single item, relative to what items share; 0 = none.
        """
        self._set_rounds(n_steps, gamma)
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_losses(learning_rate, gae_lambda, ent_coef, vf_coef, max_grad_norm)
        self._set_clipping(batch_size, n_epochs, clip_range)
        self._set_credit(credit)
