"""The model registry: versions with their lineage, aliases that move and roll back, parameters named by their hash."""

from __future__ import annotations

import os
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from perennial.agents.base import Agent
from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.shelves import DRAFT, NOTHING, Move, Shelf, SqliteShelf, Version


class Registry:
    """Keeps models and who they come from.

    Arguments:
        path: the registry's folder; one that is there is continued.
        code: names the code that trains, such as the package's version.
        seed: the run's seed.
        keep: how many newest parameter files `prune` keeps besides those of aliased versions; None keeps all. The
            records, with the files' hashes, always stay.
        shelf: where all that is kept; by default SQLite and files in `path`. `mlflow_shelf.MlflowShelf` is the other.
    """

    def __init__(self, path: Path, code: str, seed: int, keep: int | None = None, shelf: Shelf | None = None) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"'keep' must be at least 1, or None to keep all. Got {keep}.")
        self.path, self.code, self.seed, self.keep = path, code, seed, keep
        self.shelf = shelf if shelf is not None else SqliteShelf(path)
        self._read()

    def _read(self) -> None:
        self._records = self.shelf.records()
        self._moves = self.shelf.moves()

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
        draft = self.shelf.folder / DRAFT
        record = Version(
            version=number,
            revision=revision,
            parent=parent,
            tick=tick,
            origin=origin,
            training=asdict(training) if training is not None else None,
            data_version=training.data_version if training is not None else None,
            code=self.code,
            seed=self.seed,
            artifact=_save(agent, draft),
        )
        self.shelf.add(record, draft)
        self._records.append(record)
        return record

    def _next(self) -> int:
        return max((record.version for record in self._records), default=0) + 1

    def prune(self) -> None:
        """Let go of parameters beyond `keep`. A loop asks for it once the day is committed: until then a resumed run
        may need what the day before had."""
        if self.keep is None:
            return
        newest = sorted(self._records, key=lambda r: (r.version, r.revision))[-self.keep :]
        aliased = [self.get(move.version, move.revision) for move in self._current().values()]
        self.shelf.spare({record.artifact for record in (*newest, *aliased)})

    def load(self, agent: Agent, version: int, revision: int | None = None) -> Version:
        """Give a begun `agent` the parameters of a version (its newest revision if not told otherwise)."""
        record = self.get(version, revision)
        file = self.shelf.file(record)
        if file is None:
            raise FileNotFoundError(
                f"The parameters of version {version} were not kept ('keep' is {self.keep}); its record still says how "
                "they were trained."
            )
        if content_hash(file) != record.artifact:
            raise DamagedError(
                f"The parameters of version {version} are damaged: {file} does not hold what its name says. "
                "Every other version is untouched: roll back to one of them, or rebuild this one from its record."
            )
        agent.load(file)
        return record

    def get(self, version: int, revision: int | None = None) -> Version:
        """The record of a version (its newest revision if not told otherwise)."""
        found = [r for r in self._records if r.version == version and revision in (None, r.revision)]
        if not found:
            raise ValueError(
                f"'version' must be a registered one, 1 to {self._next() - 1}. Got {version}, {revision=}."
            )
        return max(found, key=lambda record: record.revision)

    def versions(self) -> list[Version]:
        """All records, oldest first."""
        return sorted(self._records, key=lambda record: (record.version, record.revision))

    def lineage(self, version: int) -> list[int]:
        """The version, the one it was trained from, and so on to the first."""
        parents = {record.version: record.parent for record in self._records if record.revision == 0}
        chain = [version]
        while (parent := parents[chain[-1]]) is not None:
            chain.append(parent)
        return chain

    # -- aliases ------------------------------------------------------------------------------------------------

    def point(self, alias: str, version: int, tick: int, revision: int | None = None) -> None:
        """Let an alias such as "champion" name a version (its newest revision if not told otherwise) from now on."""
        self._move(Move(alias, version, tick, self.get(version, revision).revision))

    def clear(self, alias: str, tick: int) -> None:
        """Let an alias name none from now on."""
        if alias in self._current():
            self._move(Move(alias, NOTHING, tick))

    def _move(self, move: Move) -> None:
        self.shelf.move(move)
        self._moves.append(move)

    def resolve(self, alias: str) -> int | None:
        """The version an alias names; None if it names none."""
        found = self._current().get(alias)
        return found.version if found else None

    def history(self, alias: str) -> list[Move]:
        """What an alias named, and from when on."""
        return [move for move in self._moves if move.alias == alias]

    def rollback(self, alias: str, tick: int) -> int:
        """Point an alias back at the version it named before its present one, and return that."""
        named = [move for move in self.history(alias) if move.version != NOTHING]
        versions = [move.version for move in named]
        before = named[: versions.index(versions[-1])] if named else []
        if not before:
            raise ValueError(f"'alias' must have named an earlier version. '{alias}' has not, and cannot go back.")
        self.point(alias, before[-1].version, tick, before[-1].revision)
        return before[-1].version

    def _current(self) -> dict[str, Move]:
        """What each alias names, of those that name something."""
        return {alias: move for alias, move in {m.alias: m for m in self._moves}.items() if move.version != NOTHING}

    # -- resuming -----------------------------------------------------------------------------------------------

    def mark(self) -> list[int]:
        """Where the registry stands, for `return_to`: its numbers of records and of moves."""
        return [len(self._records), len(self._moves)]

    def return_to(self, mark: list[int]) -> None:
        """Forget what was registered or moved after `mark`."""
        records, moves = mark
        if len(self._records) < records or len(self._moves) < moves:
            raise DamagedError(
                f"The registry in {self.path} lacks versions that were committed. Restore it from a copy, or run again "
                "from the start."
            )
        self.shelf.cut(records, moves)
        self._read()

    def close(self) -> None:
        """Let go of what is open."""
        self.shelf.close()


def _save(agent: Agent, path: Path) -> str:
    """Write the parameters to `path`, on the disk and not only in its cache, and give their hash."""
    agent.save(path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return content_hash(path)


def content_hash(file: Path) -> str:
    """32 hex digits that name what a file holds."""
    return blake2b(file.read_bytes(), digest_size=16).hexdigest()
