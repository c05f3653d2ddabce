"""A2C of stable-baselines3 over slates."""

from __future__ import annotations

from stable_baselines3 import A2C

from perennial.agents.sb3.ppo import PlackettLuceLearner


class A2c(PlackettLuceLearner):
    """Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783): one gradient step a round, on all its pages."""

    algorithm = A2C

    def __init__(
        self,
        n_steps: int = 64,
        learning_rate: float = 3e-3,
        gamma: float = 0.9,
        gae_lambda: float = 0.5,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        credit: str = "slot",
        reward_scale: float = 0.25,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3, and as in `Ppo`; n_steps: own pages that start a gradient step."""
        self._set_rounds(n_steps, gamma)
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_losses(learning_rate, gae_lambda, ent_coef, vf_coef, max_grad_norm)
        self._set_credit(credit)
        self.options["normalize_advantage"] = True
