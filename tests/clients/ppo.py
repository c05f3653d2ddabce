"""PPO in one file on Gymnasium's vector API and torch alone, in the manner of CleanRL: it knows nothing of any shop.

Schulman et al. 2017, "Proximal policy optimization algorithms", eq. 7; advantages as in Schulman et al. 2016, eq. 16.

    python -m tests.clients.ppo perennial.envs:perennial/ShopCategory-v0
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    num_envs: int = 16
    num_steps: int = 32
    total_steps: int = 4096
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.9
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    max_norm: float = 0.5
    seed: int = 0


class ActorCritic(nn.Module):
    """Two small networks over a flat observation; categorical actions."""

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.actor, self.critic = (self._network(width, out) for out in (actions, 1))

    @staticmethod
    def _network(width: int, out: int) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, out))

    def policy(self, observation: Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.actor(observation))

    def worth(self, observation: Tensor) -> Tensor:
        return self.critic(observation).squeeze(-1)


def train(env_id: str, settings: Settings, **env_arguments: Any) -> tuple[ActorCritic, list[float]]:
    """The trained network, and the mean reward per step of each rollout."""
    torch.manual_seed(settings.seed)
    envs = gym.make_vec(env_id, num_envs=settings.num_envs, **env_arguments)
    assert envs.metadata["autoreset_mode"] == gym.vector.AutoresetMode.NEXT_STEP
    assert isinstance(envs.single_action_space, gym.spaces.Discrete), "only discrete actions are supported"
    assert envs.single_observation_space.shape is not None
    model = ActorCritic(int(np.prod(envs.single_observation_space.shape)), int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, eps=1e-5)
    observation = torch.as_tensor(envs.reset(seed=settings.seed)[0])
    done, history = torch.zeros(settings.num_envs), []
    for _ in range(settings.total_steps // (settings.num_envs * settings.num_steps)):
        rollout, observation, done = collect(envs, model, observation, done, settings.num_steps)
        history.append(float(rollout["reward"][rollout["real"] > 0].mean()))
        learn(model, optimizer, rollout, advantages(rollout, model, observation, done, settings), settings)
    envs.close()
    return model, history


def collect(envs: Any, model: ActorCritic, observation: Tensor, done: Tensor, steps: int) -> tuple[Any, Tensor, Tensor]:
    """`steps` steps of every env. After an end comes a step that only resets: it is marked as not `real`."""
    rows: dict[str, list[Tensor]] = {name: [] for name in ("observation", "action", "logp", "value", "reward", "done")}
    for _ in range(steps):
        with torch.no_grad():
            policy, value = model.policy(observation), model.worth(observation)
            action = policy.sample()
        following, reward, terminated, truncated, _ = envs.step(action.numpy())
        step = (observation, action, policy.log_prob(action), value, torch.as_tensor(reward, dtype=torch.float32), done)
        for column, part in zip(rows.values(), step, strict=True):
            column.append(part)
        observation, done = torch.as_tensor(following), torch.as_tensor(terminated | truncated, dtype=torch.float32)
    rollout = {name: torch.stack(column) for name, column in rows.items()}
    return rollout | {"real": 1.0 - rollout["done"]}, observation, done


def advantages(rollout: Any, model: ActorCritic, observation: Tensor, done: Tensor, settings: Settings) -> Tensor:
    """Generalised advantage estimation, cut at ends."""
    with torch.no_grad():
        value = model.worth(observation)
    found, ahead = torch.zeros_like(rollout["reward"]), torch.zeros_like(value)
    for t in reversed(range(len(found))):
        goes_on = 1.0 - (done if t == len(found) - 1 else rollout["done"][t + 1])
        following = value if t == len(found) - 1 else rollout["value"][t + 1]
        delta = rollout["reward"][t] + settings.gamma * following * goes_on - rollout["value"][t]
        ahead = delta + settings.gamma * settings.gae_lambda * goes_on * ahead
        found[t] = ahead
    return found


def learn(model: ActorCritic, optimizer: Any, rollout: Any, advantage: Tensor, settings: Settings) -> None:
    """Some epochs of clipped policy gradients over the rollout's real steps."""
    real = rollout["real"].flatten() > 0
    flat = {name: part.flatten(0, 1)[real] for name, part in rollout.items()}
    gain, target = advantage.flatten()[real], (advantage + rollout["value"]).flatten()[real]
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(gain)).chunk(settings.minibatches):
            policy = model.policy(flat["observation"][rows])
            ratio = (policy.log_prob(flat["action"][rows]) - flat["logp"][rows]).exp()
            scaled = (gain[rows] - gain[rows].mean()) / (gain[rows].std() + 1e-8)
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            surrogate = torch.min(ratio * scaled, clipped * scaled).mean()
            miss = 0.5 * (model.worth(flat["observation"][rows]) - target[rows]).square().mean()
            loss = settings.value * miss - surrogate - settings.entropy * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings.max_norm)
            optimizer.step()


if __name__ == "__main__":
    for rollout_number, reward_per_step in enumerate(train(sys.argv[1], Settings(total_steps=65_536))[1]):
        print(rollout_number, round(reward_per_step, 4))
