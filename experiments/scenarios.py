"""What there is to win in every named scenario, before any agent plays: `perennial-scenarios`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from perennial.envs.scenarios import SCENARIOS, scenario
from perennial.experiments.console import script, wide_console
from perennial.experiments.headroom import CONTROL_BELOW, POLICIES, Headroom, Score, policy, score
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

DAYS, BEFORE = 90, 91
"""Scored days from the scenario's start, and the days before it that the frozen policy knows; as in the case study."""


def play(name: str, seed: int, by: str, world: dict[str, Any] | None = None, days: int = DAYS) -> Score:
    """One policy in its own copy of the scenario `name`; `world` are more arguments of `World`."""
    from perennial.envs import World
    from perennial.experiments.comparators import Window

    arguments = {**scenario(name).arguments(), **(world or {})}
    first = arguments.pop("start_day")
    shop = World(seed=seed, **arguments)
    scored = Window(first, first + days - 1)
    return score(shop, policy(by, shop, Window(first - BEFORE, first - 1), scored), scored)


def measure(names: Sequence[str], seed: int, workers: int) -> dict[str, Headroom]:
    """The headroom of each scenario, the policies spread over worker processes."""
    jobs = [(name, seed, by) for name in names for by in POLICIES]
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), one_thread) as pool:
        scores = list(pool.map(play, *zip(*jobs, strict=True)))
    size = len(POLICIES)
    return {
        name: Headroom(dict(zip(POLICIES, scores[n * size : (n + 1) * size], strict=True)))
        for n, name in enumerate(names)
    }


def table(found: dict[str, Headroom]) -> Table:
    """One row per scenario."""
    share = "{:.1%}".format
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            **{by: headroom.scores[by].ctr for by in POLICIES},
            "stale": headroom.stale,
            "hindsight": headroom.hindsight,
            "kind": "control" if headroom.stale < CONTROL_BELOW else "test",
        }
        for name, headroom in found.items()
    ]
    return Table(
        f"Expected CTR and headroom of every scenario, {DAYS} days; a control has less than {CONTROL_BELOW:.0%} stale",
        (
            Column("name", "scenario", str),
            *(Column(by, by, share) for by in POLICIES),
            Column("stale", "stale headroom", share),
            Column("hindsight", "hindsight headroom", share),
            Column("kind", "kind", str),
        ),
        rows,
    )


@script("perennial-scenarios")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when done, 2 where a scenario is unknown."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-scenarios", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the worlds")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    try:
        names = [scenario(name).name for name in options.names] or [each.name for each in SCENARIOS]
    except ValueError as error:
        print(f"perennial-scenarios: {error}", file=sys.stderr)
        return 2
    found = measure(names, options.seed, options.workers)
    wide_console(180).print(table(found).rich())
    return 0


if __name__ == "__main__":
    sys.exit(main())
