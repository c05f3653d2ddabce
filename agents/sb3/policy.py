"""The slate policy for stable-baselines3's PPO and A2C: candidate scores in, Plackett-Luce slates out."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from perennial.agents.base import Items
from perennial.agents.sb3.features import CandidateScorer, scorer_options
from perennial.agents.sb3.heads import KeepsIds, Parted
from perennial.agents.sb3.plackett_luce import PlackettLuce


class SlatePolicy(KeepsIds, ActorCriticPolicy):
    """Actor and critic over pages with candidates; `items` is the item table the ids point into.

    Differs from `MultiInputPolicy` in two things: integer observations stay integers on their way to the embeddings
    (stable-baselines3 casts every Box to float), and the action is one ranking, not K independent choices.
    """

    features_extractor: CandidateScorer
    action_dist: PlackettLuce
    n_values = 1  # of the critic, per page

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
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
        assert isinstance(self.action_space, spaces.MultiDiscrete)
        scorer = self.features_extractor
        self.action_dist = PlackettLuce(len(self.action_space.nvec))
        self.mlp_extractor = Parted(scorer.n_candidates)  # type: ignore[assignment]
        self.action_net = self.action_dist.proba_distribution_net()
        self.value_net = nn.Linear(scorer.features_dim - scorer.n_candidates, self.n_values)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> PlackettLuce:
        return self.action_dist.proba_distribution(self.action_net(latent_pi))

    def get_distribution(self, obs: PyTorchObs) -> PlackettLuce:
        """The slate distribution of each page; overridden because the original calls past `extract_features`."""
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(self.extract_features(obs)))

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """(B, 1) float32: expected discounted reward of the rest of the visit; overridden for the same reason."""
        values: torch.Tensor = self.value_net(self.mlp_extractor.forward_critic(self.extract_features(obs)))
        return values

    def scores_and_values(self, obs: PyTorchObs) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, M) scores and (B, n_values) values in one pass: what serving a page needs."""
        scores, latent = self.mlp_extractor(self.extract_features(obs))
        return scores, self.value_net(latent)


class SlotwisePolicy(SlatePolicy):
    """The same policy taught slot by slot: a page is K decisions in a row, each with its own reward and value.

    The ranking is drawn one slot after the other anyway, so P(a_k | a_<k, x) is the probability of one decision, and
    the critic gives K values, V_k = expected discounted reward from slot k on. `PPO.train` takes both as they are: a
    batch of B pages is for it a batch of B x K actions.
    """

    @property
    def n_values(self) -> int:  # type: ignore[override]
        """One value per slot."""
        return len(self.action_space.nvec)  # type: ignore[attr-defined]

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, K) values, (B K,) log-probabilities and (B K,) entropies of the slots."""
        scores, values = self.scores_and_values(obs)
        policy = self.action_dist.proba_distribution(scores)
        return values, policy.slot_log_prob(actions).flatten(), policy.slot_entropy(actions).flatten()
