"""Measures which share of a stable-baselines3 training run the environment takes: `perennial-bench --sb3`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorWrapper
from rich.console import Console
from rich.table import Table

from perennial.agents.base import Spaces
from perennial.agents.sb3.a2c import A2c
from perennial.agents.sb3.agent import Sb3Agent
from perennial.agents.sb3.ppo import Ppo
from perennial.agents.sb3.recurrent_ppo import RecurrentPpo
from perennial.envs.shop import ShopVectorEnv

LANES = 64

RUNS: dict[str, tuple[type[Sb3Agent], dict[str, Any], int]] = {
    "PPO, 10 epochs as stable-baselines3 has it": (Ppo, {"credit": "page", "n_epochs": 10}, 4096),
    "PPO, 2 epochs as in conf/agent/ppo.yaml": (Ppo, {"credit": "page"}, 4096),
    "A2C, one step a round": (A2c, {"credit": "page"}, 4096),
    "RecurrentPPO": (RecurrentPpo, {}, 2048),
}
"""What is measured: the agent, its options, and for how many pages."""


class Timed(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector env that knows how much processor time its steps took, seconds."""

    seconds = 0.0

    def step(self, actions: Any) -> Any:
        start = time.process_time()
        answer = self.env.step(actions)
        self.seconds += time.process_time() - start
        return answer


def share(kind: type[Sb3Agent], options: dict[str, Any], pages: int, sizes: dict[str, Any]) -> tuple[float, float]:
    """Pages per second of processor time of the whole run, and the share of it that the environment's steps take."""
    shop = ShopVectorEnv(num_envs=LANES, autoreset_mode=AutoresetMode.SAME_STEP, **sizes)
    env = Timed(shop)
    env.reset(seed=0)
    agent = kind(**options)
    agent.begin(shop.world.items_on(np.inf), Spaces(**shop.world.sizes), 0)
    agent.learn(env, 2 * LANES)  # compiles, and fills caches
    env.seconds, start = 0.0, time.process_time()
    figures = agent.learn(env, pages)
    passed = time.process_time() - start
    return figures["pages_learned"] / passed, env.seconds / passed


def main(sizes: dict[str, Any]) -> None:
    """Print one row for each of `RUNS`, in a shop of these sizes."""
    torch.set_num_threads(1)
    shown = ", ".join(f"{name} = {value:g}" for name, value in sizes.items())
    table = Table("learn() on the native vector env", "pages/s", "environment, %", title=f"One core; {shown}")
    for name, (kind, options, pages) in RUNS.items():
        speed, part = share(kind, options, pages, sizes)
        table.add_row(name, f"{speed:,.0f}", f"{100 * part:.1f}")
    Console().print(table)
