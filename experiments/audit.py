"""Answers for a model that served: trained on what, why, judged how, shown to whom, and what became of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from perennial.agents.lifecycle.shelves import Version
from perennial.envs import World
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script
from perennial.experiments.metrics import HOURS
from perennial.experiments.reproduce import Records
from perennial.experiments.run import ask_trust
from perennial.experiments.threads import one_thread

Line = dict[str, Any]
"""A decision as the audit trail holds it; see `perennial.agents.lifecycle.decisions`."""


@dataclass(frozen=True)
class Exposure:
    """Whom a version met as `arm`: ``share`` of all pages served between its `first_tick` and `last_tick`."""

    arm: str
    pages: int
    visits: int
    users: int
    explored: int
    share: float
    first_tick: int
    last_tick: int


@dataclass(frozen=True)
class Account:
    """All that the records say of one version.

    ``code``, ``seed`` and ``agent`` trained it; ``training`` says on which window, hours, rows and data version.
    ``evidence``: the evaluations of triggers that fired for it. ``validations``, ``rollouts``: the judgements of it.
    ``updates``: in-place updates while it served. ``exposures``: whom it met. ``replaced_by`` at ``replaced_tick``:
    the version that followed it as champion, and ``replaced_because`` (None: it still serves, or never did).
    """

    version: int
    parent: int | None
    origin: str
    tick: int
    code: str
    seed: int
    agent: Line
    artifact: str
    training: Line | None
    evidence: list[Line]
    validations: list[Line]
    rollouts: list[Line]
    updates: int
    exposures: list[Exposure]
    champion_from: int | None
    replaced_by: int | None
    replaced_tick: int | None
    replaced_because: str | None


def account(records: Records, version: int) -> Account:
    """What the records of a run say of `version`."""
    row = _row(records, version)
    about = [line for line in records.lines if line.get("version") == version]
    rollouts = [line for line in about if line["decision"] == "rollout"]
    after = _successor(records, version)
    return Account(
        version=version,
        parent=row.parent,
        origin=row.origin,
        tick=row.tick,
        code=row.code,
        seed=row.seed,
        agent=records.run.agent,
        artifact=row.artifact,
        training=row.training,
        evidence=_evidence(records, row),
        validations=[line for line in about if line["decision"] == "validation"],
        rollouts=rollouts,
        updates=sum(line["kind"] == "update" for line in records.trainings if line["model_version"] == version),
        exposures=_exposures(records, version),
        champion_from=row.tick + 1
        if row.origin == "initial"
        else next((line["tick"] + 1 for line in rollouts if line["verdict"] == "promote"), None),
        replaced_by=after["version"] if after else None,
        replaced_tick=after["tick"] if after else None,
        replaced_because=_because(records, after) if after else None,
    )


def _row(records: Records, version: int) -> Version:
    found = [row for row in records.versions if row.version == version and row.revision == 0]
    if not found:
        last = max((row.version for row in records.versions), default=0)
        raise ConfigurationError(f"'version' must be a registered one, 1 to {last}. Got {version}.")
    return found[0]


def _evidence(records: Records, row: Version) -> list[Line]:
    """The evaluation of the trigger that ordered its training: the last that fired in that hour for that reason."""
    if row.training is None:
        return []
    same = [line for line in records.lines if line["decision"] == "trigger" and line["tick"] == row.training["tick"]]
    return [line for line in same if line["reason"] == row.training["reason"]][-1:]


def _successor(records: Records, version: int) -> Line | None:
    """The promotion that took the place of `version` as champion."""
    promotions = (line for line in records.lines if line["decision"] == "rollout" and line["verdict"] == "promote")
    return next((line for line in promotions if line["parent"] == version), None)


def _because(records: Records, promotion: Line) -> str:
    """Why the version that was promoted had been trained, and how it got in."""
    training = _row(records, promotion["version"]).training or {}
    words = [f"trained because of: {training.get('reason', 'unknown')}", f"rollout: {promotion['rollout']}"]
    return "; ".join([*words, *([promotion["reason"]] if promotion.get("reason") else [])])


def _exposures(records: Records, version: int) -> list[Exposure]:
    if not (records.log.path / "pages").exists():
        return []
    first = records.run.window.start * HOURS  # before it, another policy wrote the history
    pages = pl.scan_delta(str(records.log.path / "pages")).filter(pl.col("tick") >= first)
    served = (
        pages.filter(pl.col("version") == version)
        .group_by("arm")
        .agg(
            pl.len().alias("pages"),
            pl.col("visit").n_unique().alias("visits"),
            pl.col("user_id").n_unique().alias("users"),
            pl.col("explored").sum().cast(pl.Int64),
            pl.col("tick").min().alias("first_tick"),
            pl.col("tick").max().alias("last_tick"),
        )
    )
    found = []
    for arm in served.sort("arm").collect().to_dicts():
        between = pl.col("tick").is_between(arm["first_tick"], arm["last_tick"])
        everybody = pages.filter(between).select(pl.len()).collect().item()
        found.append(Exposure(**arm, share=arm["pages"] / everybody))
    return found


def sentences(told: Account) -> list[str]:
    """The account in words, one line an answer."""
    parent = f", of version {told.parent}" if told.parent else ""
    said = [("", f"version {told.version} ({told.origin}{parent})"), *_training_said(told)]
    for line in told.validations:
        said.append(("validated", f"{line['verdict']}: {line['reason']}, on {line['rows']} pages, {line['figures']}"))
    if not told.validations:
        said.append(("validated", "not at all"))
    for line in told.rollouts[-1:]:
        said.append(("rollout", f"{line['rollout']}: {line['verdict']} in {when(line['tick'])} {line['evidence']}"))
    return [f"{label:13s}{text}" for label, text in [*said, *_exposure_said(told), *_end_said(told)]]


def _training_said(told: Account) -> list[tuple[str, str]]:
    training = told.training
    said = [
        ("parameters", f"{told.artifact}, code {told.code}, seed of the run {told.seed}"),
        ("agent", str(told.agent)),
    ]
    if training is None:
        return said
    hours = f"{when(training['first_tick'])} to {when(training['last_tick'])}"
    pages = f"{training['rows']} pages, {training['window']}: {hours}, data version {training['data_version']}"
    how = f"{when(training['tick'])}, {training['start']} start, seed {training['seed']}"
    said += [("trained on", pages), ("trained in", f"{how}, price {training['price']:.6g}")]
    labels = training.get("labels") or {}
    if labels:
        said.append(("labels", ", ".join(f"{count} by source {source!r}" for source, count in labels.items())))
    said.append(("because of", training["reason"]))
    for line in told.evidence:
        score = "" if line["score"] is None else f"score {line['score']:.4g} past {line['threshold']:.4g}, "
        said.append(("evidence", f"{line['trigger']}: {score}{line['inputs']}"))
    return said


def _exposure_said(told: Account) -> list[tuple[str, str]]:
    said = []
    for e in told.exposures:
        span = f"{when(e.first_tick)} to {when(e.last_tick)}"
        pages = f"{e.users} users on {e.pages} pages ({e.share:.0%} of all) as {e.arm}, {span}"
        said.append(("shown to", f"{pages}; {e.explored} pages by exploration"))
    return said or [("shown to", "nobody")]


def _end_said(told: Account) -> list[tuple[str, str]]:
    if told.replaced_by is not None and told.replaced_tick is not None:
        words = f"by version {told.replaced_by} in {when(told.replaced_tick)}"
        return [("replaced", f"{words}: {told.replaced_because}")]
    return [("replaced", "not: it was the champion at the end")] if told.champion_from is not None else []


def when(tick: int) -> str:
    """Date and hour of a tick."""
    return f"{World.date_of(tick // HOURS)} {tick % HOURS:02d}h"


@script("perennial-audit")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the account of one version, as text or as JSON."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-audit", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("version", type=int, help="version to account for")
    parser.add_argument("--json", action="store_true", help="everything, for a machine to read")
    ask_trust(parser)
    options = parser.parse_args(arguments)
    told = account(Records(options.run, options.trust), options.version)
    print(json.dumps(asdict(told), indent=1) if options.json else "\n".join(sentences(told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
