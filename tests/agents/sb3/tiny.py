"""A tiny shop whose best slates are plain to see, as a log and as an environment, for every kind of learner."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from perennial.agents.base import Agent, Decision, Feedback
from perennial.agents.sb3.spaces import page_space
from tests.agents.toy import ToyShop, toy_shop, uplift

CATEGORIES = 3


def tiny_shop(seed: int = 0, slate_size: int = 2) -> ToyShop:
    """Nine items, all of them on every page; each visitor clicks the items of one of three categories, nearly always.

    Users and items show their category in their features. Uniform slates earn about a third of the best ones.
    """
    shop = toy_shop(
        seed, n_users=300, n_items=9, n_categories=CATEGORIES, n_candidates=9, slate_size=slate_size, history=2, dim=3
    )
    wanted = np.arange(300) % CATEGORIES
    shop.user[:] = np.eye(CATEGORIES, dtype=np.float32)[wanted]
    shop.features[:] = 2 * np.eye(CATEGORIES, dtype=np.float32)[shop.category]
    shop.taste = np.where(np.arange(CATEGORIES) == wanted[:, None], 4.0, -4.0)
    shop.appeal[:], shop.weight, shop.focus = 1.0, 0.0, 0.0
    shop.examination[:] = 1.0
    return shop


class TinyEnv(VectorEnv[Any, Any, Any]):
    """The shop as a vector env with same-step autoreset; `log` keeps what happened, as a log would."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "limit_observed": True}

    def __init__(self, shop: ToyShop, num_envs: int = 8) -> None:
        self.shop, self.num_envs = shop, num_envs
        self.single_observation_space = page_space(shop.spaces)
        self.single_action_space = gym.spaces.MultiDiscrete([shop.spaces.n_candidates] * shop.spaces.slate_size)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.log: list[Feedback] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seen = self.shop.observe(self.num_envs)
        return self.seen[0], {}

    def step(self, actions: Any) -> Any:
        slates = np.asarray(actions, dtype=np.int32)
        answer = self.shop.respond(*self.seen, Decision(slates, np.full(slates.shape, np.nan)))
        self.log.append(answer)
        last, self.seen = self.seen[0], self.shop.observe(self.num_envs)
        final = np.empty(self.num_envs, dtype=object)
        for lane in np.flatnonzero(answer.terminated | answer.truncated):
            final[lane] = {name: array[lane] for name, array in last.items()}
        return self.seen[0], answer.reward, answer.terminated, answer.truncated, {"final_obs": final}


def begun(agent: Agent, shop: ToyShop, seed: int = 0) -> Any:
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def served(shop: ToyShop, agent: Agent, batch: int = 50) -> Feedback:
    observations, keys = shop.observe(batch)
    return shop.respond(observations, keys, agent.act(observations, keys))


def share_of_best(shop: ToyShop, agent: Agent) -> float:
    """Expected clicks of what the agent serves now, as a share of the best slates'."""
    mine, _, best = uplift(shop, agent, n_batches=10, batch=50)
    return mine / best
