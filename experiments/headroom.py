"""What there is to win in a world before any agent plays: `perennial-headroom <world> <drift>`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from perennial.experiments import configuration
from perennial.experiments.configuration import Node
from perennial.experiments.console import script, wide_console
from perennial.experiments.run import WORLD_GETS, Experiment, Run, build_world
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.envs import World
    from perennial.experiments.comparators import Comparator, Window

POLICIES = ("random", "popular", "frozen", "static-best", "season-aware", "moving")
CONTROL_BELOW = 0.05
"""A scenario whose stale headroom is below this is a control, not a test of adaptation."""

SETTINGS = (("ctr_level", 0.5), ("ctr_level", 2.0), ("channel", 0.5), ("channel", 0.0))
"""What the second table varies, one at a time: the declared level of CTR, and where the season acts."""


@dataclass(frozen=True)
class Score:
    """What one policy comes to over the scored window, noise-free given the pages it met.

    `reward` and `ctr` are means per page and per slot, `first_page_ctr` per slot of first pages, `clicks` expected
    clicks per potential visit.
    """

    reward: float
    ctr: float
    first_page_ctr: float
    clicks: float


@dataclass(frozen=True)
class Headroom:
    """The scores by policy, and the two headrooms in expected CTR."""

    scores: Mapping[str, Score]

    @property
    def hindsight(self) -> float:
        """Moving over static-best, minus one."""
        return self.scores["moving"].ctr / self.scores["static-best"].ctr - 1

    @property
    def stale(self) -> float:
        """Moving over the frozen policy, minus one."""
        return self.scores["moving"].ctr / self.scores["frozen"].ctr - 1

    def loss(self, policy: str, score: str) -> float:
        """Share of the moving oracle's `score` that `policy` misses."""
        return 1 - float(getattr(self.scores[policy], score)) / float(getattr(self.scores["moving"], score))

    @property
    def verdict(self) -> str:
        """One sentence: the two headrooms, and whether the scenario tests adaptation."""
        kind = "a control, not a test of adaptation" if self.stale < CONTROL_BELOW else "a test of adaptation"
        return (
            f"Stale headroom {self.stale:.1%}, hindsight headroom {self.hindsight:.1%}: {kind}. A recommender frozen"
            f" before the window loses {self.loss('frozen', 'ctr'):.1%} of CTR,"
            f" {self.loss('frozen', 'first_page_ctr'):.1%} on first pages."
        )


def score(world: World, policy: Comparator, window: Window) -> Score:
    """Let `policy` play `window` in `world`, whose visitors start without history."""
    import numpy as np

    from perennial.envs.oracle import Oracle

    oracle, slots = Oracle(world), world.sizes["slate_size"]
    reward = clicks = first_clicks = 0.0
    pages = first_pages = potential = 0
    for day in range(window.first, window.last + 1):
        visits = world.arrivals(24 * day, 24 * day + 23)
        potential += visits.potential
        while len(visits):
            slates = policy.slates(visits)
            found, first = oracle.score(visits, slates), world.keys(visits)["page"] == 0
            clicked = found.clicks
            reward += float(found.reward.sum())
            clicks, first_clicks = clicks + float(clicked.sum()), first_clicks + float(clicked[first].sum())
            pages, first_pages = pages + len(visits), first_pages + int(np.sum(first))
            policy.learn(world.respond(visits, slates))
    return Score(reward / pages, clicks / pages / slots, first_clicks / first_pages / slots, clicks / potential)


def policy(name: str, world: World, before: Window, scored: Window) -> Comparator:
    """The policy `name` of `POLICIES`: frozen at the window `before` the `scored` one, or static-best in it."""
    from perennial.experiments import comparators

    makers: dict[str, Callable[[], Comparator]] = {
        "random": lambda: comparators.Uniform(world),
        "popular": lambda: comparators.LoggedPopular(world),
        "frozen": lambda: comparators.Frozen(world, before),
        "static-best": lambda: comparators.Frozen(world, scored),
        "season-aware": lambda: comparators.SeasonAware(world),
        "moving": lambda: comparators.Moving(world),
    }
    return makers[name]()


def play(setting: Node, experiment: Experiment, seed: int, by: str) -> Score:
    """One policy in its own copy of the world that `setting` (world, drift, reward) describes."""
    from perennial.experiments.comparators import Window

    world = build_world(setting, seed)
    scored = Window(experiment.start, experiment.start + experiment.scored_days - 1)
    before = Window(experiment.history_start, experiment.start - 1)
    return score(world, policy(by, world, before, scored), scored)


