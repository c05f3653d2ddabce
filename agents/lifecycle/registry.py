"""The model registry: versions with their lineage in SQLite, parameters in files named by their content."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from perennial.agents.base import Agent
from perennial.agents.lifecycle.decisions import TrainingRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
    version INTEGER NOT NULL, revision INTEGER NOT NULL, parent INTEGER, tick INTEGER NOT NULL, origin TEXT NOT NULL,
    training TEXT, data_version TEXT, code TEXT NOT NULL, seed INTEGER NOT NULL, artifact TEXT NOT NULL,
    PRIMARY KEY (version, revision));
CREATE TABLE IF NOT EXISTS aliases (
    move INTEGER PRIMARY KEY AUTOINCREMENT, alias TEXT NOT NULL, version INTEGER NOT NULL, tick INTEGER NOT NULL);
"""
COLUMNS = "version, revision, parent, tick, origin, training, data_version, code, seed, artifact"


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
    training: dict[str, object] | None
    data_version: str | None
    code: str
    seed: int
    artifact: str


class Registry:
    """Keeps models and who they come from.

    Arguments:
        path: the registry's folder; one that is there is continued.
        code: names the code that trains, such as the package's version.
        seed: the run's seed.
        keep: how many newest parameter files to keep besides those of aliased versions; None keeps all. The rows,
            with the files' hashes, always stay.
    """

    def __init__(self, path: Path, code: str, seed: int, keep: int | None = None) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"'keep' must be at least 1, or None to keep all. Got {keep}.")
        self.path, self.code, self.seed, self.keep = path, code, seed, keep
        (path / "files").mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path / "registry.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def register(
        self,
        agent: Agent,
        tick: int,
        origin: str,
        parent: int | None = None,
        training: TrainingRecord | None = None,
        revision: int = 0,
    ) -> Version:
        """Store an agent's parameters and their origin. With a `revision` it is an update of `parent` itself."""
        if revision and parent is None:
            raise ValueError(
                f"'parent' must be the updated version where 'revision' is not 0. Got revision={revision}."
            )
        number = parent if revision and parent is not None else self._next()
        told = asdict(training) if training is not None else None
        row = Version(
            version=number,
            revision=revision,
            parent=parent,
            tick=tick,
            origin=origin,
            training=told,
            data_version=training.data_version if training is not None else None,
            code=self.code,
            seed=self.seed,
            artifact=self._store(agent),
        )
        values = [json.dumps(v) if isinstance(v, dict) else v for v in row.__dict__.values()]
        self._db.execute(f"INSERT INTO versions ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        self._prune()
        return row

    def _next(self) -> int:
        (newest,) = self._db.execute("SELECT COALESCE(MAX(version), 0) FROM versions").fetchone()
        return int(newest) + 1

    def _store(self, agent: Agent) -> str:
        """Write the parameters under their hash; equal ones are one file."""
        draft = self.path / "files" / "draft"
        agent.save(draft)
        artifact = blake2b(draft.read_bytes(), digest_size=16).hexdigest()
        os.replace(draft, self._file(artifact))
        return artifact

    def _file(self, artifact: str) -> Path:
        return self.path / "files" / f"{artifact}.safetensors"

    def _prune(self) -> None:
        if self.keep is None:
            return
        rows = self._db.execute(
            "SELECT version, artifact FROM versions ORDER BY version DESC, revision DESC"
        ).fetchall()
        aliased = {version for _, version in self._current()}
        kept = {artifact for version, artifact in rows if version in aliased} | {a for _, a in rows[: self.keep]}
        for artifact in {artifact for _, artifact in rows} - kept:
            self._file(artifact).unlink(missing_ok=True)

    def load(self, agent: Agent, version: int, revision: int | None = None) -> Version:
        """Give a begun `agent` the parameters of a version (its newest revision if not told otherwise)."""
        row = self.get(version, revision)
        file = self._file(row.artifact)
        if not file.exists():
            raise FileNotFoundError(
                f"The parameters of version {version} were not kept ('keep' is {self.keep}); its record still says how "
                "they were trained."
            )
        if blake2b(file.read_bytes(), digest_size=16).hexdigest() != row.artifact:
            raise ValueError(
                f"The parameters of version {version} are damaged: {file.name} does not hold what its name says."
            )
        agent.load(file)
        return row

    def get(self, version: int, revision: int | None = None) -> Version:
        """The record of a version (its newest revision if not told otherwise)."""
        query = (
            f"SELECT {COLUMNS} FROM versions WHERE version = ? AND revision = COALESCE(?, revision) ORDER BY revision"
        )
        rows = self._db.execute(query, (version, revision)).fetchall()
        if not rows:
            raise ValueError(
                f"'version' must be a registered one, 1 to {self._next() - 1}. Got {version}, {revision=}."
            )
        return _version(rows[-1])

    def versions(self) -> list[Version]:
        """All records, oldest first."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM versions ORDER BY version, revision").fetchall()
        return [_version(row) for row in rows]

    def lineage(self, version: int) -> list[int]:
        """The version, the one it was trained from, and so on to the first."""
        parents = {row.version: row.parent for row in self.versions() if row.revision == 0}
        chain = [version]
        while (parent := parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain

    # -- aliases ------------------------------------------------------------------------------------------------

    def point(self, alias: str, version: int, tick: int) -> None:
        """Let an alias such as "champion" name a version from now on."""
        self.get(version)
        self._db.execute("INSERT INTO aliases (alias, version, tick) VALUES (?,?,?)", (alias, version, tick))

    def resolve(self, alias: str) -> int | None:
        """The version an alias names; None if it names none."""
        return dict(self._current()).get(alias)

    def rollback(self, alias: str, tick: int) -> int:
        """Point an alias back at the version it named before its present one, and return that."""
        rows = self._db.execute("SELECT version FROM aliases WHERE alias = ? ORDER BY move", (alias,)).fetchall()
        named = [int(version) for (version,) in rows]
        before = named[: named.index(named[-1])] if named else []
        if not before:
            raise ValueError(f"'alias' must have named an earlier version. '{alias}' has not, and cannot go back.")
        self.point(alias, before[-1], tick)
        return before[-1]

    def _current(self) -> list[tuple[str, int]]:
        query = "SELECT alias, version FROM aliases WHERE move IN (SELECT MAX(move) FROM aliases GROUP BY alias)"
        return self._db.execute(query).fetchall()

    def close(self) -> None:
        """Let go of the database file."""
        self._db.close()


def _version(row: tuple[Any, ...]) -> Version:
    stored: dict[str, Any] = dict(zip(COLUMNS.split(", "), row, strict=True))
    return Version(**stored | {"training": json.loads(stored["training"]) if stored["training"] else None})
