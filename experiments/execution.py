"""What a process does for a run: live through the time before, fit the first version, then the scored window."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from perennial.agents.base import Agent, Feedback, Items, Spaces
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.fairness import FairnessReport
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob
from perennial.agents.lifecycle.triggers import Never, Schedule
from perennial.agents.lifecycle.windows import AllDays, LastDays
from perennial.agents.popular import Popular
from perennial.envs import World
from perennial.envs.oracle import Oracle
from perennial.experiments import configuration, results, tensorboard
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import HOURS, Scorer
from perennial.experiments.results import Event, Result
from perennial.experiments.run import Run

Advance = Callable[[int], object]
"""Told how many simulated days have passed."""

KEPT_MODELS = 3
"""Parameter files a run keeps beside the aliased ones; the records of all versions stay."""

LONE_PAGES = 200
"""Decisions on one page at a time that are timed after a run."""


@dataclass(frozen=True)
class Parts:
    """A run's objects, built and begun, and nothing written yet."""

    world: World
    training: TrainingJob
    strategy: Strategy


def seed_of(run: Run, purpose: int) -> int:
    """A seed of its own for each purpose, apart from the world's: 0 the agent, 1 its floor, 2 and 3 the same before."""
    return int(np.random.SeedSequence([run.seed, purpose]).generate_state(1)[0])


def build(run: Run) -> Parts:
    """Everything the run needs; what is wrong shows here, before a file is written."""
    make = configuration.build
    world = make(run.world, "world", drift=make(run.drift, "drift"), reward=make(run.reward, "reward"), seed=run.seed)
    agent = partial(copy.deepcopy, make(run.agent, "agent"))
    training = TrainingJob(agent, items_of(world), Spaces(**world.sizes), seed_of(run, 0))
    strategy = make(run.strategy, "strategy")
    strategy.rollout.inform(world.audit_attributes)
    return Parts(world, training, strategy)


def items_of(world: World) -> Items | Callable[[int], Items]:
    """The item table that training begins agents with; where items come and go, that of the hour."""
    return (lambda tick: world.items_on(tick / HOURS)) if world.catalogue.churns else world.items


def prepare(runs: Sequence[Run], advance: Advance) -> Path:
    """The time before the scored window, for runs that share it, and the first version of each of their agents."""
    first = runs[0]
    history, days = first.history, first.window.history_days
    if (history / "world.npz").exists():
        advance(days)
    else:
        _into_place(partial(_live_through_history, first, advance=advance), history)
    missing = {run.first_version: run for run in runs if not run.first_version.exists()}
    if missing:
        log = FeedbackLog(history / "log", build(first).training.spaces)
        pages = AllDays().select(log, first.window.start * HOURS - 1)
        for run in missing.values():
            _fit_first_version(run, pages)
    return history


