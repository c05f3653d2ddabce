"""TorchRL's environment wrapper, loss and advantage estimation train on a shop as they are."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import nn

import perennial.envs  # noqa: F401 - registers the ids

pytest.importorskip("torchrl", reason="the extra 'clients' is not installed")


def parts(env: Any) -> tuple[Any, Any]:
    """TorchRL's actor and critic for a flat observation and discrete actions."""
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ProbabilisticActor, ValueOperator

    width, actions = env.observation_spec["observation"].shape[-1], env.action_spec.space.n
    torch.manual_seed(0)
    actor, critic = (
        nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, n)) for n in (actions, 1)
    )
    policy = ProbabilisticActor(
        TensorDictModule(actor, ["observation"], ["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
        spec=env.action_spec,
    )
    return policy, ValueOperator(critic, in_keys=["observation"])


def test_ppo_of_torchrl_trains_and_changes() -> None:
    from torchrl.envs import GymWrapper
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    shop = gym.make("perennial/ShopCategory-v0", n_users=300, n_items=200)
    env = GymWrapper(shop, categorical_action_encoding=True)
    env.set_seed(0)
    policy, critic = parts(env)
    loss_of, advantage = ClipPPOLoss(policy, critic), GAE(gamma=0.9, lmbda=0.95, value_network=critic)
    optimizer, steps = torch.optim.Adam(loss_of.parameters(), lr=1e-3), 0
    begun = [weights.detach().clone() for weights in loss_of.parameters()]
    for _ in range(8):
        pages = env.rollout(256, policy, break_when_any_done=False).detach()
        steps += len(pages)
        for _ in range(4):
            losses = loss_of(advantage(pages))
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
            optimizer.step()
    assert steps == 2048
    assert all(torch.isfinite(weights).all() for weights in loss_of.parameters())
    assert all(not torch.equal(now, before) for now, before in zip(loss_of.parameters(), begun, strict=True))
