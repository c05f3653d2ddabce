"""Stable-baselines3's own learners train unmodified on the ids that are meant for them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO, SAC

import perennial.envs  # noqa: F401 - registers the ids

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200}
CLIENTS = {
    "PPO on scores": (PPO, "ShopScores", {"n_steps": 128}),
    "PPO on categories": (PPO, "ShopCategory", {"n_steps": 128}),
    "A2C on categories": (A2C, "ShopCategory", {}),
    "DQN on categories": (DQN, "ShopCategory", {"learning_starts": 100, "buffer_size": 2000}),
    "SAC on scores": (SAC, "ShopScores", {"learning_starts": 100, "buffer_size": 2000, "train_freq": 8}),
    "SAC on protos": (SAC, "ShopProto", {"learning_starts": 100, "buffer_size": 2000, "train_freq": 8}),
}


def trained(client: str, steps: int) -> Any:
    learner, name, arguments = CLIENTS[client]
    policy = {"policy_kwargs": {"net_arch": [32]}, "device": "cpu", "seed": 0, **arguments}
    return learner("MlpPolicy", gym.make(f"perennial/{name}-v0", **SMALL), **policy).learn(steps)


@pytest.mark.parametrize("client", CLIENTS)
def test_it_trains_and_changes(client: str) -> None:
    model, begun = trained(client, 2000), trained(client, 0)
    weights = zip(model.policy.parameters(), begun.policy.parameters(), strict=True)
    assert model.num_timesteps >= 2000
    assert all(np.isfinite(one.detach().numpy()).all() for one in model.policy.parameters())
    assert any(not np.array_equal(one.detach().numpy(), other.detach().numpy()) for one, other in weights)
