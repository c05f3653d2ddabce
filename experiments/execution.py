"""What a process does for a run: live through the time before, fit the first version, then the scored window."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from perennial.agents.base import Agent, Items, Spaces
from perennial.agents.lifecycle.checkpoint import read_arrays
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.fairness import FairnessReport
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.review_desk import give_desk
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob, TrainingOrder
from perennial.agents.lifecycle.triggers import Never, Schedule
from perennial.agents.lifecycle.watchlist import Watchlist
from perennial.agents.lifecycle.windows import AllDays, LastDays
from perennial.agents.popular import Popular
from perennial.envs import World
from perennial.experiments import configuration, results, resuming, tensorboard
from perennial.experiments.delivery import Delivery
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import HOURS, Scorer
from perennial.experiments.results import Event, Result
from perennial.experiments.resuming import RunStoppedError, Site
from perennial.experiments.reviewers import hand_truth
from perennial.experiments.run import CONFIG, Run, build_world

Advance = Callable[[int], object]
"""Told how many simulated days have passed."""

WORLD, DELIVERY = "world.npz", "delivery.npz"
"""In a history: the world as the last day leaves it, written last, and the reports under way then."""

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
    delivery: Delivery


def seed_of(run: Run, purpose: int) -> int:
    """A seed of its own for each purpose, apart from the world's: 0 the agent, 1 its floor, 2 and 3 the same before."""
    return int(np.random.SeedSequence([run.seed, purpose]).generate_state(1)[0])


def build(run: Run) -> Parts:
    """Everything the run needs; what is wrong shows here, before a file is written."""
    make, world = configuration.build, build_world(run.settings, run.seed)
    agent = partial(copy.deepcopy, make(run.agent, "agent"))
    training = TrainingJob(agent, items_of(world), Spaces(**world.sizes), seed_of(run, 0))
    delivery = Delivery(make(run.feedback, "feedback"), run.seed, world.reward)
    strategy = make(run.strategy, "strategy")
    strategy.rollout.inform(world.audit_attributes)
    return Parts(world, training, strategy, delivery)


def items_of(world: World) -> Items | Callable[[int], Items]:
    """The item table that training begins agents with; where items come and go, that of the hour."""
    return (lambda tick: world.items_on(tick / HOURS)) if world.catalogue.churns else world.items


def prepare(runs: Sequence[Run], advance: Advance) -> Path:
    """The time before the scored window, for runs that share it, and the first version of each of their agents."""
    with resuming.told(runs[0].history):
        return _prepare(runs, advance)


def _prepare(runs: Sequence[Run], advance: Advance) -> Path:
    first = runs[0]
    history, days = first.history, first.window.history_days
    if (history / WORLD).exists():
        advance(days)
    else:
        _live_through_history(first, advance)
    missing = {run.first_version: run for run in runs if not run.first_version.exists()}
    if missing:
        log = FeedbackLog(history / resuming.LOG, build(first).training.spaces)
        for run in missing.values():
            _fit_first_version(run, log)
    return history


def _live_through_history(run: Run, advance: Advance) -> None:
    """`popular`, refitted every night, serves the days before; its log and the visitors as it leaves them are kept.

    All this happens in a folder beside the history's own, and takes its place in one step.
    """
    draft, days = run.history.with_name(f".{run.history.name}"), range(run.window.history_start, run.window.start)
    draft.mkdir(parents=True, exist_ok=True)
    with resuming.alone(draft, wait=True):
        if (run.history / WORLD).exists():  # another process was at it, and is done
            advance(len(days))
            return
        if not resuming.interrupted(draft, run.history.name):
            resuming.empty(draft)
        site = _history_site(run, draft)
        loop = resuming.live(site, partial(_begin_history, run), days, advance)
        loop.deployment.registry.close()
        loop.log.compact()
        for name, saved in ((DELIVERY, loop.delivery.save()), (WORLD, site.world.save())):
            arrays: dict[str, Any] = saved
            np.savez(draft / name, **arrays)
        shutil.rmtree(draft / resuming.CHECKPOINT)
        os.rename(draft, run.history)


