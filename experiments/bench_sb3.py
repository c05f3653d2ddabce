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

RUNS: tuple[tuple[str, type[Sb3Agent], dict[str, Any], int, int], ...] = (
    ("PPO, 10 epochs as stable-baselines3 has it", Ppo, {"n_epochs": 10}, 4096, 64),
    *(("PPO as conf/agent/ppo.yaml has it", Ppo, {}, 8192, lanes) for lanes in (64, 128, 256)),
    *(("A2C, one gradient step a round", A2c, {}, 8192, lanes) for lanes in (64, 128)),
    ("RecurrentPPO", RecurrentPpo, {}, 2048, 64),
)
"""What is measured: what it is called, the agent, its options, for how many pages, on how many lanes."""


class Timed(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector env that knows how much processor time its steps took, seconds."""

    seconds = 0.0

    def step(self, actions: Any) -> Any:
        start = time.process_time()
        answer = self.env.step(actions)
        self.seconds += time.process_time() - start
        return answer


def share(
    kind: type[Sb3Agent], options: dict[str, Any], pages: int, lanes: int, sizes: dict[str, Any]
) -> tuple[float, float]:
    """Pages per second of processor time of the whole run, and the share of it that the environment's steps take."""
    shop = ShopVectorEnv(num_envs=lanes, autoreset_mode=AutoresetMode.SAME_STEP, **sizes)
    env = Timed(shop)
    env.reset(seed=0)
    agent = kind(credit="page", **options)  # type: ignore[call-arg]  # as learn() needs
    agent.begin(shop.world.items_on(np.inf), Spaces(**shop.world.sizes), 0)
    agent.learn(env, 2 * lanes)  # compiles, and fills caches
    env.seconds, start = 0.0, time.process_time()
    figures = agent.learn(env, pages)
    passed = time.process_time() - start
    return figures["pages_learned"] / passed, env.seconds / passed


def main(sizes: dict[str, Any]) -> None:
    """Print one row for each of `RUNS`, in a shop of these sizes."""
    torch.set_num_threads(1)
    shown = ", ".join(f"{name} = {value:g}" for name, value in sizes.items())
    columns = "learn() on the native vector env", "lanes", "pages/s", "environment, %"
    table = Table(*columns, title=f"One core; {shown}")
    for name, kind, options, pages, lanes in RUNS:
        speed, part = share(kind, options, pages, lanes, sizes)
        table.add_row(name, str(lanes), f"{speed:,.0f}", f"{100 * part:.1f}")
    Console().print(table)
