"""The marker of a committed day: one file that holds everything a run needs to go on, and where its records stood."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle import snapshot
from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.snapshot import Arrays
from perennial.agents.lifecycle.store import write_durably

FILE = "day.npz"
HEAD = "head"
WORLD = "world."
AGAIN = "Delete the run's folder and start again; what was logged before is still in the log beside it."


class Kept(Protocol):
    """A record on disk of its own that can go back to where it stood: the log, the audit trail, the registry."""

    def mark(self) -> Any:
        """Where it stands, as plain values."""

    def return_to(self, mark: Any) -> None:
        """Forget what came after `mark`."""


class CheckpointDamagedError(DamagedError):
    """The checkpoint does not hold what was written there."""


class NoCheckpoint:
    """The null object: a run that is killed begins again."""

    def commit(self, day: int, parts: Mapping[str, Any], world: Any) -> None:
        """Nothing to do."""


class Checkpoint:
    """Commits days: a day counts once its checkpoint has taken the place of the one before, which is one rename.

    By then the log, the audit trail and the registry hold the day. What they hold beyond the checkpoint's day belongs
    to a day that was never committed; `resume` cuts it off.

    Arguments:
        path: the checkpoint's folder.
        kept: the records on disk, by name.
        outside: further objects that the parts refer to and that are built anew, by name.
        identity: names what is run (its settings, its code); a checkpoint of another identity does not count.
    """

    def __init__(
        self, path: Path, kept: Mapping[str, Kept], outside: Mapping[str, Any] | None = None, identity: str = ""
    ) -> None:
        self.path, self.kept, self.identity = path, dict(kept), identity
        self._outside = {**self.kept, **(outside or {})}
        path.mkdir(parents=True, exist_ok=True)

    def commit(self, day: int, parts: Mapping[str, Any], world: Any) -> None:
        """Write down `parts`, the `world`'s own state and where the records stand: from here on `day` counts."""
        marks = {name: kept.mark() for name, kept in self.kept.items()}
        head = json.dumps({"day": day, "identity": self.identity, "marks": marks}).encode()
        state = world.save() if hasattr(world, "save") else {}
        arrays = {HEAD: np.frombuffer(head, np.uint8), **{f"{WORLD}{name}": array for name, array in state.items()}}
        content = io.BytesIO()
        np.savez(content, **(arrays | snapshot.take(parts, self._outside)))  # type: ignore[arg-type]
        write_durably(self.path / FILE, content.getbuffer())

    def resume(self, agent: snapshot.AgentMaker, world: Any) -> tuple[int, dict[str, Any]]:
        """Take the records and the `world` back to the committed day; that day, and the parts as they were then."""
        arrays = read_arrays(self.path / FILE, AGAIN)
        head = json.loads(arrays[HEAD].tobytes())
        for name, mark in head["marks"].items():
            self.kept[name].return_to(mark)
        state = {name.removeprefix(WORLD): array for name, array in arrays.items() if name.startswith(WORLD)}
        if state:
            world.restore(state)
        return int(head["day"]), snapshot.give_back(arrays, self._outside, agent)


def identity(path: Path) -> str | None:
    """Whose checkpoint lies in the folder `path`; None if there is none."""
    if not (path / FILE).exists():
        return None
    head: dict[str, str] = json.loads(read_arrays(path / FILE, AGAIN)[HEAD].tobytes())
    return head["identity"]


def read_arrays(file: Path, otherwise: str) -> Arrays:
    """The arrays in `file`; where it is damaged and there is no copy, the error says what to do `otherwise`."""
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            read: dict[str, NDArray[Any]] = dict(arrays)
            return read
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError) as error:
        raise CheckpointDamagedError(
            f"{file} is damaged ({type(error).__name__}: {error}). Restore the file from a copy. Else: {otherwise}"
        ) from error