def _history_site(run: Run, folder: Path) -> Site:
    parts = build(run)
    training = TrainingJob(Popular, items_of(parts.world), parts.training.spaces, seed_of(run, 2))
    log = FeedbackLog(folder / resuming.LOG, training.spaces)
    registry = Registry(folder / resuming.REGISTRY, results.code_digest(), run.seed, keep=1)
    return resuming.site(folder, run.history.name, parts.world, training, log, registry)


def _begin_history(run: Run, site: Site) -> dict[str, Any]:
    window = run.window
    strategy = Strategy(
        Schedule(days=1), LastDays(window.history_window_days), Never(), ImmediateRollout(), "cold", HOURS
    )
    before = window.history_start * HOURS - 1
    champion, floor = site.training.fresh(), seed_of(run, 3)
    deployment = Deployment(champion, strategy.rollout, site.registry, window.history_exploration, floor, before)
    return {"deployment": deployment, "strategy": strategy, "delivery": build(run).delivery}


def first_order(run: Run) -> TrainingOrder:
    """The training of the agent's first version: on the whole history, in its last hour."""
    return TrainingOrder("fit", AllDays(), "cold", "first version", run.window.start * HOURS - 1)


def _fit_first_version(run: Run, log: FeedbackLog) -> None:
    """Fit the agent on the whole history; learners that can only learn from their own pages start as they are."""
    training, order = build(run).training, first_order(run)
    trained = training.run(order, log, training.fresh(order.tick))
    if trained.agent is None:
        raise RuntimeError(f"The first version could not be trained: {trained.record.verdict}. {trained.record.error}")
    run.first_version.parent.mkdir(exist_ok=True)
    record = json.dumps(asdict(trained.record), sort_keys=True) + "\n"
    results.write_atomically(run.first_version.with_suffix(".json"), record)
    draft = run.first_version.with_name(f".{run.first_version.name}.{os.getpid()}")
    trained.agent.save(draft)
    os.replace(draft, run.first_version)


