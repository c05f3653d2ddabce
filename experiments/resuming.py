"""Runs that outlive their process: begun, or taken up after the last committed day, by one process at a time."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake.exceptions import DeltaError
from safetensors import SafetensorError

from perennial.agents.lifecycle import checkpoint
from perennial.agents.lifecycle.checkpoint import Checkpoint, Kept
from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.snapshot import SnapshotError
from perennial.agents.lifecycle.training import TrainingJob
from perennial.envs import World
from perennial.envs.oracle import Oracle
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import HOURS

CHECKPOINT, DECISIONS, LOG, REGISTRY, REVIEW = "checkpoint", "decisions.jsonl", "log", "registry", "review"

LABELS = "labels.json"
"""Beside a person's questions: what the page calls each item, where no simulated shop says it."""


class RunStoppedError(RuntimeError):
    """A run could not write on, or not read what it starts from; what was committed before is kept."""


STOPPED = (RunStoppedError, DamagedError, SnapshotError)
"""What keeps a run from going on, each with a message that says all there is to say: the disk, a damaged record, a part
that no checkpoint can hold."""

DISK = (OSError, sqlite3.Error, DeltaError, SafetensorError)
"""What libraries raise where the disk is full or a right is lost; `told` puts it into a sentence."""


@dataclass(frozen=True)
class Site:
    """What a loop stands on: a world, training jobs, and its records in one `folder`; `truth` is for scoring."""

    folder: Path
    world: World
    truth: Oracle
    training: TrainingJob
    log: FeedbackLog
    audit: Audit
    registry: Registry
    checkpoint: Checkpoint


def site(
    folder: Path, identity: str, world: World, training: TrainingJob, log: FeedbackLog, registry: Registry
) -> Site:
    """The records in `folder`, and the checkpoint that commits them together."""
    audit, truth = Audit(folder / DECISIONS), Oracle(world)
    outside = {"world": world, "truth": truth, "training": training, "items": training.items}
    kept: dict[str, Kept] = {"log": log, "audit": audit, "registry": registry}
    return Site(
        folder, world, truth, training, log, audit, registry, Checkpoint(folder / CHECKPOINT, kept, outside, identity)
    )


def interrupted(folder: Path, identity: str) -> bool:
    """Whether `folder` holds committed days of the same run by the same code."""
    return checkpoint.identity(folder / CHECKPOINT) == identity


def live(site: Site, begin: Callable[[Site], dict[str, Any]], days: range, advance: Callable[[int], object]) -> Loop:
    """Live through `days`: from the first with the parts that `begin` makes, or after the last committed one."""
    with told(site.folder):
        if checkpoint.identity(site.checkpoint.path) is None:
            last, parts = days.start - 1, begin(site)
        else:
            last, parts = site.checkpoint.resume(site.training.knowing, site.world)
            advance(last + 1 - days.start)
        loop = Loop(
            world=site.world, training=site.training, log=site.log, audit=site.audit, checkpoint=site.checkpoint,
            **parts,
        )  # fmt: skip
        if last + 1 < days.stop:
            loop.run((last + 1) * HOURS, days.stop * HOURS - 1, lambda day: advance(1))
        return loop


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """A full disk, a file size limit or a lost right as one sentence that says what is safe and what to do."""
    try:
        yield
    except DISK as error:
        raise RunStoppedError(
            f"The run in {folder} could not write on: {first_line(error)}. Every committed day is kept, the day at "
            "hand is not. Make room or mend the disk, and start the same command again: it goes on after the last "
            "committed day."
        ) from error


def first_line(error: Exception) -> str:
    """What `error` says first, or its name if it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def empty(folder: Path) -> None:
    """Remove all that lies in `folder`, the folder itself stays."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder against other processes; the system lets go of it when this one ends, however it ends.

    Without `wait` a folder that is held raises. Where the system has no `flock`, nothing is held.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover (Windows)
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise RunStoppedError(
                f"Another process is at work in {folder}. Wait for it, or choose another name=..."
            ) from (error)
        yield
    finally:
        os.close(handle)
