"""The feedback log on disk: Delta Lake tables written a day at a time, and the list of days that are complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from perennial.agents.lifecycle.damage import DamagedError

TABLES = ("pages", "impressions", "conversions", "quarantine", "refused_conversions", "labels", "extras")
DAYS = "days.jsonl"
ROW_GROUP = 10_000
"""Rows that are skipped or read together: a few days of pages, so that a window costs its own days only."""
BLOCK = 28
"""Days of a partition, whose daily files are merged once the next one has begun."""
REOPENED = 7
"""Days until a table is opened anew at a checkpoint of its own log, which takes 20 ms. Each commit since then makes the
next ones dearer by about 0.15 ms: 4 ms at the end of a block."""
SEARCHED = {"day", "tick"}
"""Columns whose range in each file is told in the table's log, to be searched by; telling all costs with every day."""


class LogDamagedError(DamagedError):
    """A file of the log does not hold what was written there."""


class Store:
    """The tables in one folder. A day counts once its line stands in ``days.jsonl``, which is written last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.days: dict[int, dict[str, Any]] = {}  # in order
        self._tables: dict[str, DeltaTable] = {}
        plain = ColumnProperties(dictionary_enabled=False)  # on lists of distinct ids a dictionary only costs time
        self._writer = WriterProperties(
            compression="LZ4_RAW", max_row_group_size=ROW_GROUP, default_column_properties=plain
        )
        path.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        """Take up what is there: forget a torn last line, and rows of a day that was never completed."""
        listing = self.path / DAYS
        if listing.exists():
            whole, _, torn = listing.read_text(encoding="utf-8").rpartition("\n")
            with _readable(listing):
                self.days = {row["day"]: row for row in map(json.loads, whole.splitlines())}
            if torn:
                self._list()
        for name in TABLES:
            with _readable(self.path / name):
                if DeltaTable.is_deltatable(str(self.path / name)):
                    self._tables[name] = DeltaTable(str(self.path / name))
                    self._check_sizes(name)
                    self._drop_unfinished(name)

    def _check_sizes(self, name: str) -> None:
        """A torn file is found by its size, before a reader stumbles over it."""
        files = pl.DataFrame(self._tables[name].get_add_actions(flatten=True)).select("path", "size_bytes")
        for path, size in files.iter_rows():
            found = (self.path / name / path).stat().st_size
            if found != size:
                raise LogDamagedError(
                    f"The log is damaged: {self.path / name / path} holds {found} bytes of {size}. Restore it from a "
                    "copy, or run again from the start."
                )

    def _list(self) -> None:
        """Write the list of days anew, whole or not at all."""
        lines = "".join(json.dumps(line, sort_keys=True) + "\n" for line in self.days.values())
        write_durably(self.path / DAYS, lines.encode())

    def return_to(self, day: int) -> None:
        """Forget the days after `day`, as if they had never been written."""
        if day >= 0 and day not in self.days:
            raise LogDamagedError(
                f"The log in {self.path} ends with day {self.last_day}, but day {day} was committed. "
                "Restore the folder from a copy, or run again from the start."
            )
        self.days = {kept: line for kept, line in self.days.items() if kept <= day}
        self._list()
        for name in self._tables:
            with _readable(self.path / name):
                self._drop_unfinished(name)

    def _drop_unfinished(self, name: str) -> None:
        newest = pl.scan_delta(self._tables[name]).select(pl.col("day").max()).collect().item()
        if newest is not None and newest > self.last_day:
            self._tables[name].delete(f"day > {self.last_day}")

    @property
    def last_day(self) -> int:
        """The newest complete day; -1 while there is none."""
        return next(reversed(self.days), -1)

    def write(self, frames: dict[str, pl.DataFrame], line: dict[str, Any]) -> None:
        """Commit one day: one commit for each table that has rows, then the day's line."""
        before = self.last_day
        for name, frame in frames.items():
            if len(frame):
                self._append(name, frame.with_columns(block=pl.col("day") // BLOCK))
        with (self.path / DAYS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.days[line["day"]] = line
        if before >= 0 and before // BLOCK < line["day"] // BLOCK:
            self.compact(before // BLOCK)
        elif before >= 0 and before // REOPENED < line["day"] // REOPENED:
            for name in self._tables:
                self._reopen(name)

    def _append(self, name: str, rows: pl.DataFrame) -> None:
        if name in self._tables:
            write_deltalake(self._tables[name], rows, mode="append", writer_properties=self._writer)
            return
        settings = {
            "delta.dataSkippingStatsColumns": ",".join(sorted(SEARCHED & set(rows.columns))),
            "delta.enableExpiredLogCleanup": "false",  # after 30 days old versions would be gone; and each commit looks
        }
        place = str(self.path / name)
        write_deltalake(place, rows, partition_by=["block"], configuration=settings, writer_properties=self._writer)
        self._tables[name] = DeltaTable(place)

    def read(
        self, name: str, first_day: int, last_day: int, columns: list[str] | None = None, ticks: range | None = None
    ) -> pl.DataFrame | None:
        """The rows that entered on some days, of the hours `ticks` only if given; None while the table has none."""
        if name not in self._tables:
            return None
        rows = pl.scan_delta(self._tables[name])
        rows = rows.filter(pl.col("block").is_between(first_day // BLOCK, last_day // BLOCK))
        rows = rows.filter(pl.col("day").is_between(first_day, last_day))
        if ticks is not None:
            rows = rows.filter(pl.col("tick").is_between(ticks.start, ticks.stop - 1))
        with _readable(self.path / name):
            return (rows if columns is None else rows.select(columns)).collect()

    def compact(self, block: int | None = None) -> None:
        """Rewrite the many daily files of one block, or of all, as few; a commit's cost grows with their number.

        Old versions stay: nothing is vacuumed, so that Delta's own time travel reaches back to the first day.
        """
        only = None if block is None else [("block", "=", str(block))]
        for name, table in self._tables.items():
            table.optimize.compact(partition_filters=only, writer_properties=self._writer)
            self._reopen(name)

    def _reopen(self, name: str) -> None:
        """Begin anew at a checkpoint of the table's log, without what is remembered of the days before."""
        self._tables[name].create_checkpoint()
        self._tables[name] = DeltaTable(str(self.path / name))

    def copy(self, path: Path) -> Store:
        """The same log in another folder. Parquet files never change, so they are linked where the disk allows it."""
        if path.exists() and any(path.iterdir()):
            raise ValueError(
                f"'path' must be a new or empty folder. Got {path}, which holds files. Choose another one."
            )
        shutil.copytree(self.path, path, copy_function=_link, dirs_exist_ok=True)
        return Store(path)


_UNREADABLE = (
    DeltaError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    ValueError,
    KeyError,
    FileNotFoundError,
)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the readers of a damaged file say, as one error that names it; a missing right or space is no damage."""
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, LogDamagedError):
            raise
        raise LogDamagedError(
            f"The log is damaged: {path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Restore it from a copy, or run again from the start."
        ) from error


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Let `path` hold `content`, on the disk and not only in its cache: whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a file's new name last through a loss of power, where the system lets folders be opened."""
    if os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _link(source: str, target: str) -> str:
    if not source.endswith(".parquet"):
        return shutil.copy2(source, target)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        return shutil.copy2(source, target)
    return target