def _into_place(write: Callable[[Path], object], target: Path) -> None:
    """Let `write` fill a folder beside `target` and move it there in one step; who comes second leaves it be."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    write(draft)
    try:
        os.rename(draft, target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(draft)


def _live_through_history(run: Run, folder: Path, advance: Advance) -> None:
    """`popular`, refitted every night, serves the days before; its log and the visitors as it leaves them are kept."""
    parts, window = build(run), run.window
    training = TrainingJob(Popular, items_of(parts.world), parts.training.spaces, seed_of(run, 2))
    strategy = Strategy(
        Schedule(days=1), LastDays(window.history_window_days), Never(), ImmediateRollout(), "cold", HOURS
    )
    registry = Registry(folder / "registry", results.code_digest(), run.seed, keep=1)
    before = window.history_start * HOURS - 1
    deployment = Deployment(
        training.fresh(), strategy.rollout, registry, window.history_exploration, seed_of(run, 3), before
    )
    log = FeedbackLog(folder / "log", parts.training.spaces)
    loop = Loop(parts.world, deployment, strategy, training, log)
    loop.run(before + 1, window.start * HOURS - 1, lambda day: advance(1))
    registry.close()
    log.compact()
    saved: dict[str, Any] = parts.world.save()
    np.savez(folder / "world.npz", **saved)


def _fit_first_version(run: Run, pages: Feedback) -> None:
    """Fit the agent on the whole history; learners that can only learn from their own pages start as they are."""
    agent = build(run).training.fresh()
    agent.fit(pages, "cold")
    run.first_version.parent.mkdir(exist_ok=True)
    draft = run.first_version.with_name(f".{run.first_version.name}.{os.getpid()}")
    agent.save(draft)
    os.replace(draft, run.first_version)


def execute(run: Run, advance: Advance) -> Path:
    """The scored window of one run, from where its history left off; `result.json` is written last."""
    parts, started = build(run), time.perf_counter()
    _clear(run.folder)
    configuration.save({**run.settings, "arm": run.arm}, run.folder / "config.yaml")
    registry = Registry(run.folder / "registry", results.code_digest(), run.seed, keep=KEPT_MODELS)
    loop = _loop(run, parts, registry)
    first = run.window.start * HOURS
    loop.run(first, first + run.window.scored_days * HOURS - 1, lambda day: advance(1))
    registry.close()
    result = _result(run, loop)
    timings = {**_timings(loop), "run_s": time.perf_counter() - started}
    results.write_atomically(run.folder / results.TIMINGS, json.dumps(timings, indent=1, sort_keys=True) + "\n")
    tensorboard.write(result, tensorboard.flat(run.settings), run.folder / "tensorboard")
    result.write(run.folder)
    return run.folder


def _clear(folder: Path) -> None:
    """An empty folder for the run; what an interrupted or replaced run left there goes."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "config.yaml").exists():
            raise configuration.ConfigurationError(f"{folder} holds files of something else. Choose another name=...")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _loop(run: Run, parts: Parts, registry: Registry) -> Loop:
    world, window = parts.world, run.window
    with np.load(run.history / "world.npz") as saved:
        world.restore(dict(saved))
    agent: Agent = parts.training.fresh()
    agent.load(run.first_version)
    deployment = Deployment(
        agent, parts.strategy.rollout, registry, window.exploration, seed_of(run, 1), window.start * HOURS - 1
    )
    log = FeedbackLog(run.history / "log", parts.training.spaces).fork(run.folder / "log")
    audit = Audit(run.folder / "decisions.jsonl")
    scorer, fairness = Scorer(Oracle(world)), FairnessReport(world.audit_attributes)
    return Loop(world, deployment, parts.strategy, parts.training, log, audit=audit, scorer=scorer, fairness=fairness)


def _result(run: Run, loop: Loop) -> Result:
    """The deterministic part: the scored days, and what the audit trail says was done."""
    lines: list[dict[str, Any]] = loop.audit.lines
    trainings = [line for line in lines if line["decision"] == "training"]
    fits = [line["tick"] // HOURS for line in trainings if line["kind"] == "fit" and line["verdict"] == "trained"]
    alarms = [line["tick"] // HOURS for line in lines if line["decision"] == "trigger" and line["inputs"].get("alarms")]
    figures = {
        "updates": float(sum(line["kind"] == "update" and line["verdict"] == "trained" for line in trainings)),
        "failed_trainings": float(sum(line["verdict"] == "failed" for line in trainings)),
        "training_price": float(sum(line["price"] for line in trainings)),
    }
    events = [*(Event(day, "retrain") for day in fits), *(Event(day, "alarm") for day in alarms)]
    scorer = loop.scorer
    assert isinstance(scorer, Scorer)
    return Result(run.arm, run.drift_name, run.seed, scorer.days(), events, run.digest, results.code_digest(), figures)


def _timings(loop: Loop) -> dict[str, float]:
    """Measured on this machine: a decision as served, a decision on one page alone, a fit, an update."""
    measured = loop.timings.summary()
    lone = _lone_decisions(loop)
    timings = {
        "decision_ms_p50": measured["decision"]["p50"],
        "decision_ms_p99": measured["decision"]["p99"],
        "single_ms_p50": float(np.percentile(lone, 50)),
        "single_ms_p99": float(np.percentile(lone, 99)),
        "decision_s": measured["decision"]["total"],
        "commit_s": measured.get("commit", {}).get("total", 0.0),
    }
    for kind, name in (("fit", "training_s_per_retrain"), ("update", "training_s_per_update")):
        if kind in measured:
            timings[name] = measured[kind]["total"] / measured[kind]["count"]
    return timings


def _lone_decisions(loop: Loop) -> list[float]:
    """Milliseconds of decisions on one page at a time, on pages of the last day."""
    pages = loop.log.read(loop.log.last_day, loop.log.last_day)
    taken = []
    for row in range(min(LONE_PAGES, len(pages))):
        page = pages.take(np.array([row]))
        begun = time.perf_counter()
        loop.deployment.act(page.observations, page.keys)
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken or [float("nan")]
