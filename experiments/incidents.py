"""A post-mortem of each drift: what changed, when it was seen, what was done, what it cost: `perennial-incidents`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.envs import World
from perennial.envs.drift import Composed, Drift
from perennial.envs.drift.schedules import day_of
from perennial.experiments import results
from perennial.experiments.audit import Line, when
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script
from perennial.experiments.metrics import HOURS, Day
from perennial.experiments.reproduce import Records
from perennial.experiments.run import ask_trust, build_world
from perennial.experiments.threads import one_thread

MOVED = 0.25
"""Logits (logs) by which a drift without a declared start must have moved to be an incident, as in `Ladder`."""
BEFORE_DAYS = 7
"""Days before the onset whose regret per page is what the shop was used to."""
PHASES = ("detection delay", "label delay", "training", "validation and rollout", "remaining error")


@dataclass(frozen=True)
class Change:
    """What one drift did, from the truth: its declaration in words, its onset day and its largest size, in logits."""

    drift: str
    what: str
    how: str
    who: str
    onset: int
    size: float
    largest_on: int


@dataclass(frozen=True)
class Reaction:
    """The hours at which the shop's answer got on; None where it never did.

    ``ordered``: the first order to fit after the onset; ``informed``: the first with a page from after the onset among
    its data; ``trained``: the first such that succeeded; ``served``: its model's promotion.
    """

    ordered: int | None = None
    informed: int | None = None
    trained: int | None = None
    served: int | None = None


@dataclass(frozen=True)
class Incident:
    """A change, the answer to it with its evidence, and its cost until hour `last`.

    ``usual``: regret per page before the onset. ``excess``: regret above that, which an instant perfect reaction (one
    that keeps regret per page where it was) would have saved; ``split``: the same by what the shop was waiting for.
    """

    change: Change
    reaction: Reaction
    decisions: list[Line]
    last: int
    pages: int
    usual: float
    excess: float
    split: dict[str, float]


def incidents(records: Records) -> list[Incident]:
    """The post-mortems of a finished run, by onset."""
    days = results.read(records.run.folder).days
    found = sorted(changes(records), key=lambda change: change.onset)
    if not found:
        return []
    ends = [change.onset for change in found[1:]] + [days[-1].day + 1]
    hourly = _pages_by_hour(records, days)
    return [_incident(records, change, end, days, hourly) for change, end in zip(found, ends, strict=True)]


def changes(records: Records) -> list[Change]:
    """What the world's drifts did within the scored window, one entry for each that did something."""
    world: World = build_world(records.run.settings, records.run.seed)
    parts: Sequence[Drift] = world.drift.parts if isinstance(world.drift, Composed) else [world.drift]
    window = records.run.window
    found = (_change(part, world, window.start, window.start + window.scored_days) for part in parts)
    return [change for change in found if change is not None]


def _change(drift: Drift, world: World, first: int, end: int) -> Change | None:
    """The onset is the declared one, or the first day on which it is `MOVED` from where it was before the window."""
    days = np.arange(first - 1.0, end)
    path = drift.at(days, world.setting)
    step = path - path.take(np.zeros(len(days), np.int64))
    sizes = [
        step.size(np.asarray(world.preset.base_share)),
        *map(np.abs, (step.price, step.examination, step.population)),
    ]
    size: NDArray[np.float64] = np.max(sizes, axis=0)[1:]
    onset = int(first + np.argmax(size > MOVED))
    schedule = getattr(drift, "schedule", None)
    if schedule is not None and first <= (declared := int(day_of("start", schedule.start))) < end:
        onset = declared
    elif size.max() <= MOVED:
        return None
    words, largest = drift.describe(), int(np.argmax(size))
    return Change(type(drift).__name__, words.what, words.how, words.who, onset, float(size[largest]), first + largest)


def _incident(records: Records, change: Change, end: int, days: list[Day], hourly: NDArray[np.float64]) -> Incident:
    onset, last = change.onset * HOURS, end * HOURS - 1
    answer, decisions = _reaction(records, onset, last)
    before = [day for day in days if change.onset - BEFORE_DAYS <= day.day < change.onset] or days[:1]
    usual = sum(day.regret for day in before) / max(sum(day.pages for day in before), 1)
    excess = _excess_by_hour(days, hourly, usual)
    offset = days[0].day * HOURS
    excess = excess[onset - offset : last + 1 - offset]
    split = _split(excess, onset, answer)
    pages = int(hourly[onset - offset : last + 1 - offset].sum())
    return Incident(change, answer, decisions, last, pages, usual, float(excess.sum()), split)


