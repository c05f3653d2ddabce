"""Policies for DQN and QR-DQN over pages: a value for each candidate, or for each category."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from perennial.agents.base import Items
from perennial.agents.sb3.features import CandidateScorer, scorer_options
from perennial.agents.sb3.heads import ItemQuantiles, ItemValues, KeepsIds, StateHead


class PageQNetwork(KeepsIds, QNetwork):
    """`QNetwork` whose extractor sees integers."""


class PageQuantileNetwork(KeepsIds, QuantileNetwork):
    """`QuantileNetwork` whose extractor sees integers."""


class PageDqnPolicy(DQNPolicy):
    """Action values (B, M) or (B, C), whichever the action space asks for."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete[Any],
        lr_schedule: Schedule,
        items: Items,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
        ranks: bool = True,
        **kwargs: Any,
    ) -> None:
        """`ranks`: the actions are the page's candidates."""
        self.ranks = ranks
        kwargs |= scorer_options(items, embedding, width, id_scale)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[], **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        moving(self.q_net_target.features_extractor)

    def make_q_net(self) -> QNetwork:
        net = PageQNetwork(**self._update_features_extractor(self.net_args, features_extractor=None))
        m, width, actions = sizes(net.features_extractor, self.action_space)
        net.q_net = ItemValues(m, width) if self.ranks else StateHead(m, width, actions)  # type: ignore[assignment]
        return net.to(self.device)


class PageQrDqnPolicy(QRDQNPolicy):
    """Quantiles (B, Q, M) or (B, Q, C) of action values."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete[Any],
        lr_schedule: Schedule,
        items: Items,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
        ranks: bool = True,
        **kwargs: Any,
    ) -> None:
        """`ranks`: the actions are the page's candidates."""
        self.ranks = ranks
        kwargs |= scorer_options(items, embedding, width, id_scale)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[], **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        moving(self.quantile_net_target.features_extractor)

    def make_quantile_net(self) -> QuantileNetwork:
        net = PageQuantileNetwork(**self._update_features_extractor(self.net_args, features_extractor=None))
        m, width, actions = sizes(net.features_extractor, self.action_space)
        values: nn.Module = ItemQuantiles(m, width, self.n_quantiles)
        if not self.ranks:
            values = StateHead(m, width, actions * self.n_quantiles)
        net.quantile_net = values  # type: ignore[assignment]
        return net.to(self.device)


def sizes(extractor: nn.Module, action_space: Any) -> tuple[int, int, int]:
    """(candidates M, width of the state vector, number of actions)."""
    assert isinstance(extractor, CandidateScorer)
    m = extractor.n_candidates
    return m, extractor.features_dim - m, int(action_space.n)


def moving(extractor: nn.Module) -> None:
    """A target network's weights move while it is in evaluation mode: it must not keep its item table."""
    assert isinstance(extractor, CandidateScorer)
    extractor.items.keeps, extractor.items.kept = False, None
