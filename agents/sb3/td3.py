"""TD3 over pages: a deterministic actor with Gaussian exploration scores the candidates or names a point."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise

from perennial.agents.base import Agent, Decision, Keys, Observations
from perennial.agents.sb3.continuous_policies import PageTd3Policy
from perennial.agents.sb3.sac import Continuous
from perennial.agents.sb3.vec_env import PageVecEnv
from perennial.agents.validation import number, whole


class Td3(Continuous):
    """Twin delayed DDPG (Fujimoto et al. 2018, arXiv:1802.09477).

    `noise` is added to what the actor says, when serving too: without any it would never see another slate.
    """

    algorithm = TD3
    policy_class = PageTd3Policy

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
        policy_delay: int = 2,
        target_policy_noise: float = 0.2,
        target_noise_clip: float = 0.5,
        noise: float = 0.1,
        reward_scale: float = 1.0,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3 (a step is a page), and:

        action: "scores" or "proto".
        noise: standard deviation of the exploration, of actions scaled to [-1, 1]; 0 = none.
        reward_scale: factor on rewards.
        embedding, width: size of item vectors and of hidden layers.
        id_scale: speed of the free vector of a single item, relative to what items share; 0 = none.
        """
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_learning(
            learning_rate, buffer_size, learning_starts, batch_size, gamma, tau, train_freq, gradient_steps
        )
        self._set_action(action)
        self.options |= {
            "policy_delay": whole("policy_delay", policy_delay, 1),
            "target_policy_noise": number("target_policy_noise", target_policy_noise, 0.0),
            "target_noise_clip": number("target_noise_clip", target_noise_clip, 0.0),
        }
        self.noise = number("noise", noise, 0.0)

    def _learn_options(self, lanes: PageVecEnv) -> dict[str, Any]:
        shape = lanes.action_space.shape
        assert shape is not None
        return super()._learn_options(lanes) | {
            "action_noise": NormalActionNoise(np.zeros(shape), np.full(shape, self.noise))
        }

    def act(self, observations: Observations, keys: Keys) -> Decision:
        with torch.inference_mode():
            actions = self.model.actor(self._tensors(observations)).numpy()
        if self.noise == 0.0:
            return self._shown(actions, observations, 1.0)
        drawn = actions + self.noise * self.rng.standard_normal(actions.shape, dtype=np.float32)
        return self._shown(np.clip(drawn, -1.0, 1.0).astype(np.float32), observations, np.nan)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Unknown (NaN) with noise; without, 1 for what the actor says."""
        if self.noise == 0.0:
            return Agent.slate_propensity(self, observations, keys, slates)
        return super().slate_propensity(observations, keys, slates)
