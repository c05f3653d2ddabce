"""The slate policy with an LSTM, for sb3-contrib's RecurrentPPO: what it remembers asks for items."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from perennial.agents.base import Items
from perennial.agents.sb3.features import SequenceScorer, scorer_options
from perennial.agents.sb3.heads import KeepsIds
from perennial.agents.sb3.plackett_luce import PlackettLuce

States = tuple[torch.Tensor, torch.Tensor]


class Asking(nn.Module):
    """From the LSTM's output and what went past it to scores: s_j = <item_j, query(h)> / sqrt(d) + fit_j."""

    def __init__(self, hidden: int, n_candidates: int, embedding: int) -> None:
        super().__init__()
        self.hidden, self.m, self.d = hidden, n_candidates, embedding
        self.query = nn.Linear(hidden, embedding)
        nn.init.orthogonal_(self.query.weight, gain=0.01)
        nn.init.zeros_(self.query.bias)

    def forward_actor(self, latent: torch.Tensor) -> torch.Tensor:
        """(B, M) scores."""
        heard, fit, vectors = latent.split([self.hidden, self.m, self.m * self.d], dim=1)
        query = self.query(heard) / self.d**0.5
        result: torch.Tensor = fit + (vectors.unflatten(1, (self.m, self.d)) * query[:, None]).sum(dim=2)
        return result

    def forward_critic(self, latent: torch.Tensor) -> torch.Tensor:
        """(B, hidden)."""
        return latent[:, : self.hidden]


class RecurrentSlatePolicy(KeepsIds, RecurrentActorCriticPolicy):
    """Plackett-Luce slates whose scores come from an LSTM over the pages; the critic reads the same LSTM, detached."""

    features_extractor: SequenceScorer
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
        state: int = 32,
        **kwargs: Any,
    ) -> None:
        """`state`: size of the LSTM's hidden and cell vectors."""
        self.embedding = embedding
        kwargs |= {"net_arch": [], **scorer_options(items, embedding, width, id_scale, SequenceScorer)}
        kwargs |= {"lstm_hidden_size": state, "shared_lstm": True, "enable_critic_lstm": False, "ortho_init": False}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        assert isinstance(self.action_space, spaces.MultiDiscrete)
        self.action_dist = PlackettLuce(len(self.action_space.nvec))
        m = self.features_extractor.n_candidates
        self.mlp_extractor = Asking(self.lstm_output_dim, m, self.embedding)  # type: ignore[assignment]
        self.action_net = self.action_dist.proba_distribution_net()
        self.value_net = nn.Linear(self.lstm_output_dim, self.n_values)

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> PlackettLuce:
        return self.action_dist.proba_distribution(self.action_net(latent_pi))

    def _process_sequence(  # type: ignore[override]
        self, features: torch.Tensor, lstm_states: States, episode_starts: torch.Tensor, lstm: nn.LSTM
    ) -> tuple[torch.Tensor, States]:
        """The LSTM reads its share of the features; the rest goes past it and is put behind its output."""
        read, past = features[:, : lstm.input_size], features[:, lstm.input_size :]
        out, states = RecurrentActorCriticPolicy._process_sequence(read, lstm_states, episode_starts, lstm)
        return torch.cat([out, past], dim=1), states  # type: ignore[return-value]

    def get_distribution(  # type: ignore[override]
        self, obs: PyTorchObs, lstm_states: States, episode_starts: torch.Tensor
    ) -> tuple[PlackettLuce, States]:
        """Overridden because the original calls past `extract_features`."""
        features = self.extract_features(obs)
        latent, states = self._process_sequence(features, lstm_states, episode_starts, self.lstm_actor)
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(latent)), states

    def predict_values(  # type: ignore[override]
        self, obs: PyTorchObs, lstm_states: States, episode_starts: torch.Tensor
    ) -> torch.Tensor:
        """(B, 1): overridden for the same reason."""
        features = self.extract_features(obs)
        latent, _ = self._process_sequence(features, lstm_states, episode_starts, self.lstm_actor)
        values: torch.Tensor = self.value_net(self.mlp_extractor.forward_critic(latent))
        return values

    def look(self, obs: PyTorchObs, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, M) scores, (B, n_values) values and the memory after; `memory` is (B, 2, L, H): hidden, cell."""
        states = (memory[:, 0].transpose(0, 1).contiguous(), memory[:, 1].transpose(0, 1).contiguous())
        starts = torch.zeros(len(memory))
        latent, after = self._process_sequence(self.extract_features(obs), states, starts, self.lstm_actor)
        remembered = torch.stack([part.transpose(0, 1) for part in after], dim=1)
        scores, heard = self.mlp_extractor.forward_actor(latent), self.mlp_extractor.forward_critic(latent)
        return scores, self.value_net(heard), remembered


class RecurrentSlotwisePolicy(RecurrentSlatePolicy):
    """The same policy taught slot by slot, as `SlotwisePolicy` is; `RecurrentPPO.train` sees B x K actions."""

    @property
    def n_values(self) -> int:  # type: ignore[override]
        """One value per slot."""
        return len(self.action_space.nvec)  # type: ignore[attr-defined]

    def evaluate_actions(  # type: ignore[override]
        self, obs: PyTorchObs, actions: torch.Tensor, lstm_states: RNNStates, episode_starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, K) values, (B K,) log-probabilities and (B K,) entropies of the slots; the critic trains no LSTM."""
        features = self.extract_features(obs)
        hidden, cell = lstm_states.pi
        latent, _ = self._process_sequence(features, (hidden, cell), episode_starts, self.lstm_actor)
        policy = self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(latent))
        values = self.value_net(self.mlp_extractor.forward_critic(latent.detach()))
        return values, policy.slot_log_prob(actions).flatten(), policy.slot_entropy(actions).flatten()
