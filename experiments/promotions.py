"""Was it right? Both models of a rollout replayed to the same visitors, by the truth: `perennial-promotions`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Keys
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.tables import HOURS
from perennial.experiments.console import script, wide_console
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.envs import World
    from perennial.experiments.statistics import Interval

DAYS = 14


@dataclass(frozen=True)
class Replay:
    """What two models come to on the same visitors: the candidate's relative lift, and clicks of a user of each."""

    lift: Interval
    candidate: float
    champion: float


def replay(shop: Callable[[], World], candidate: Agent, champion: Agent, first_day: int, days: int = DAYS) -> Replay:
    """Let both serve the same potential visits, each a copy of the same shop, from `first_day` on.

    `shop` makes a world in the state the visitors were in. Clicks are expected ones, from the oracle, so that only
    what the models show makes a difference, and what it makes visitors do later; users are the independent units, and
    the lift's interval is that of a ratio of means (delta method).
    """
    ours, theirs = (_clicks(shop(), agent, first_day, days) for agent in (candidate, champion))
    return Replay(_lift(ours, theirs), float(ours.mean()), float(theirs.mean()))


def _clicks(world: World, agent: Agent, first_day: int, days: int) -> NDArray[np.float64]:
    """float64 (U,): expected clicks of each user. The agent learns nothing; its generator moves on."""
    from perennial.envs.oracle import Oracle

    oracle, users = Oracle(world), world.sizes["n_users"]
    clicks = np.zeros(users)
    for day in range(first_day, first_day + days):
        visits = world.arrivals(HOURS * day, HOURS * day + HOURS - 1)
        while len(visits):
            keys, observations = Keys(**world.keys(visits)), world.observe(visits)
            slates = agent.act(observations, keys).slates
            clicks += np.bincount(keys.user_id, oracle.score(visits, slates).clicks, users)
            world.respond(visits, slates)
    return clicks


def _lift(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Interval:
    """The interval of sum ours / sum theirs - 1 over users, paired."""
    from perennial.experiments.statistics import Interval, t_interval

    lift = ours.sum() / theirs.sum() - 1
    around = t_interval((ours - (1 + lift) * theirs) / theirs.mean())
    return Interval(float(lift), float(lift + around.low), float(lift + around.high), len(ours))


def judged(folder: Path) -> list[dict[str, Any]]:
    """The rollouts of a run that came to an end, from its audit trail."""
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    return [x for x in lines if x["decision"] == "rollout" and x["verdict"] in ("promote", "rollback")]


def score(run: Any, days: int = DAYS) -> Table:
    """One row per rollout of a finished run: what was decided, and what was true.

    The replay starts the day after the verdict, with the visitors as they were when the scored window began.
    """
    from perennial.experiments import execution

    parts = execution.build(run)
    state = execution.of_history(run, execution.WORLD)

    def shop() -> World:
        world = execution.build(run).world
        world.restore(state)
        return world

    registry = execution.open_registry(run)
    rows = []
    for line in judged(run.folder):
        agents = models(registry, partial(parts.training.fresh, line["tick"]), line)
        first = line["tick"] // HOURS + 1
        found = replay(shop, agents[0], agents[1], first, days) if agents[0] and agents[1] else None
        rows.append(_row(line, found))
    registry.close()
    return Table(
        f"What was decided and what was true: {days} days replayed after each verdict, 95 % intervals over users",
        (
            Column("day", "day", str),
            Column("version", "candidate", str),
            Column("parent", "champion", str),
            Column("verdict", "verdict", str),
            Column("reason", "reason", str),
            Column("lift", "true lift", lambda i: f"{i.mean:+.2%} [{i.low:+.2%}, {i.high:+.2%}]"),
            Column("right", "right?", str),
        ),
        rows,
    )


def models(
    registry: Registry, fresh: Callable[[], Agent], line: Mapping[str, Any]
) -> tuple[Agent | None, Agent | None]:
    """The candidate and the champion as they were when the verdict of `line` fell: neither learns afterwards."""
    candidate = _load(registry, fresh(), line["version"], 0)
    return candidate, _load(registry, fresh(), line["parent"], line["model_revision"])


def _load(registry: Registry, agent: Agent, version: int, revision: int) -> Agent | None:
    """The agent as it was after so many updates; None where its parameters were not kept."""
    try:
        registry.load(agent, version, revision)
    except FileNotFoundError:
        return None
    return agent


def _row(line: dict[str, Any], found: Replay | None) -> dict[str, Any]:
    names = ("version", "parent", "verdict", "reason")
    row = {"day": line["tick"] // HOURS} | {name: line[name] for name in names} | {"lift": None, "right": None}
    if found is None:
        return row
    lift = found.lift
    right = (
        "open" if lift.low <= 0 <= lift.high else "yes" if (lift.mean > 0) == (line["verdict"] == "promote") else "no"
    )
    return row | {"lift": lift, "right": right}


@script("perennial-promotions")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-promotions RUN`, or the words that `perennial-run` was given: the rollouts of that run."""
    one_thread()
    from perennial.experiments import run as runs

    parser = argparse.ArgumentParser(prog="perennial-promotions", description=__doc__)
    runs.ask_finished(parser)
    parser.add_argument("--days", type=int, default=DAYS, help=f"replayed after each verdict (default {DAYS})")
    options = parser.parse_args(arguments)
    from perennial.experiments import workers

    run = runs.finished(options.run, options.days, options.trust)
    workers.one_torch_thread()
    found = score(run, options.days)
    wide_console().print(found.rich() if found.rows else "No rollout of this run came to a verdict.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
