"""Does planning pay? The myopic oracle against one that values loyalty: `perennial-longterm`, drawn as a curve."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.experiments.console import script, wide_console
from perennial.experiments.statistics import Interval, uplift_interval
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.envs.dynamics import Dynamics
    from perennial.experiments.comparators import Comparator, Window

RATES = (0.05, 0.1, 0.2, 0.4)
FLOORS = (0.0, 0.3, 0.6)
SEEDS = 24
FIRST_DAY = "2010-09-02"
DAYS = 90
SHOP = {"n_users": 1200, "n_items": 2000, "visits_per_day": 100.0}
"""The gift shop of the case study."""


@dataclass(frozen=True)
class Played:
    """What a policy came to over the window: expected `reward`, `visits` and `clicks`."""

    reward: float
    visits: int
    clicks: float


def play(policy: Comparator, window: Window) -> Played:
    """Let `policy` serve `window` in its own world, whose visitors start without history."""
    from perennial.envs.oracle import Oracle

    world = policy.world
    oracle, reward, clicks, visits = Oracle(world), 0.0, 0.0, 0
    for day in range(window.first, window.last + 1):
        open_visits = world.arrivals(24 * day, 24 * day + 23)
        while len(open_visits):
            slates = policy.slates(open_visits)
            scored = oracle.score(open_visits, slates)
            reward, clicks = reward + float(scored.reward.sum()), clicks + float(scored.clicks.sum())
            visits += int((world.keys(open_visits)["page"] == 0).sum())
            world.respond(open_visits, slates)
    return Played(reward, visits, clicks)


def compare(dynamics: Dynamics, seed: int, days: int = DAYS, shop: dict[str, Any] | None = None) -> tuple[float, float]:
    """(far-sighted, myopic): reward per user over the window, each in its own copy of the same world."""
    from perennial.envs import World
    from perennial.experiments.comparators import FarSighted, Moving, Window

    first = World.day_of(FIRST_DAY)
    window, arguments = Window(first, first + days - 1), SHOP if shop is None else shop
    myopic, planner = (World("gift_shop", seed=seed, dynamics=dynamics, **arguments) for _ in range(2))
    base = play(Moving(myopic), window)
    policy = FarSighted(planner, window.last, base.reward / base.visits, base.clicks / base.visits)
    users = myopic.sizes["n_users"]
    return play(policy, window).reward / users, base.reward / users


def gaps(workers: int, seeds: int) -> dict[tuple[float, float], Interval]:
    """Uplift of the far-sighted policy over the myopic oracle by (loyalty rate, return floor), over seeds."""
    from perennial.envs.dynamics import Dynamics

    settings = list(product(RATES, FLOORS))
    jobs = [
        (replace(Dynamics(), loyalty_rate=rate, return_floor=floor), seed)
        for (rate, floor), seed in product(settings, range(seeds))
    ]
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), one_thread) as pool:
        pairs = list(pool.map(compare, *zip(*jobs, strict=True)))
    found = {}
    for n, setting in enumerate(settings):
        far, near = zip(*pairs[n * seeds : (n + 1) * seeds], strict=True)
        found[setting] = uplift_interval(far, near)
    return found


def table(found: dict[tuple[float, float], Interval]) -> Table:
    """One row per setting."""
    rows: list[dict[str, Any]] = [
        {"rate": rate, "floor": floor, "gap": f"{gap.mean:+.2%} [{gap.low:+.2%}, {gap.high:+.2%}]"}
        for (rate, floor), gap in found.items()
    ]
    return Table(
        "What planning for loyalty adds to the myopic oracle's ninety-day reward per user",
        (
            Column("rate", "loyalty rate", "{:g}".format),
            Column("floor", "return floor", "{:g}".format),
            Column("gap", "gap", str),
        ),
        rows,
    )


def picture(found: dict[tuple[float, float], Interval]) -> Any:
    """A matplotlib figure: the gap over the loyalty rate, a line for each return floor."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, PercentFormatter

    from perennial.experiments import figures

    with figures.style():
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for floor, colour in zip(FLOORS, figures.PALETTE, strict=False):
            line = [found[rate, floor] for rate in RATES]
            axes.plot(RATES, [gap.mean for gap in line], color=colour, marker="o", markersize=4)
            axes.fill_between(RATES, [g.low for g in line], [g.high for g in line], color=colour, alpha=0.15, lw=0)
            axes.annotate(f"return floor {floor:g}", (RATES[-1], line[-1].mean), (6, 0), color=colour,
                          textcoords="offset points", va="center")  # fmt: skip
        axes.axhline(0.0, color="#666666", lw=0.8)
        axes.set(xscale="log", xlabel="loyalty rate (share by which a visit moves loyalty)", title="What planning adds")
        axes.set_ylabel("reward per user, over the myopic oracle's")
        axes.xaxis.set_major_locator(FixedLocator(RATES))
        axes.xaxis.set_minor_locator(FixedLocator([]))
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes.set_xlim(RATES[0] * 0.93, RATES[-1] * 1.7)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


@script("perennial-longterm")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and, with --out, write the picture."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-longterm", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"worlds per setting (default {SEEDS})")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--out", type=Path, help="also draw the curve: <out>.svg and <out>.png")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.workers < 1:
        parser.error("--seeds and --workers must be 1 or more.")
    found = gaps(options.workers, options.seeds)
    wide_console().print(table(found).rich())
    if options.out is not None:
        from perennial.experiments import figures

        print("written:", *figures.save(picture(found), options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
