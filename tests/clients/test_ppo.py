"""A client from outside, which knows Gymnasium and nothing of shops, trains on the id meant for it as it is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clients.ppo import Settings, train

CATEGORY = "perennial.envs:perennial/ShopCategory-v0"
SMALL = {"n_users": 300, "n_items": 200}


def test_it_trains_and_changes() -> None:
    model, rewards = train(CATEGORY, Settings(total_steps=4096), **SMALL)
    begun, _ = train(CATEGORY, Settings(total_steps=0), **SMALL)
    weights = [(a.detach().numpy(), b.detach().numpy()) for a, b in zip(model.parameters(), begun.parameters())]
    assert len(rewards) == 8
    assert all(np.isfinite(after).all() for after, _ in weights)
    assert sum(not np.array_equal(after, before) for after, before in weights) == len(weights)


@pytest.mark.slow
def test_it_learns() -> None:
    settings = Settings(num_envs=32, num_steps=16, total_steps=24_576, learning_rate=3e-3, gamma=0.0, entropy=0.0)
    _, rewards = train(CATEGORY, settings, **SMALL)
    third = len(rewards) // 3
    assert np.mean(rewards[-third:]) > 1.04 * np.mean(rewards[:third])