def execute(run: Run, advance: Advance) -> Path:
    """The scored window of one run, from where its history or an interruption left off; `result.json` comes last."""
    parts, started = build(run), time.perf_counter()
    with resuming.told(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
        with resuming.alone(run.folder):
            _execute(run, parts, advance, started)
    return run.folder


def _execute(run: Run, parts: Parts, advance: Advance, started: float) -> None:
    resumed = not results.finished(run.folder) and resuming.interrupted(run.folder, identity(run))
    if not resumed:
        _clear(run.folder)
        configuration.save({**run.settings, "registry": run.registry, **run.names}, run.folder / CONFIG)
    days = range(run.window.start, run.window.start + run.window.scored_days)
    loop = resuming.live(_site(run, parts, resumed), partial(_begin, run, parts), days, advance)
    loop.deployment.registry.close()
    _write(run, loop, started)


def identity(run: Run) -> str:
    """Names what a checkpoint belongs to: settings and code."""
    return f"{run.digest} {results.code_digest()}"


def _clear(folder: Path) -> None:
    """An empty folder for the run; what a replaced run, or an interrupted one of other settings or code, left goes."""
    if any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise configuration.ConfigurationError(f"{folder} holds files of something else. Choose another name=...")
    resuming.empty(folder)


def _site(run: Run, parts: Parts, resumed: bool) -> Site:
    place, spaces = run.folder / resuming.LOG, parts.training.spaces
    stored = parts.training.build().stored
    if resumed:
        log = FeedbackLog(place, spaces, stored=stored)
    else:
        log = FeedbackLog(run.history / resuming.LOG, spaces).fork(place, stored)
    registry = open_registry(run)
    if not resumed:
        registry.return_to([0, 0])  # a shelf on a server may hold what an earlier run of this name left
    return resuming.site(run.folder, identity(run), parts.world, parts.training, log, registry)


def open_registry(run: Run) -> Registry:
    """The models of a run, on the shelf that its configuration names."""
    place = run.folder / resuming.REGISTRY
    place.mkdir(parents=True, exist_ok=True)
    shelf = configuration.build(run.registry, "registry", place=place)
    return Registry(place, results.code_digest(), run.seed, keep=KEPT_MODELS, shelf=shelf)


def _begin(run: Run, parts: Parts, site: Site) -> dict[str, Any]:
    """The parts of a run at its first hour, with the visitors as the history left them."""
    site.world.restore(of_history(run, WORLD))
    parts.delivery.restore(of_history(run, DELIVERY))
    agent, training = _first(run, site.training)
    window, strategy = run.window, parts.strategy
    before, floor = window.start * HOURS - 1, seed_of(run, 1)
    deployment = Deployment(agent, strategy.rollout, site.registry, window.exploration, floor, before, training)
    hand_truth(strategy.review, site.truth)
    give_desk(strategy.review, run.folder / resuming.REVIEW)
    monitor = Monitor(watchlist=Watchlist(site.training.items, site.training.spaces, deployment.latency))
    return {
        "deployment": deployment,
        "strategy": strategy,
        "monitor": monitor,
        "scorer": Scorer(site.truth),
        "fairness": FairnessReport(site.world.audit_attributes),
        "delivery": parts.delivery,
    }


def of_history(run: Run, name: str) -> dict[str, Any]:
    """The arrays that the time before left in its file `name`."""
    return read_arrays(
        run.history / name, f"Delete {run.history} and start again: the time before is lived through anew."
    )


def _first(run: Run, training: TrainingJob) -> tuple[Agent, TrainingRecord]:
    """The agent's first version, and the record of its training."""
    agent = training.fresh(first_order(run).tick)
    try:
        agent.load(run.first_version)
        record = TrainingRecord(**json.loads(run.first_version.with_suffix(".json").read_text(encoding="utf-8")))
    except (SafetensorError, ValueError) as error:
        raise RunStoppedError(
            f"The first version in {run.first_version} is damaged ({error}). Delete the file and start again: it is "
            "fitted anew."
        ) from error
    return agent, record


def _write(run: Run, loop: Loop, started: float) -> None:
    """Everything that is read of a finished run; the checkpoint has done its work."""
    result = _result(run, loop)
    timings = {**_timings(loop), "run_s": time.perf_counter() - started}
    results.write_atomically(run.folder / results.TIMINGS, json.dumps(timings, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(run.folder / "tensorboard", ignore_errors=True)  # of a process that was killed while writing it
    tensorboard.write(result, tensorboard.flat(run.settings), run.folder / "tensorboard")
    result.write(run.folder)
    shutil.rmtree(run.folder / resuming.CHECKPOINT)


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
        **_reviews(lines),
        **_faults(loop),
    }
    alerts = [line for line in lines if line["decision"] == "alert"]
    events = [*(Event(day, "retrain") for day in fits), *(Event(day, "alarm") for day in alarms)]
    events += [Event(line["tick"] // HOURS, "alert", alert_text(line)) for line in alerts]
    scorer = loop.scorer
    assert isinstance(scorer, Scorer)
    return Result(run.arm, run.drift_name, run.seed, scorer.days(), events, run.digest, results.code_digest(), figures)


def _reviews(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many labels the run bought, and for how much; nothing where nobody was asked."""
    reviews = [line for line in lines if line["decision"] == "review"]
    price = float(sum(line["price"] for line in reviews))
    return {"labels": float(len(reviews)), "labels_price": price} if reviews else {}


def _faults(loop: Loop) -> dict[str, float]:
    """What the log says of its own faults, the time before included; nothing where there was none."""
    counts = {**loop.log.counts, **loop.log.late_counts}
    return {name: float(n) for name, n in counts.items() if n and name != "pages"}


def alert_text(line: Mapping[str, Any]) -> str:
    """An alert of the audit trail in words."""
    return (
        f"{line['metric']} by {line['test']}: {line['reference']:.4g} to {line['current']:.4g}, "
        f"p = {line['p_value']:.2g}, from {line['reference_values']} and {line['current_values']} values; "
        f"smallest drift seen with 80 % power: {line['smallest']:.3g}"
    )


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
