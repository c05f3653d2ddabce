"""Measures the simulator's speed on this machine: `make bench`. Figures are for reading, never for a test to judge."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from perennial.envs.oracle import Oracle
from perennial.envs.shop import ShopEnv, ShopVectorEnv

SIZES: dict[str, Any] = {"n_users": 20_000, "n_items": 10_000, "n_candidates": 50, "slate_size": 10, "latent_dim": 32}
WIDTH = 1024

IMPORT = "import time; t = time.perf_counter(); import perennial.envs; print(time.perf_counter() - t)"
FIRST_STEP = """
import time; t = time.perf_counter()
import gymnasium, numpy
env = gymnasium.make("perennial.envs:perennial/Shop-v0")
env.reset(seed=0); env.step(numpy.arange(10))
print(time.perf_counter() - t)
"""


def main() -> None:
    """Run every measurement and print one table."""
    table = Table(title=f"One core; K = 10, M = 50, N = 10,000, d = 32, full Dict observation; batch {WIDTH}")
    table.add_column("what")
    table.add_column("measured", justify="right")
    vector, slates = vector_env()
    oracle = Oracle(vector.world)

    def step_with_regret() -> None:
        oracle.regret(vector.visits, slates)
        vector.step(slates)

    stepping = rate(lambda: vector.step(slates), WIDTH)
    table.add_row("vector env, slate decisions/s", f"{stepping:,.0f}")
    regret = rate(step_with_regret, WIDTH)
    table.add_row("vector env with exact regret, slate decisions/s", f"{regret:,.0f}")
    table.add_row("  as a share of the above", f"{regret / stepping:.2f}")
    single = rate(single_env(), 1)
    table.add_row("single env, steps/s", f"{single:,.0f}")
    table.add_row("import perennial.envs, s", f"{fastest(IMPORT):.2f}")
    table.add_row("make, reset and first step with a warm compile cache, s", f"{fastest(FIRST_STEP):.2f}")
    Console().print(table)


def vector_env() -> tuple[ShopVectorEnv, NDArray[np.int64]]:
    """The native vector env, under way, and a batch of random slates."""
    env = ShopVectorEnv(num_envs=WIDTH, **SIZES)
    env.reset(seed=0)
    draws = np.random.default_rng(0).random((WIDTH, SIZES["n_candidates"]))
    return env, np.argsort(draws, axis=1)[:, : SIZES["slate_size"]]


def single_env() -> Callable[[], None]:
    """One step of the single env, the reset after an end included."""
    env = ShopEnv(**SIZES)
    env.reset(seed=0)
    slate = np.arange(10)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(slate)
        if terminated or truncated:
            env.reset()

    return step


def rate(step: Callable[[], object], decisions: int, seconds: float = 2.0, rounds: int = 3) -> float:
    """Decisions per second of `step`, the best of `rounds` after a warm-up."""
    step()
    best = 0.0
    for _ in range(rounds):
        count, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds / rounds:
            step()
            count += 1
        best = max(best, count * decisions / passed)
    return best


def fastest(code: str, rounds: int = 3) -> float:
    """The least number that `code`, run in a process of its own, prints (seconds)."""
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(rounds)
    ]
    return min(float(run.stdout) for run in runs)


if __name__ == "__main__":
    main()
