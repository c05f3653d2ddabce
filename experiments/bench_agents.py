"""Measures every agent of `conf/agent`: `perennial-bench --agents`. A decision's time, decisions a second, an update.

Figures are for reading, never for a test to judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from perennial.agents.base import Agent, Feedback, Keys, Spaces
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.random_slates import RandomSlates
from perennial.envs import World
from perennial.experiments import configuration
from perennial.experiments.loop import as_feedback
from perennial.experiments.run import WORLD_GETS

SIZES: dict[str, Any] = {
    "n_users": 4_000,
    "n_items": 10_000,
    "n_candidates": 50,
    "slate_size": 10,
    "visits_per_day": 4_000.0,
}
PAGES, BATCH = 10_000, 256


@dataclass(frozen=True)
class Speed:
    """Times of one agent: `one_ms` (n,) of single decisions, decisions a second in batches, seconds for `PAGES`."""

    one_ms: np.ndarray[Any, np.dtype[np.float64]]
    decisions: float
    update_s: float
    fit_s: float


def names() -> list[str]:
    """The agents that have a YAML."""
    folder = resources.files("perennial.conf") / "agent"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def built(name: str) -> Agent:
    """The agent as its YAML has it."""
    agent: Agent = configuration.build(
        configuration.compose("config", [f"agent={name}"], WORLD_GETS).node["agent"], "agent"
    )
    return agent


def main(chosen: Sequence[str] = ()) -> None:
    """Print a line per agent, of all agents or of the `chosen`, as soon as it is measured."""
    sizes = "N = {n_items:,}, M = {n_candidates}, K = {slate_size}".format(**SIZES)
    print(f"Agents on one core; {sizes}; learning from {PAGES:,} pages.\n")
    columns = ("agent", "one page p50, ms", "p99, ms", f"decisions/s at {BATCH}", "update, s", "warm fit, s")
    print("".join(f"{column:<26}" if column == "agent" else f"{column:>22}" for column in columns))
    for name in chosen or names():
        speed = measure(built(name))
        p50, p99 = np.percentile(speed.one_ms, [50, 99])
        figures = (f"{p50:.2f}", f"{p99:.2f}", f"{speed.decisions:,.0f}", f"{speed.update_s:.2f}", f"{speed.fit_s:.2f}")
        print(f"{name:<26}" + "".join(f"{figure:>22}" for figure in figures), flush=True)


def measure(agent: Agent, pages: int = PAGES, singles: int = 1_000, seconds: float = 1.0) -> Speed:
    """Fit the agent on uniform pages, let it serve as many of its own, and time it on those."""
    world = World("gift_shop", seed=0, **SIZES)
    agent.begin(world.items, Spaces(**world.sizes), 0)
    uniform = RandomSlates()
    uniform.begin(world.items, Spaces(**world.sizes), 0)
    agent.fit(serve(world, uniform, pages, 24 * 240), start="cold")
    own = serve(world, agent, pages, 24 * 270)
    one_ms = np.array([timed(act_on(agent, own, i % pages, 1)) for i in range(singles + 20)][20:]) * 1e3
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        act_on(agent, own, (count * BATCH) % max(1, pages - BATCH), BATCH)()
        count += 1
    decisions = count * BATCH / (time.perf_counter() - start)
    update_s = timed(lambda: agent.update(own))
    later = serve(world, agent, pages, 24 * 290)
    return Speed(one_ms, decisions, update_s, timed(lambda: agent.fit(later, start="warm")))


def act_on(agent: Agent, pages: Feedback, first: int, count: int) -> Callable[[], object]:
    """A decision on `count` pages from the `first` on; the pages are cut out beforehand."""
    seen = {name: np.ascontiguousarray(array[first : first + count]) for name, array in pages.observations.items()}
    keys = pages.keys.take(np.arange(first, first + count))
    return lambda: agent.act(seen, keys)


def timed(step: Callable[[], object]) -> float:
    """Seconds that `step` takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def serve(world: World, agent: Agent, pages: int, tick: int) -> Feedback:
    """The first `pages` pages, ordered as the log has them, that `agent` serves from hour `tick` on."""
    parts: list[Feedback] = []
    while sum(map(len, parts)) < pages:
        visits = world.arrivals(tick)
        while len(visits):
            keys, observations = Keys(**world.keys(visits)), world.observe(visits)
            decision = agent.act(observations, keys)
            version, explored = np.zeros(len(keys), np.int32), np.zeros(len(keys), np.bool_)
            answer = world.respond(visits, decision.slates)
            parts.append(as_feedback(keys, observations, Served(decision, version, explored, "champion", 0), answer))
        tick += 1
    served = Feedback.concatenate(parts)
    order = np.lexsort((served.keys.page, served.keys.visit, served.keys.tick))
    return served.take(order[:pages])
