"""QR-DQN over pages: quantiles of the value of each candidate or category, learned from any log."""

from __future__ import annotations

import torch
from sb3_contrib import QRDQN

from perennial.agents.sb3.dqn import QLearner
from perennial.agents.sb3.q_policies import PageQrDqnPolicy
from perennial.agents.validation import whole


class QrDqn(QLearner):
    """Quantile-regression DQN (Dabney et al. 2018, arXiv:1710.10044); serves by the mean of the quantiles."""

    algorithm = QRDQN
    policy_class = PageQrDqnPolicy

    def __init__(
        self,
        action: str = "item",
        n_quantiles: int = 20,
        learning_rate: float = 1e-3,
        buffer_size: int = 20_000,
        learning_starts: int = 500,
        batch_size: int = 128,
        gamma: float = 0.5,
        tau: float = 1.0,
        train_freq: int = 16,
        gradient_steps: int = 1,
        target_update_interval: int = 1000,
        exploration_fraction: float = 0.2,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10.0,
        reward_scale: float = 1.0,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """As `Dqn`, and n_quantiles: of each value."""
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_learning(
            learning_rate, buffer_size, learning_starts, batch_size, gamma, tau, train_freq, gradient_steps
        )
        self._set_values(action, target_update_interval, exploration_fraction, exploration_final_eps, max_grad_norm)
        self.network["n_quantiles"] = whole("n_quantiles", n_quantiles, 1)

    def _action_values(self, seen: dict[str, torch.Tensor]) -> torch.Tensor:
        quantiles: torch.Tensor = self.model.quantile_net(seen)
        return quantiles.mean(dim=1)
