"""What a study says at its end: tables on the screen, in Markdown and JSON, a picture, and where everything lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from perennial.experiments import figures, headroom, results, tables
from perennial.experiments.figures import Panel
from perennial.experiments.headroom import Headroom, Score
from perennial.experiments.results import Result, write_atomically
from perennial.experiments.run import Run
from perennial.experiments.study import Study
from perennial.experiments.tables import Table


def announce(console: Console, study: Study, runs: Sequence[Run], workers: int, overwrite: bool) -> None:
    """Say what is about to be run."""
    states = [run.status() for run in runs]
    console.print(f"[bold]{study.title}[/bold]: {len(runs)} runs in {workers} worker processes", highlight=False)
    if states.count("finished") and not overwrite:
        console.print(f"{states.count('finished')} runs were finished before and are kept.", highlight=False)
    if states.count("stale"):
        stale = f"{states.count('stale')} runs were made with other settings or by other code and are run again."
        console.print(stale, highlight=False)


def present(console: Console, study: Study, runs: Sequence[Run], done: Sequence[Result], workers: int) -> None:
    """Tables first, then where to look further."""
    folder = runs[0].folder.parent
    found = _headroom(study, runs, workers, folder)
    room = headroom.policy_table(found)
    uplift = tables.uplift_table(done, list(study.arms), study.incumbent, study.drift, study.twin)
    timings = tables.timing_table(_timings(study, runs))
    scale = _scale(study, runs, done)
    pairing = tables.pairing_table(done, [(first, second) for first, second in study.pairs], study.drift)
    console.print(room.rich(), found.verdict, highlight=False)
    console.print(uplift.rich(), *(table.rich() for table in (*scale, timings, *([pairing] if study.pairs else []))))
    _warn(console, done)
    digest = results.digest([uplift.plain(), sorted([r.arm, r.drift, r.seed, r.digest] for r in done)])
    body = {"headroom": room.plain(), "uplift": uplift.plain(), "pairing": pairing.plain(), "digest": digest}
    write_atomically(folder / "tables.json", json.dumps(body, indent=1, allow_nan=False) + "\n")
    write_atomically(folder / "timings.json", json.dumps(timings.plain(), indent=1, allow_nan=False) + "\n")
    filled = [table.markdown() for table in (room, uplift, *scale, timings, pairing) if table.rows]
    write_atomically(folder / "tables.md", "\n".join(filled))
    lines = {
        "Digest": f"{digest[:16]} (same seeds and same code: same digest)",
        "Tables": f"{folder / 'tables.md'} {folder / 'tables.json'} {folder / 'timings.json'}",
        "Picture": " ".join(map(str, _draw(study, done, folder))),
        "TensorBoard": f"tensorboard --logdir {folder}",
    }
    for name, text in lines.items():
        console.print(f"{name + ':':13s}{text}", highlight=False)


def _headroom(study: Study, runs: Sequence[Run], workers: int, folder: Path) -> Headroom:
    """What there is to win, without any agent; measured once for the same world and the same code."""
    run = next(run for run in runs if run.drift_name == study.drift)
    setting = {"world": run.world, "drift": run.drift, "reward": run.reward}
    key, path = results.digest([setting, run.experiment, run.seed, results.code_digest()]), folder / "headroom.json"
    if path.exists() and (kept := json.loads(path.read_text(encoding="utf-8")))["key"] == key:
        return Headroom({policy: Score(**score) for policy, score in kept["scores"].items()})
    found = headroom.measure([setting], run.window, run.seed, workers)[0]
    scores = {policy: asdict(score) for policy, score in found.scores.items()}
    write_atomically(path, json.dumps({"key": key, "scores": scores}, indent=1) + "\n")
    return found


def _scale(study: Study, runs: Sequence[Run], done: Sequence[Result]) -> list[Table]:
    """Every arm between the study's floor and the moving oracle, if it asks for that."""
    if study.floor is None:
        return []
    firsts = [run for run in runs if run.arm == study.floor and run.drift_name == study.drift]
    moving = [headroom.moving_from_history(run).clicks for run in sorted(firsts, key=lambda run: run.seed)]
    return [tables.normalised_table(done, list(study.arms), study.floor, study.drift, moving)]


def _timings(study: Study, runs: Sequence[Run]) -> dict[str, list[dict[str, float]]]:
    return {arm: [results.read_timings(run.folder) for run in runs if run.arm == arm] for arm in study.arms}


def _draw(study: Study, done: Sequence[Result], folder: Path) -> list[Path]:
    panels = [Panel(f"Drift: {study.drift}", study.drift, list(study.arms))]
    if study.twin:
        panels.append(Panel("Stationary twin", study.twin, study.twin_arms))
    figure = figures.season_picture(done, panels, study.incumbent, study.twin_arms)
    return figures.save(figure, folder / "season")


def _warn(console: Console, done: Sequence[Result]) -> None:
    """A training that failed leaves the champion serving; nobody should read the table without knowing."""
    for result in done:
        failed = int(result.figures["failed_trainings"])
        if failed:
            where = f"{result.arm}, {result.drift}, seed {result.seed}"
            console.print(f"[bold]{failed} trainings failed[/bold] in {where}: see decisions.jsonl there.")
