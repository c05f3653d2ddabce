"""Policies for SAC and TD3 over pages: scores of the candidates, or a point among the items' features."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor as SacActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as Td3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from perennial.agents.base import Items
from perennial.agents.sb3.features import CandidateScorer, scorer_options
from perennial.agents.sb3.heads import EvenSpread, KeepsIds, ProtoValue, ScoredValue, ScoreHead, StateHead
from perennial.agents.sb3.q_policies import moving


class PageSacActor(KeepsIds, SacActor):
    """`Actor` whose extractor sees integers."""


class PageTd3Actor(KeepsIds, Td3Actor):
    """`Actor` whose extractor sees integers."""


class PageCritic(KeepsIds, ContinuousCritic):
    """`ContinuousCritic` whose extractor sees integers."""


class PageSacPolicy(SACPolicy):
    """`slate_size`: K where the action scores the candidates, as actor and critics then do; None for a proto-action."""

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        items: Items,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
        slate_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.slate_size = slate_size
        kwargs |= scorer_options(items, embedding, width, id_scale)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[], **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        moving(self.critic_target.features_extractor)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SacActor:
        actor = PageSacActor(**self._update_features_extractor(self.actor_kwargs, features_extractor))
        m, width, size = shape_of(actor)
        actor.mu = mean_head(self.slate_size, m, width, size)  # type: ignore[assignment]
        actor.log_std = (StateHead if self.slate_size is None else EvenSpread)(m, width, size)  # type: ignore[assignment]
        return actor.to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        return page_critic(self, features_extractor)


class PageTd3Policy(TD3Policy):
    """`slate_size`: K where the action scores the candidates, as actor and critics then do; None for a proto-action."""

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        items: Items,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
        slate_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.slate_size = slate_size
        kwargs |= scorer_options(items, embedding, width, id_scale)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[], **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        moving(self.actor_target.features_extractor)
        moving(self.critic_target.features_extractor)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Td3Actor:
        actor = PageTd3Actor(**self._update_features_extractor(self.actor_kwargs, features_extractor))
        m, width, size = shape_of(actor)
        actor.mu = nn.Sequential(mean_head(self.slate_size, m, width, size), nn.Tanh())
        return actor.to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        return page_critic(self, features_extractor)


def mean_head(slate_size: int | None, m: int, width: int, size: int) -> nn.Module:
    """The actor's mean before it is squashed."""
    return StateHead(m, width, size) if slate_size is None else ScoreHead(m)


def page_critic(policy: Any, features_extractor: BaseFeaturesExtractor | None) -> ContinuousCritic:
    """A critic whose networks know what the action says."""
    critic = PageCritic(**policy._update_features_extractor(policy.critic_kwargs, features_extractor))
    m, width, size = shape_of(critic)
    k = policy.slate_size
    critic.q_networks = []
    for index in range(critic.n_critics):
        network = ProtoValue(m, width, size) if k is None else ScoredValue(m, width, k)
        critic.add_module(f"qf{index}", network)
        critic.q_networks.append(network)
    return critic.to(policy.device)


def shape_of(network: Any) -> tuple[int, int, int]:
    """(candidates M, width of the state vector, size of an action)."""
    scorer = network.features_extractor
    assert isinstance(scorer, CandidateScorer)
    return scorer.n_candidates, scorer.features_dim - scorer.n_candidates, int(network.action_space.shape[0])
