"""A small run that kills its own process where it is told to, or says when it got to a moment counted in calls.

A point is written "training after 2": the process ends by SIGKILL after the second call of what `POINTS` names there.
A moment is a number of calls of any Python or C function: it comes at the same place whatever else the machine does.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle import checkpoint, store
from perennial.agents.lifecycle.checkpoint import Checkpoint
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.shelves import SqliteShelf
from perennial.agents.linucb import LinUCB
from perennial.agents.popular import Popular
from perennial.experiments import execution, results, run, tensorboard

SCHEDULE = "{_target_:perennial.agents.lifecycle.triggers.Schedule,%s}"
DRIFT = (
    "{_target_:perennial.agents.lifecycle.triggers.Drift,cooldown_days:1,detector:{_target_:"
    "perennial.agents.lifecycle.detectors.PageHinkley,delta:0.0,threshold:1.0,min_instances:30}}"
)
TINY = [
    "agent=linucb", "strategy=static", "world.n_users=200", "world.n_items=150", "world.visits_per_day=50",
    "experiment.history_days=3", "experiment.history_window_days=2", "experiment.scored_days=6",
    "experiment.exploration=0.2", "experiment.first_day=2010-09-08",
    "strategy.window.days=3", "strategy.step_hours=6", "++strategy.budget=150",
    f"strategy.update={SCHEDULE % 'hours:6'}",
    "strategy.trigger={_target_:perennial.agents.lifecycle.triggers.AnyOf,triggers:["
    f"{SCHEDULE % 'days:2'},{DRIFT}]}}",
]  # fmt: skip
"""Updates in place, fits on a schedule and by a detector: everything that a checkpoint has to carry over.

Day 252, the third of the scored ones, begins a block of the log, so that the one before is merged.
"""

POINTS: dict[str, tuple[Any, str]] = {
    "history": (Popular, "fit"),
    "training": (LinUCB, "fit"),
    "update": (LinUCB, "update"),
    "logging": (store, "write_deltalake"),
    "listing": (store.Store, "write"),
    "merging": (store.Store, "compact"),
    "registration": (SqliteShelf, "add"),
    "promotion": (Registry, "point"),
    "pruning": (Registry, "prune"),
    "audit": (Audit, "end_day"),
    "commit": (Checkpoint, "commit"),
    "rename": (checkpoint, "write_durably"),
    "tensorboard": (tensorboard, "write"),
    "result": (results, "write_atomically"),
}


def small(folder: Path) -> run.Run:
    return run.compose([*TINY, f"output={folder}", "name=small"])


def dying(call: Callable[..., Any], when: str, count: int) -> Callable[..., Any]:
    """`call`, but the process is killed at its call number `count`."""
    calls = [0]

    def killed(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == count and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*given, **named)
        if calls[0] == count and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return killed


def counting(moment: int, told: Any) -> list[int]:
    """The number of calls this process makes from here on, as it grows; `told` is sent a word at call `moment`."""
    calls = [0]

    def call(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls[0] += 1
            if calls[0] == moment:
                told.send("here")

    sys.setprofile(call)
    return calls


def main_until(folder: Path, moment: int, told: Any) -> None:
    """The run, or what is left of it; `told` hears when it comes to call `moment`, and how many it made at its end."""
    planned = small(folder)
    calls = counting(moment, told)
    live(planned)
    sys.setprofile(None)
    told.send(calls[0])


def main(folder: Path, *points: str, begun: Any = None) -> None:
    """The whole run, or what is left of it; `begun` is told when the imports are done."""
    planned = small(folder)
    for point in points:
        name, when, count = point.split()
        owner, attribute = POINTS[name]
        setattr(owner, attribute, dying(getattr(owner, attribute), when, int(count)))
    if begun is not None:
        begun.set()
    live(planned)


def live(planned: run.Run) -> None:
    if planned.status() != "finished":
        execution.prepare([planned], lambda days: None)
        execution.execute(planned, lambda days: None)


def with_small_files(folder: Path, room: int, said: Any) -> None:
    """The run with files of at most `room` bytes after its first scored day; tells what error it ended with."""
    _then(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)), folder, said)


def on_a_full_disk(folder: Path, room: int, said: Any) -> None:
    """The run on a disk with only `room` bytes left after its first scored day; tells what error it ended with."""

    def fill() -> None:
        with (folder / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - room)

    _then(fill, folder, said)


def _then(act: Callable[[], object], folder: Path, said: Any) -> None:
    """The run, with `act` once its first scored day is committed."""
    commit, done = Checkpoint.commit, []

    def committed(self: Checkpoint, *given: Any) -> None:
        commit(self, *given)
        if self.path.parent.name == "small" and not done:
            done.append(act())

    setattr(Checkpoint, "commit", committed)  # noqa: B010 (mypy refuses the plain form)
    try:
        main(folder)
    except Exception as error:
        said.put(f"{type(error).__name__}: {error}")
    else:
        said.put("no error")
