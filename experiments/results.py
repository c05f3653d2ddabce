"""A finished run on disk: `result.json` holds what a second run repeats bit for bit, `timings.json` what it cannot."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle.damage import DamagedError
from perennial.experiments.metrics import Day, Scores, summarise

RESULT, TIMINGS = "result.json", "timings.json"


@dataclass(frozen=True)
class Event:
    """Something the lifecycle did: `kind` "alarm", "alert" or "retrain", on simulated day `day` (since the epoch).

    An "alarm" fired a trigger, an "alert" tells of a watched figure; ``detail`` says it in words.
    """

    day: int
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """One run: which it was, its days, its events, and the digests of the configuration and the code that made it.

    `figures`: further deterministic numbers of the run, by name.
    """

    arm: str
    drift: str
    seed: int
    days: list[Day]
    events: list[Event]
    configuration: str
    code: str
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> Scores:
        return summarise(self.days)

    @property
    def retrains(self) -> int:
        return sum(event.kind == "retrain" for event in self.events)

    @property
    def digest(self) -> str:
        """SHA-256 of all that was measured; the same run gives the same one on the same kind of processor."""
        return digest([[asdict(day) for day in self.days], [asdict(event) for event in self.events], self.figures])

    def write(self, folder: Path) -> None:
        """Write `result.json`, whole or not at all: its presence says that the run is finished."""
        body = {**asdict(self), "scores": asdict(self.scores), "digest": self.digest}
        write_atomically(folder / RESULT, json.dumps(body, indent=1, sort_keys=True) + "\n")


def read(folder: Path) -> Result:
    """The result in `folder`."""
    try:
        body: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        body.pop("scores"), body.pop("digest")
        days, events = [Day(**row) for row in body.pop("days")], [Event(**row) for row in body.pop("events")]
        return Result(days=days, events=events, **body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"{folder / RESULT} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or delete the "
            "run's folder and start again."
        ) from error


def finished(folder: Path) -> bool:
    return (folder / RESULT).is_file()


def read_timings(folder: Path) -> dict[str, float]:
    """Seconds and milliseconds measured in this run; machine-bound, never part of a digest."""
    timings: dict[str, float] = json.loads((folder / TIMINGS).read_text(encoding="utf-8"))
    return timings


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path`, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def digest(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON; floats to their last digit."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


DECIDES = (
    "configuration", "delivery", "execution", "loop", "metrics", "results", "resuming", "reviewers", "run",
)  # fmt: skip
"""Modules of this folder that decide a run: what `execution` imports, but for what only shows or starts it."""


def code_files() -> list[Path]:
    """All files that decide a run: the environments, their presets, the agents, the loop and what builds it."""
    import perennial.agents
    import perennial.envs

    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in DECIDES]
    for package in (perennial.envs, perennial.agents):
        root = Path(str(package.__file__)).parent
        found = (path for path in root.rglob("*") if path.suffix in {".py", ".json"})
        files += [path for path in found if "calibration" not in path.parts]
    return sorted(files)


@cache
def code_digest() -> str:
    """16 hex digits of all code that decides a run."""
    whole = hashlib.sha256()
    for path in code_files():
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def select(results: Sequence[Result], arm: str, drift: str) -> list[Result]:
    """The runs of one arm in one world, by seed."""
    return sorted((r for r in results if r.arm == arm and r.drift == drift), key=lambda r: r.seed)
