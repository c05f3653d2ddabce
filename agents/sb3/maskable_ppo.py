"""MaskablePPO of sb3-contrib over categories: those without a candidate on the page are masked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from perennial.agents.base import Items, Keys, Observations
from perennial.agents.sb3 import rollouts
from perennial.agents.sb3.actions import Categories
from perennial.agents.sb3.features import CandidateScorer, scorer_options
from perennial.agents.sb3.heads import KeepsIds, Parted
from perennial.agents.sb3.on_policy import OnPolicy, Served


class MaskedCategoryPolicy(KeepsIds, MaskableActorCriticPolicy):
    """Actor and critic over categories, both from the state vector."""

    features_extractor: CandidateScorer

    def __init__(
        self,
        observation_space: gym_spaces.Space[Any],
        action_space: gym_spaces.Space[Any],
        lr_schedule: Schedule,
        items: Items,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"net_arch": [], **scorer_options(items, embedding, width, id_scale)}
        super().__init__(observation_space, action_space, lr_schedule, ortho_init=False, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        scorer = self.features_extractor
        m, width = scorer.n_candidates, scorer.features_dim - scorer.n_candidates
        self.mlp_extractor = StateOnly(m)  # type: ignore[assignment]
        self.action_net = nn.Linear(width, int(self.action_space.n))  # type: ignore[attr-defined]
        nn.init.orthogonal_(self.action_net.weight, gain=0.01)
        self.value_net = nn.Linear(width, 1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def get_distribution(self, obs: PyTorchObs, action_masks: Any = None) -> MaskableDistribution:
        """Overridden because the original calls past `extract_features`."""
        distribution = self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(self.extract_features(obs)))
        if action_masks is not None:
            distribution.apply_masking(action_masks)
        return distribution

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """(B, 1): overridden for the same reason."""
        values: torch.Tensor = self.value_net(self.mlp_extractor.forward_critic(self.extract_features(obs)))
        return values


class StateOnly(Parted):
    """Both actor and critic take the state vector."""

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return self.forward_critic(features)


class MaskablePpo(OnPolicy):
    """PPO whose impossible actions have probability zero (Huang and Ontanon 2020, arXiv:2006.14171).

    Masks apply where an action may be senseless: here a category of which the page has no candidate. (A slate's slots
    are not masked one by one: Plackett-Luce, in `Ppo`, never repeats one.)
    """

    algorithm = MaskablePPO
    policy_class = MaskedCategoryPolicy
    action_kind = Categories
    buffer_class = rollouts.MaskedBuffer
    more = ("action", "masks")

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
        reward_scale: float = 0.25,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3, and as in `Ppo`."""
        self._set_rounds(n_steps, gamma)
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_losses(learning_rate, gae_lambda, ent_coef, vf_coef, max_grad_norm)
        self._set_clipping(batch_size, n_epochs, clip_range)

    def _look(self, observations: Observations) -> tuple[NDArray[np.bool_], torch.Tensor, torch.Tensor]:
        """Masks (B, C), log-probabilities (B, C) and values (B, 1)."""
        assert isinstance(self.actions, Categories)
        masks = self.actions.masks(observations["candidates"])
        seen, policy = self._tensors(observations), self.model.policy
        return masks, policy.get_distribution(seen, masks).distribution.logits, policy.predict_values(seen)

    def _serve(self, observations: Observations, keys: Keys) -> Served:
        masks, log_p, values = self._look(observations)
        waits = self.rng.standard_exponential(log_p.shape) / np.exp(log_p.numpy().astype(np.float64)).clip(1e-300)
        category = np.where(masks, waits, np.inf).argmin(axis=1).astype(np.int32)
        chosen = np.take_along_axis(log_p.numpy(), category[:, None].astype(np.int64), axis=1)
        slates = self.actions.slates(category, observations["candidates"])
        propensity = np.ones(slates.shape)
        propensity[:, 0] = np.exp(chosen[:, 0].astype(np.float64))
        return Served(slates, propensity, values.numpy(), chosen, {"action": category[:, None], "masks": masks})

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Exact: the first slot names the category, the others follow from it."""
        with torch.inference_mode():
            _, log_p, _ = self._look(observations)
        category = self.actions.guess(slates, observations["candidates"])
        same = self.actions.slates(category, observations["candidates"]) == slates
        propensity = np.logical_and.accumulate(same, axis=1).astype(np.float64)
        chance = np.take_along_axis(log_p.numpy(), category[:, None].astype(np.int64), axis=1)[:, 0]
        propensity[:, 0] *= np.exp(chance.astype(np.float64))
        return propensity
