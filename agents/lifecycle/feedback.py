"""The feedback log: what was shown, to whom, with which probability, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Spaces
from perennial.agents.lifecycle import intake, tables
from perennial.agents.lifecycle.store import Store
from perennial.agents.lifecycle.tables import ARMS, HOURS


@dataclass
class Hour:
    """One closed hour. ``arm`` int8 (P,) index into ARMS, ``revision`` int32 (P,): in-place updates of the version."""

    feedback: Feedback
    arm: NDArray[np.int8]
    revision: NDArray[np.int32]
    digest: str


@dataclass
class Pending:
    """What waits in memory: the waves of the hours under way, and the day's closed hours."""

    waves: list[Feedback] = field(default_factory=list)
    sources: list[tuple[int, int, int]] = field(default_factory=list)
    hours: dict[int, Hour] = field(default_factory=dict)
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    duplicates: int = 0


class FeedbackLog:
    """An append-only log of served pages in four Delta Lake tables, committed once a day.

    ``pages``: one row per page. ``impressions``: one row per slot with its outcome. ``conversions``: one row per
    purchase. ``quarantine``: rows refused on entry, with the reason. The columns are described in `tables`.

    Arguments:
        path: the log's folder; a log that is there is continued after its last complete day.
        spaces: the sizes every page must have.
        recent_days: days kept in memory too, at about 0.7 kB a page; older ones are read from disk. Duplicates are
            recognised within the same span.

    `append` each wave, `close` each hour or several at once, `commit` each day. Only `tick` and `since` give extras
    back: they go with fresh pages, to the agent that served them.
    """

    def __init__(self, path: Path, spaces: Spaces, recent_days: int = 35) -> None:
        if recent_days < 1:
            raise ValueError(f"'recent_days' must be at least 1. Got {recent_days}.")
        self.path, self.spaces, self.recent_days = path, spaces, recent_days
        self._store = Store(path)
        self._recent: dict[int, Feedback] = {}
        self._pending = Pending()
        self._newest = tables.empty(spaces)
        self._last_tick = (self.last_day + 1) * HOURS - 1
        self._seen: set[int] = set()
        self._seen_on: dict[int, list[int]] = {}
        self._remember_keys()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, feedback: Feedback, arm: str = "champion", revision: int = 0) -> None:
        """Take the pages of one wave into the hours under way. Wrong shapes or dtypes raise, with nothing logged."""
        if arm not in ARMS:
            raise ValueError(f"'arm' must be one of {', '.join(ARMS)}. Got {arm!r}.")
        intake.check_form(feedback, self.spaces)
        self._pending.waves.append(feedback)
        self._pending.sources.append((len(feedback), ARMS.index(arm), revision))

    def close(self, tick: int) -> Feedback:
        """End the hours up to `tick`: check their pages, order them by (tick, visit, page), and give them back."""
        first = max(self._last_tick + 1, tick // HOURS * HOURS)
        if tick <= self._last_tick or any(closed // HOURS != tick // HOURS for closed in self._pending.hours):
            raise ValueError(
                f"'tick' must follow hour {self._last_tick}, on a day whose predecessors are committed. Got {tick}. "
                "Call commit(day) at the end of each day."
            )
        self._newest = tables.empty(self.spaces)
        if self._pending.waves:
            self._newest, arm, revision = self._accepted(range(first, tick + 1))
            self._pending.hours |= _by_hour(self._newest, arm, revision)
        self._pending.waves, self._pending.sources, self._last_tick = [], [], tick
        return self._newest

    def _accepted(self, hours: range) -> tuple[Feedback, NDArray[np.int8], NDArray[np.int32]]:
        """The good rows with arm and revision; the others go to the quarantine or are counted as duplicates."""
        pages = Feedback.concatenate(self._pending.waves)
        counts, arms, revisions = np.array(self._pending.sources).T
        arm, revision = np.repeat(arms.astype(np.int8), counts), np.repeat(revisions.astype(np.int32), counts)
        bad = intake.refused(pages, self.spaces, hours)
        keep = np.ones(len(pages), np.bool_)
        if bad:
            rows = np.array(sorted(bad))
            keep[rows] = False
            reasons = [bad[row] for row in sorted(bad)]
            self._pending.quarantined.append(
                tables.quarantine_frame(pages.take(rows), arm[rows], revision[rows], reasons, hours[-1])
            )
        good = np.flatnonzero(keep)
        good = good[np.lexsort((pages.keys.page[good], pages.keys.visit[good], pages.keys.tick[good]))]
        good = self._without_duplicates(intake.page_keys(pages)[good], good, hours[-1] // HOURS)
        return pages.take(good), arm[good], revision[good]

    def _without_duplicates(self, keys: NDArray[np.int64], rows: NDArray[np.int64], day: int) -> NDArray[np.int64]:
        """`rows` whose (visit, page) is new; of equal ones among them the first stays."""
        new = np.zeros(len(keys), np.bool_)
        new[np.unique(keys, return_index=True)[1]] = True
        listed = keys.tolist()
        if not self._seen.isdisjoint(listed):
            new &= np.array([key not in self._seen for key in listed])
        self._pending.duplicates += int((~new).sum())
        fresh = keys[new].tolist()
        self._seen.update(fresh)
        self._seen_on.setdefault(day, []).extend(fresh)
        return rows[new]

    def commit(self, day: int) -> None:
        """Write the day's hours to disk, one commit per table. What was never committed is lost with the process."""
        if day <= self.last_day or self._pending.waves or any(tick // HOURS != day for tick in self._pending.hours):
            raise ValueError(
                f"'day' must be the day of the closed hours, later than the last committed day {self.last_day}, "
                f"with no hour under way. Got {day}. Call close(tick) for each hour, then commit(day)."
            )
        hours = self._pending.hours
        frames = self._frames(list(hours.values())) if hours else {}
        if self._pending.quarantined:
            frames["quarantine"] = pl.concat(self._pending.quarantined)
        self._store.write(frames, self._line(day, hours))
        pages = [replace(hour.feedback, extras={}) for hour in hours.values()]
        self._keep(day, Feedback.concatenate(pages) if pages else tables.empty(self.spaces))
        self._pending = Pending()
        self._last_tick = max(self._last_tick, (day + 1) * HOURS - 1)

    def mark(self) -> int:
        """Where the log stands, for `return_to`: its last committed day."""
        return self.last_day

    def return_to(self, mark: int) -> None:
        """Forget what was logged after the day `mark`."""
        self._store.return_to(mark)
        FeedbackLog.__init__(self, self.path, self.spaces, self.recent_days)

    def _frames(self, hours: list[Hour]) -> dict[str, pl.DataFrame]:
        pages = Feedback.concatenate([replace(hour.feedback, extras={}) for hour in hours])
        arm, revision = np.concatenate([h.arm for h in hours]), np.concatenate([h.revision for h in hours])
        return {
            "pages": tables.pages_frame(pages, arm, revision),
            "impressions": tables.impressions_frame(pages),
            "conversions": tables.conversions_frame(pages),
        }

    def _line(self, day: int, hours: dict[int, Hour]) -> dict[str, Any]:
        return {
            "day": day,
            "pages": sum(len(hour.feedback) for hour in hours.values()),
            "quarantined": sum(len(frame) for frame in self._pending.quarantined),
            "duplicates": self._pending.duplicates,
            "hours": {str(tick): hour.digest for tick, hour in hours.items()},
        }

    def _keep(self, day: int, pages: Feedback) -> None:
        """Hold a complete day in memory and let go of what is past the bound."""
        if day > self.last_day - self.recent_days:
            self._recent[day] = pages
        for old in [d for d in self._recent if d <= self.last_day - self.recent_days]:
            del self._recent[old]
        for old in [d for d in self._seen_on if d <= self.last_day - self.recent_days]:
            self._seen.difference_update(self._seen_on.pop(old))

    def _remember_keys(self) -> None:
        rows = self._store.read("pages", self.last_day - self.recent_days + 1, self.last_day, ["visit", "page", "day"])
        if rows is None:
            return
        for (day,), part in rows.group_by("day"):
            keys = (part["visit"].to_numpy() * intake.MAX_PAGES + part["page"].to_numpy()).tolist()
            self._seen_on[int(str(day))] = keys
            self._seen.update(keys)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def last_day(self) -> int:
        """The newest committed day; -1 while there is none."""
        return self._store.last_day

    @property
    def counts(self) -> dict[str, int]:
        """Rows of all committed days: pages, quarantined, duplicates."""
        rows = self._store.days.values()
        return {name: sum(row[name] for row in rows) for name in ("pages", "quarantined", "duplicates")}

    def tick(self) -> Feedback:
        """The pages closed last, extras included."""
        return self._newest

    def since(self, first_tick: int) -> Feedback:
        """The open day's pages from hour `first_tick` on, extras included."""
        parts = [hour.feedback for tick, hour in self._pending.hours.items() if tick >= first_tick]
        return Feedback.concatenate(parts) if parts else tables.empty(self.spaces)

    def read(self, first_day: int, last_day: int) -> Feedback:
        """The pages of all hours of some days, both included, with the purchases known by now; no extras."""
        return self.between(first_day * HOURS, last_day * HOURS + HOURS - 1)

    def between(self, first_tick: int, last_tick: int) -> Feedback:
        """The pages of some hours, both included; no extras."""
        if first_tick > last_tick:
            raise ValueError(f"'first_tick' must not be after 'last_tick'. Got {first_tick} and {last_tick}.")
        parts = [_cut(part, first_tick, last_tick) for part in self._parts(first_tick // HOURS, last_tick // HOURS)]
        return Feedback.concatenate([tables.empty(self.spaces), *parts])

    def _parts(self, first_day: int, last_day: int) -> list[Feedback]:
        """Each day's pages, the committed ones from memory or else from disk, then the open day's hours."""
        committed = [day for day in range(first_day, min(last_day, self.last_day) + 1) if day in self._store.days]
        missing = [day for day in committed if day not in self._recent]
        loaded = self._load(missing[0], missing[-1]) if missing else {}
        parts = [self._recent[day] if day in self._recent else loaded[day] for day in committed]
        for day, pages in loaded.items():
            self._keep(day, pages)
        return parts + [replace(hour.feedback, extras={}) for hour in self._pending.hours.values()]

    def _load(self, first_day: int, last_day: int) -> dict[int, Feedback]:
        """Complete days from disk."""
        days = {day: tables.empty(self.spaces) for day in range(first_day, last_day + 1) if day in self._store.days}
        pages = self._store.read("pages", first_day, last_day)
        impressions = self._store.read("impressions", first_day, last_day)
        if pages is None or impressions is None:
            return days
        conversions = self._store.read("conversions", first_day, self.last_day)
        bought = conversions if conversions is not None else impressions.clear()
        joined = tables.join(pages, impressions, bought, self.spaces)
        starts = np.searchsorted(joined.keys.tick, np.array([*days, last_day + 1]) * HOURS)
        for day, low, high in zip(days, starts[:-1], starts[1:], strict=True):
            days[day] = joined.take(np.arange(low, high))
        return days

    def data_version(self, first_day: int, last_day: int) -> str:
        """16 hex digits naming the content of some days: equal exactly when their pages are equal bit for bit."""
        return self._named(tick for tick in range(first_day * HOURS, last_day * HOURS + HOURS))

    def version_of(self, pages: Feedback) -> str:
        """The data version of the hours that `pages` come from."""
        return self._named(np.unique(pages.keys.tick).tolist())

    def _named(self, ticks: Any) -> str:
        digest = blake2b(digest_size=8)
        for tick in ticks:
            hour = self._pending.hours.get(tick)
            stored = self._store.days.get(tick // HOURS, {"hours": {}})["hours"].get(str(tick), "")
            digest.update((hour.digest if hour is not None else stored).encode())
        return digest.hexdigest()

    def compact(self) -> None:
        """Merge the daily files of all committed days: a commit costs about 0.1 ms more per file and table."""
        self._store.compact()

    def fork(self, path: Path) -> FeedbackLog:
        """A log of its own in another folder that begins with all committed days of this one."""
        if self._pending.hours or self._pending.waves:
            raise RuntimeError("A log is forked between days. Close the hours and commit the day first.")
        self._store.copy(path)
        other = FeedbackLog(path, self.spaces, self.recent_days)
        other._recent = dict(self._recent)
        return other


def _by_hour(pages: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32]) -> dict[int, Hour]:
    """`pages`, ordered by tick, hour by hour."""
    ticks, starts = np.unique(pages.keys.tick, return_index=True)
    hours = {}
    for tick, low, high in zip(ticks.tolist(), starts, [*starts[1:], len(pages)], strict=True):
        part = pages.take(np.arange(low, high)) if len(ticks) > 1 else pages
        hours[tick] = Hour(part, arm[low:high], revision[low:high], tables.content_hash(part))
    return hours


def _cut(pages: Feedback, first_tick: int, last_tick: int) -> Feedback:
    """The pages of some hours; `pages` are ordered by tick."""
    low, high = np.searchsorted(pages.keys.tick, [first_tick, last_tick + 1])
    return pages if high - low == len(pages) else pages.take(np.arange(low, high))
