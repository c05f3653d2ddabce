"""Measures the simulator's speed on this machine: `make bench`. Figures are for reading, never for a test to judge."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from perennial.agents.base import Keys, Spaces
from perennial.agents.popular import Popular
from perennial.envs import World
from perennial.envs.oracle import Oracle
from perennial.envs.shop import ShopEnv, ShopVectorEnv
from perennial.experiments import bench_agents, bench_lifecycle, peers
from perennial.experiments.console import script
from perennial.experiments.numpy_shop import NumpyShop

SIZES: dict[str, Any] = {
    "n_users": 20_000,
    "n_items": 10_000,
    "n_candidates": 50,
    "slate_size": 10,
    "latent_dim": 32,
    "visits_per_day": 20_000.0,  # a shop in which a thousand visits at a time are something ordinary
}
WIDTH = 1024

IMPORT = "import time; t = time.perf_counter(); import perennial.envs; print(time.perf_counter() - t)"
FIRST_STEP = """
import time; t = time.perf_counter()
import gymnasium, numpy
env = gymnasium.make("perennial.envs:perennial/Shop-v0")
env.reset(seed=0); env.step(numpy.arange(10))
print(time.perf_counter() - t)
"""


@script("perennial-bench")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of speeds, or what an option asks for instead."""
    parser = argparse.ArgumentParser(prog="perennial-bench", description=__doc__)
    parser.add_argument("--scale", action="store_true", help="build and run 1,000,000 visitors x 100,000 items instead")
    parser.add_argument("--agents", nargs="*", metavar="NAME", help="measure the agents of conf/agent, or those named")
    parser.add_argument("--sb3", action="store_true", help="the environment's share of stable-baselines3 runs instead")
    parser.add_argument(
        "--lifecycle", type=int, nargs="?", const=bench_lifecycle.DAYS, metavar="DAYS", help="a year's record instead"
    )
    options = parser.parse_args(arguments)
    if options.agents is not None:
        bench_agents.main(options.agents)
    elif options.sb3:
        from perennial.experiments import bench_sb3  # torch takes seconds to import

        bench_sb3.main(SIZES)
    elif options.lifecycle:
        bench_lifecycle.lifecycle(options.lifecycle)
    elif options.scale:
        scale()
    else:
        speed()
        peers.compare()
    return 0


def scale() -> None:
    """A million visitors, a hundred thousand items, a day of about 200,000 visits served by `popular`."""
    start = time.perf_counter()
    world = World("gift_shop", seed=0, n_users=1_000_000, n_items=100_000, latent_dim=32, visits_per_day=200_000.0)
    built = time.perf_counter() - start
    agent = Popular()
    agent.begin(world.items, Spaces(**world.sizes), 0)
    start, served, pages = time.perf_counter(), 0, 0
    for tick in range(24 * 300, 24 * 301):
        visits = world.arrivals(tick)
        while len(visits):
            keys = Keys(**world.keys(visits))
            served, pages = served + int((keys.page == 0).sum()), pages + len(visits)
            world.respond(visits, agent.act(world.observe(visits), keys).slates)
    day, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table = Table("what", "measured", title="1,000,000 visitors x 100,000 items, one core")
    for what, value in (
        ("built, s", f"{built:.1f}"),
        (f"a day of {served:,} visits, {pages:,} pages, s", f"{day:.1f}"),
    ):
        table.add_row(what, value)
    table.add_row("peak memory, GB", f"{peak:.2f}")
    Console().print(table)


def speed() -> None:
    """Run every measurement and print one table; beside each figure the same work in NumPy, measured in turn."""
    table = Table(title=f"One core; K = 10, M = 50, N = 10,000, d = 32, full Dict observation; batch {WIDTH}")
    for column in ("what", "measured", "NumPy", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    vector, slates = vector_env()
    oracle, plain, lone = Oracle(vector.world), NumpyShop(vector.world, WIDTH), NumpyShop(vector.world, 1)

    def step_with_regret() -> None:
        oracle.regret(vector.visits, slates)
        vector.step(slates)

    def plain_with_regret() -> None:
        plain.regret(slates)
        plain.step(slates)

    def row(what: str, ours: Callable[[], object], theirs: Callable[[], object], decisions: int) -> None:
        measured, other = rates(ours, theirs, decisions)
        table.add_row(what, f"{measured:,.0f}", f"{other:,.0f}", f"{measured / other:.1f}")

    row("vector env, slate decisions/s", lambda: vector.step(slates), lambda: plain.step(slates), WIDTH)
    row("vector env with exact regret, slate decisions/s", step_with_regret, plain_with_regret, WIDTH)
    row("single env, steps/s", single_env(), lambda: lone.step(slates[:1]), 1)
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


def rates(
    ours: Callable[[], object], theirs: Callable[[], object], decisions: int, seconds: float = 1.0, rounds: int = 4
) -> tuple[float, float]:
    """Decisions per second of both, the best of `rounds` after a warm-up, taken in turn: these machines are noisy."""
    best = [0.0, 0.0]
    for step in (ours, theirs):
        step()
    for _ in range(rounds):
        for place, step in enumerate((ours, theirs)):
            best[place] = max(best[place], rate(step, decisions, seconds))
    return best[0], best[1]


def rate(step: Callable[[], object], decisions: int, seconds: float) -> float:
    """Decisions per second of `step`."""
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        step()
        count += 1
    return count * decisions / passed


def fastest(code: str, rounds: int = 3) -> float:
    """The least number that `code`, run in a process of its own, prints (seconds)."""
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(rounds)
    ]
    return min(float(run.stdout) for run in runs)


if __name__ == "__main__":
    main()
