"""Where a registry keeps what it knows: records and moves of aliases in SQLite, parameters in files by content."""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.store import sync_folder

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS versions (
    version INTEGER NOT NULL, revision INTEGER NOT NULL, parent INTEGER, tick INTEGER NOT NULL, origin TEXT NOT NULL,
    training TEXT, data_version TEXT, code TEXT NOT NULL, seed INTEGER NOT NULL, artifact TEXT NOT NULL,
    PRIMARY KEY (version, revision))""",
    """CREATE TABLE IF NOT EXISTS aliases (
    move INTEGER PRIMARY KEY, alias TEXT NOT NULL, version INTEGER NOT NULL, tick INTEGER NOT NULL,
    revision INTEGER NOT NULL)""",
)
TORN = ("SQLITE_IOERR_SHORT_READ",)
"""What SQLite says of a file that ends too early; its other errors in operation are about the disk, not the file."""
SUFFIX = ".safetensors"
DRAFT = "draft"
OWNER = "owner"
"""File in a registry's folder with the word by which a shelf that others share knows what is its own."""


class ForeignShelfError(ValueError):
    """What lies on a shared shelf under the name of this registry is another's."""


@dataclass(frozen=True)
class Version:
    """One registered state of a model.

    ``version`` counts candidates from 1; ``revision`` the in-place updates since. ``parent`` is the version it was
    trained from (None: the first). ``origin``: "initial", "fit" or "update". ``training``: the `TrainingRecord`'s
    fields. ``code``, ``seed``: of the run. ``artifact``: hash of its parameters, the name of their file.
    """

    version: int
    revision: int
    parent: int | None
    tick: int
    origin: str
    training: dict[str, Any] | None
    data_version: str | None
    code: str
    seed: int
    artifact: str


NOTHING = 0
"""The version of a move after which an alias names none; versions of models count from 1."""

COLUMNS = tuple(f.name for f in fields(Version))


@dataclass(frozen=True)
class Move:
    """From hour `tick` on, `alias` names `version` as it was after so many updates; version NOTHING: it names none."""

    alias: str
    version: int
    tick: int
    revision: int = 0


class Shelf(ABC):
    """Keeps records, moves and parameter files for one registry, which alone writes to it."""

    folder: Path
    """A local folder for parameters on their way."""

    @abstractmethod
    def records(self) -> list[Version]:
        """All records, in the order they were added."""

    @abstractmethod
    def moves(self) -> list[Move]:
        """All moves of aliases, in their order."""

    @abstractmethod
    def add(self, record: Version, draft: Path) -> None:
        """Keep a record and take over the file of its parameters."""

    @abstractmethod
    def move(self, move: Move) -> None:
        """Keep a move of an alias."""

    @abstractmethod
    def cut(self, records: int, moves: int) -> None:
        """Forget all but the first so many records and moves, and files that no record names."""

    @abstractmethod
    def file(self, record: Version) -> Path | None:
        """A local file with the record's parameters; None if they were not kept."""

    @abstractmethod
    def spare(self, artifacts: set[str]) -> None:
        """Delete the parameters of all records but those whose artifact is named."""

    def close(self) -> None:  # noqa: B027 (not every shelf holds something open)
        """Let go of whatever is open."""


class SqliteShelf(Shelf):
    """The light default: one SQLite file (write-ahead log) and a folder of files named by their hash; no server.

    Arguments:
        place: the folder; one that is there is continued.
    """

    def __init__(self, place: Path) -> None:
        self.folder = place / "files"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = place / "registry.sqlite"
        self._db = sqlite3.connect(self._file, isolation_level=None)
        try:
            for command in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *SCHEMA):
                self._execute(command)
        except (sqlite3.Error, DamagedError):
            self._db.close()
            raise

    def _execute(self, command: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a command gives. A full disk or a lost right stays SQLite's own error: it is no damage."""
        try:
            return self._db.execute(command, values).fetchall()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorname not in TORN:
                raise
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DamagedError:
        return DamagedError(
            f"{self._file} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or delete the run's "
            "folder and start again."
        )

    def records(self) -> list[Version]:
        rows = self._execute(f"SELECT {', '.join(COLUMNS)} FROM versions ORDER BY rowid")
        try:
            return [_version(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def moves(self) -> list[Move]:
        rows = self._execute("SELECT alias, version, tick, revision FROM aliases ORDER BY move")
        return [Move(*row) for row in rows]

    def add(self, record: Version, draft: Path) -> None:
        os.replace(draft, self._path(record.artifact))
        sync_folder(self.folder)
        values = [json.dumps(v) if isinstance(v, dict) else v for v in record.__dict__.values()]
        marks = ",".join("?" * len(COLUMNS))
        self._execute(f"INSERT INTO versions ({', '.join(COLUMNS)}) VALUES ({marks})", values)

    def move(self, move: Move) -> None:
        values = move.alias, move.version, move.tick, move.revision
        self._execute("INSERT INTO aliases (alias, version, tick, revision) VALUES (?,?,?,?)", values)

    def cut(self, records: int, moves: int) -> None:
        for table, order, kept in (("versions", "rowid", records), ("aliases", "move", moves)):
            first = f"SELECT {order} FROM {table} ORDER BY {order} LIMIT ?"
            self._execute(f"DELETE FROM {table} WHERE {order} NOT IN ({first})", (kept,))
        self.spare({record.artifact for record in self.records()})

    def file(self, record: Version) -> Path | None:
        path = self._path(record.artifact)
        return path if path.exists() else None

    def spare(self, artifacts: set[str]) -> None:
        for file in list(self.folder.iterdir()):
            if file.stem not in artifacts:
                file.unlink()

    def _path(self, artifact: str) -> Path:
        return self.folder / f"{artifact}{SUFFIX}"

    def close(self) -> None:
        self._db.close()


def _version(row: tuple[Any, ...]) -> Version:
    stored: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    return Version(**stored | {"training": json.loads(stored["training"]) if stored["training"] else None})