def _reaction(records: Records, onset: int, last: int) -> tuple[Reaction, list[Line]]:
    """How far the answer got between two hours, and the decisions that say so, with their evidence."""
    lines = [line for line in records.lines if onset <= line["tick"] <= last]
    orders = [line for line in lines if line["decision"] == "training" and line["kind"] == "fit"]
    informed = [line for line in orders if line["rows"] and line["last_tick"] >= onset]
    trained = [line for line in informed if line["verdict"] == "trained"]
    promoted = [line for line in lines if line["decision"] == "rollout" and line["verdict"] == "promote"]
    versions = {row.version: row.training for row in records.versions if row.training and row.origin == "fit"}
    new = {number for number, told in versions.items() if trained and told["tick"] >= trained[0]["tick"]}
    served = [line for line in promoted if line["version"] in new]
    steps = [found[0] if found else None for found in (orders, informed, trained, served)]
    fired = [line for line in lines if line["decision"] == "trigger" and orders and line["tick"] == orders[0]["tick"]]
    evidence = fired[-1:]
    for step in steps:
        if step is not None and step not in evidence:
            evidence.append(step)
    return Reaction(*(step["tick"] if step else None for step in steps)), evidence


def _pages_by_hour(records: Records, days: list[Day]) -> NDArray[np.float64]:
    """float64 (hours,): pages served in each hour of the scored window."""
    first = days[0].day * HOURS
    pages = pl.scan_delta(str(records.log.path / "pages")).filter(pl.col("tick") >= first)
    ticks = pages.select("tick").collect()["tick"].to_numpy() - first
    return np.bincount(ticks, minlength=len(days) * HOURS).astype(np.float64)


def _excess_by_hour(days: list[Day], hourly: NDArray[np.float64], usual: float) -> NDArray[np.float64]:
    """float64 (hours,): regret above the usual; a day's is spread over its hours by their pages."""
    served = hourly.reshape(len(days), HOURS)
    excess = np.array([day.regret - usual * day.pages for day in days])
    whole = served.sum(axis=1, keepdims=True)
    share = np.divide(served, whole, out=np.zeros_like(served), where=whole > 0)
    return np.asarray((share * excess[:, None]).ravel())


def _split(excess: NDArray[np.float64], onset: int, answer: Reaction) -> dict[str, float]:
    """The excess by phase. An hour belongs to what the shop was waiting for in it; the last phase is after all."""
    end = onset + len(excess) - 1
    steps = [answer.ordered, answer.informed, answer.trained, answer.served]
    bounds = [onset, *(min((end if step is None else step) + 1, end + 1) for step in steps), end + 1]
    bounds = np.maximum.accumulate(bounds).tolist()
    return {
        phase: float(excess[low - onset : high - onset].sum())
        for phase, low, high in zip(PHASES, bounds[:-1], bounds[1:], strict=True)
    }


def report(found: Sequence[Incident]) -> str:
    """The post-mortems as Markdown."""
    if not found:
        return "# Incidents\n\nNone: nothing moved by more than 0.25 logits in the scored window.\n"
    return "# Incidents\n\n" + "\n".join(_section(incident) for incident in found)


def _section(incident: Incident) -> str:
    change, answer = incident.change, incident.reaction
    lines = [
        f"## {change.drift}, from {World.date_of(change.onset)}",
        "",
        f"- **What changed**: {change.what}, {change.how} ({change.who}); at most {change.size:.2f} logits from "
        f"where it was, on {World.date_of(change.largest_on)}.",
    ]
    names = ("ordered", "informed by data of after it", "trained", "served")
    times = (answer.ordered, answer.informed, answer.trained, answer.served)
    told = "; ".join(f"{name} {when(tick) if tick is not None else 'never'}" for name, tick in zip(names, times))
    lines.append(f"- **Reaction**: {told}.")
    lines += [f"  - {_decision(line)}" for line in incident.decisions]
    lines += [
        f"- **Cost** until {when(incident.last)}, on {incident.pages} pages: regret of {incident.excess:.1f} above the "
        f"usual {incident.usual:.3f} a page, which an instant perfect reaction would have saved.",
        "",
        "| phase | regret above the usual | share |",
        "|---|---:|---:|",
    ]
    for phase, part in incident.split.items():
        share = f"{part / incident.excess:.0%}" if incident.excess > 0 else ""
        lines.append(f"| {phase} | {part:.1f} | {share} |")
    return "\n".join(lines) + "\n"


def _decision(line: Line) -> str:
    if line["decision"] == "trigger":
        score = "" if line["score"] is None else f", score {line['score']:.3g} past {line['threshold']:.3g}"
        return f"{when(line['tick'])}: {line['trigger']} fired ({line['reason']}{score})"
    if line["decision"] == "training":
        return f"{when(line['tick'])}: fit on {line['rows']} pages, {line['window']}: {line['verdict']}"
    return f"{when(line['tick'])}: version {line['version']} {line['verdict']} by {line['rollout']}"


@script("perennial-incidents")
def main(arguments: Sequence[str] | None = None) -> int:
    """Write `incidents.md` and `incidents.json` into a finished run's folder, and print the former."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-incidents", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    ask_trust(parser)
    options = parser.parse_args(arguments)
    if not results.finished(options.run):
        raise ConfigurationError(f"'run' must be the folder of a finished run. Got {options.run}.")
    found = incidents(Records(options.run, options.trust))
    results.write_atomically(options.run / "incidents.md", report(found))
    body: list[dict[str, Any]] = [asdict(incident) for incident in found]
    results.write_atomically(options.run / "incidents.json", json.dumps(body, indent=1) + "\n")
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