def moving_from_history(run: Run) -> Score:
    """The moving oracle over the scored window of `run`, from where the run's own history left the visitors."""
    import numpy as np

    from perennial.experiments.comparators import Moving, Window
    from perennial.experiments.execution import WORLD

    world = build_world(run.settings, run.seed)
    with np.load(run.history / WORLD) as visitors:
        world.restore(dict(visitors))
    return score(world, Moving(world), Window(run.window.start, run.window.start + run.window.scored_days - 1))


def measure(settings: Sequence[Node], experiment: Experiment, seed: int, workers: int) -> list[Headroom]:
    """The headroom of each of `settings`, the policies spread over worker processes."""
    jobs = [(setting, experiment, seed, policy) for setting in settings for policy in POLICIES]
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), one_thread) as pool:
        scores = list(pool.map(play, *zip(*jobs, strict=True)))
    size = len(POLICIES)
    return [Headroom(dict(zip(POLICIES, scores[n * size : (n + 1) * size]))) for n in range(len(settings))]


def policy_table(headroom: Headroom, title: str = "Headroom: no learning agent involved") -> Table:
    """One row per policy."""
    rows: list[dict[str, Any]] = [
        {"policy": name, **vars(found), "loss": headroom.loss(name, "ctr")} for name, found in headroom.scores.items()
    ]
    return Table(
        title,
        (
            Column("policy", "policy", str),
            Column("reward", "expected reward per page", "{:.4f}".format),
            Column("ctr", "expected CTR", "{:.2%}".format),
            Column("first_page_ctr", "first-page CTR", "{:.2%}".format),
            Column("clicks", "clicks per potential visit", "{:.4f}".format),
            Column("loss", "CTR missed against moving", "{:.1%}".format),
        ),
        rows,
    )


def setting_table(names: Sequence[str], headrooms: Sequence[Headroom]) -> Table:
    """One row per setting of the world."""
    rows: list[dict[str, Any]] = [
        {
            "setting": name,
            **{policy: found.scores[policy].ctr for policy in POLICIES},
            "stale": found.stale,
            "hindsight": found.hindsight,
            "loss": found.loss("frozen", "ctr"),
            "first": found.loss("frozen", "first_page_ctr"),
        }
        for name, found in zip(names, headrooms, strict=True)
    ]
    share = "{:.1%}".format
    return Table(
        "Expected CTR across what is declared or assumed",
        (
            Column("setting", "setting", str),
            *(Column(policy, policy, "{:.2%}".format) for policy in POLICIES),
            Column("stale", "stale headroom", share),
            Column("hindsight", "hindsight headroom", share),
            Column("loss", "frozen loses", share),
            Column("first", "on first pages", share),
        ),
        rows,
    )


@script("perennial-headroom")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the headroom of a world; 0 when done, 2 when the configuration cannot be run."""
    one_thread()
    options = _parser().parse_intermixed_args(arguments)
    overrides = [f"world={options.world}", f"drift={options.drift}", *options.overrides]
    node = configuration.compose("config", overrides, WORLD_GETS).node
    experiment = configuration.build(node["experiment"], "experiment")
    settings, names = [node], ["as declared"]
    for key, value in () if options.main_only else SETTINGS:
        settings.append({**node, "world": {**node["world"], key: value}})
        names.append(f"{key.replace('_', ' ')} {value:g}" if key == "channel" else f"CTR level x{value:g}")
    for setting in settings:
        build_world(setting, node["seed"])  # what is wrong shows before anything runs
    console = wide_console(180)
    found = measure(settings, experiment, node["seed"], options.workers)
    console.print(policy_table(found[0], f"Headroom of {options.world}, {options.drift}").rich())
    console.print(found[0].verdict, highlight=False)
    if len(found) > 1:
        console.print(setting_table(names, found).rich())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial-headroom", description=__doc__)
    parser.add_argument("world", help="a choice of conf/world, as gift_shop")
    parser.add_argument("drift", help="a choice of conf/drift, as seasonal")
    parser.add_argument("overrides", nargs="*", default=[], help="Hydra overrides, as in world.n_items=500 seed=3")
    parser.add_argument("--main-only", action="store_true", help="leave out other CTR levels and channels")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
