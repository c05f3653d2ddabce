"""The feedback log: what was shown, to whom, with which probability, and what came of it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Spaces
from perennial.agents.lifecycle import conversions as told
from perennial.agents.lifecycle import extras as noted
from perennial.agents.lifecycle import intake, tables
from perennial.agents.lifecycle import labels as judged
from perennial.agents.lifecycle.conversions import Conversions
from perennial.agents.lifecycle.labels import Labels
from perennial.agents.lifecycle.open_day import OpenDay, in_order, without_extras
from perennial.agents.lifecycle.store import Store
from perennial.agents.lifecycle.tables import ARMS, HOURS


class FeedbackLog:
    """An append-only log of served pages in Delta Lake tables, committed once a day.

    ``pages``: one row per page. ``impressions``: one row per slot with its outcome. ``conversions``: one row per
    purchase, and per cart that was told later than its page. ``quarantine``, ``refused_conversions``: rows refused on
    entry, with the reason. ``labels``: one row per reviewed page. ``extras``: what an agent noted on its pages, for
    agents that learn from that. The columns are described in `tables`, `conversions`, `labels` and `extras`.

    Pages and conversions may come late. ``tick`` is the hour a page was served, ``received`` the hour it came, ``day``
    the day on which a row entered the log: so the log reads as of any hour, with what had come by then, nothing else.

    Arguments:
        path: the log's folder; a log that is there is continued after its last complete day.
        spaces: the sizes every page must have.
        recent_days: days kept in memory too, at about 0.7 kB a page; older ones are read from disk. Duplicates are
            recognised within the same span, and pages later than that are refused.
        stored: names of the extras that are kept, those of the agent that serves (`Agent.stored`).

    `append` each wave, `convert` what is told later, `close` each hour or several at once, `commit` each day. `tick`
    and `since` give all extras back: they go with fresh pages, to the agent that served them. `with_extras` reads the
    stored ones again.
    """

    def __init__(self, path: Path, spaces: Spaces, recent_days: int = 35, stored: Sequence[str] = ()) -> None:
        if recent_days < 1:
            raise ValueError(f"'recent_days' must be at least 1. Got {recent_days}.")
        self.path, self.spaces, self.recent_days, self.stored = path, spaces, recent_days, tuple(stored)
        self._store = Store(path)
        self._recent: dict[int, Feedback] = {}
        self._open = OpenDay()
        self._newest, self._converted = tables.empty(spaces), told.none()
        self._last_tick = (self.last_day + 1) * HOURS - 1
        self._seen, self._seen_converted = intake.Seen(), intake.Seen()
        self._committed = self._digests(_end(self.last_day))
        self._remember_keys()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, feedback: Feedback, arm: str = "champion", revision: int = 0) -> None:
        """Take the pages of one wave into the hours under way. Wrong shapes or dtypes raise, with nothing logged."""
        if arm not in ARMS:
            raise ValueError(f"'arm' must be one of {', '.join(ARMS)}. Got {arm!r}.")
        intake.check_form(feedback, self.spaces)
        noted.check_form(feedback, self.stored)
        self._open.waves.append(feedback)
        self._open.sources.append((len(feedback), ARMS.index(arm), revision))

    def convert(self, conversions: Conversions) -> None:
        """Take what is told of pages served before, logged or not. Wrong shapes or dtypes raise, nothing logged."""
        told.check_form(conversions)
        self._open.told.append(conversions)

    def label(self, labels: Labels) -> None:
        """Take what reviewers said in the closed hours. A page that was judged before keeps its first label."""
        if len(labels) and not (self.last_day + 1) * HOURS <= labels.told.min() <= labels.told.max() <= self._last_tick:
            raise ValueError(
                f"'labels' must be told in the closed hours of the open day, {(self.last_day + 1) * HOURS} to "
                f"{self._last_tick}. Got {labels.told.min()} to {labels.told.max()}. Call close(tick) first."
            )
        if len(labels):
            self._open.labels.append(labels)

    def close(self, tick: int) -> Feedback:
        """End the hours up to `tick`: check what came, order it by (tick, visit, page), and give the pages back."""
        first = max(self._last_tick + 1, tick // HOURS * HOURS)
        if tick <= self._last_tick or any(closed // HOURS != tick // HOURS for closed in self._open.hours):
            raise ValueError(
                f"'tick' must follow hour {self._last_tick}, on a day whose predecessors are committed. Got {tick}. "
                "Call commit(day) at the end of each day."
            )
        self._newest, self._converted, hours = tables.empty(self.spaces), told.none(), range(first, tick + 1)
        if self._open.waves:
            self._newest, arm, revision = self._accepted(hours)
            self._open.enter(self._newest, arm, revision, hours)
            self._seen_converted.add(told.of_pages(self._newest).labels(), tick // HOURS)
        if self._open.told:
            self._converted = self._accepted_conversions(hours)
            self._open.convert(self._converted, tick)
        self._open.name(tick, self._committed)
        self._open.waves, self._open.sources, self._open.told, self._last_tick = [], [], [], tick
        return self._newest

    def _accepted(self, hours: range) -> tuple[Feedback, NDArray[np.int8], NDArray[np.int32]]:
        """The good rows with arm and revision; the others go to the quarantine or are counted as duplicates."""
        pages = noted.concatenate(self._open.waves, self.stored)
        counts, arms, revisions = np.array(self._open.sources).T
        arm, revision = np.repeat(arms.astype(np.int8), counts), np.repeat(revisions.astype(np.int32), counts)
        begun = next(iter(self._store.days), hours.start // HOURS) * HOURS
        oldest = max(hours.start - self.recent_days * HOURS, begun)
        bad = intake.refused(pages, self.spaces, range(oldest, hours.stop))
        keep = np.ones(len(pages), np.bool_)
        if bad:
            rows = np.array(sorted(bad))
            keep[rows] = False
            reasons = [bad[row] for row in sorted(bad)]
            self._open.quarantined.append(
                tables.quarantine_frame(pages.take(rows), arm[rows], revision[rows], reasons, hours[-1])
            )
        good = np.flatnonzero(keep)
        good = good[in_order(pages.take(good)) if bad else in_order(pages)]
        fresh = self._seen.new(intake.page_keys(pages)[good].tolist(), hours[-1] // HOURS)
        self._open.duplicates += int((~fresh).sum())
        good = good[fresh]
        return pages.take(good), arm[good], revision[good]

    def _accepted_conversions(self, hours: range) -> Conversions:
        """The good ones that are new; the others are set aside with a reason or counted as duplicates."""
        conversions = Conversions.concatenate(self._open.told)
        bad = told.refused(conversions, self.spaces, hours)
        if bad:
            rows = np.array(sorted(bad))
            reasons = [bad[row] for row in sorted(bad)]
            self._open.refused.append(told.refused_frame(conversions.take(rows), reasons, hours[-1]))
            conversions = conversions.take(np.delete(np.arange(len(conversions)), rows))
        conversions = conversions.sorted()
        fresh = self._seen_converted.new(conversions.labels(), hours[-1] // HOURS)
        self._open.duplicates += int((~fresh).sum())
        return conversions.take(fresh)

    def commit(self, day: int) -> None:
        """Write the day's hours to disk, one commit per table. What was never committed is lost with the process."""
        if day <= self.last_day or self._open.waiting or any(tick // HOURS != day for tick in self._open.hours):
            raise ValueError(
                f"'day' must be the day of the closed hours, later than the last committed day {self.last_day}, "
                f"with no hour under way. Got {day}. Call close(tick) for each hour, then commit(day)."
            )
        line = self._line(day)
        self._store.write(self._frames(day), line)
        self._committed |= _digests_of(line)
        self._amend_recent()
        pages = [without_extras(hour.feedback) for hour in self._open.hours.values()]
        whole = Feedback.concatenate(pages) if pages else tables.empty(self.spaces)
        self._keep(day, told.join(whole, self._open.conversions))
        self._open = OpenDay()
        self._last_tick = max(self._last_tick, (day + 1) * HOURS - 1)

    def mark(self) -> int:
        """Where the log stands, for `return_to`: its last committed day."""
        return self.last_day

    def return_to(self, mark: int) -> None:
        """Forget what was logged after the day `mark`."""
        self._store.return_to(mark)
        FeedbackLog.__init__(self, self.path, self.spaces, self.recent_days, self.stored)

    def _frames(self, day: int) -> dict[str, pl.DataFrame]:
        frames, hours, conversions = {}, self._open.entered(), self._open.conversions
        if hours:
            pages = Feedback.concatenate([without_extras(hour.feedback) for hour in hours])
            arm, revision, received = (
                np.concatenate([getattr(hour, name) for hour in hours]) for name in ("arm", "revision", "received")
            )
            frames["pages"] = tables.pages_frame(pages, arm, revision, received, day)
            frames["impressions"] = tables.impressions_frame(pages, day)
            frames["extras"] = noted.frame([hour.feedback for hour in hours], self.stored, day)
            conversions = Conversions.concatenate([told.of_pages(pages), conversions])
        frames["conversions"] = told.frame(conversions, day)
        if self._open.labels:
            frames["labels"] = judged.frame(judged.concatenate(self._open.labels), day)
        for name, parts in (("quarantine", self._open.quarantined), ("refused_conversions", self._open.refused)):
            if parts:
                frames[name] = pl.concat(parts)
        return frames

    def _line(self, day: int) -> dict[str, Any]:
        """What ``days.jsonl`` says of the day; of what came late only where something did."""
        open_day = self._open
        line: dict[str, Any] = {
            "day": day,
            "pages": sum(len(hour.feedback) for hour in open_day.entered()),
            "quarantined": sum(len(frame) for frame in (*open_day.quarantined, *open_day.refused)),
            "duplicates": open_day.duplicates,
            "hours": {str(tick): digest for tick, digest in open_day.named.items()},
        }
        late = {
            "late_pages": open_day.late_pages,
            "conversions": len(open_day.conversions),
            "labels": sum(map(len, open_day.labels)),
            "amended": {
                str(closed): {str(tick): digest for tick, digest in changed.items()}
                for closed, changed in open_day.amended.items()
            },
        }
        return line | {name: value for name, value in late.items() if value}

    def _amend_recent(self) -> None:
        """What came for days in memory: conversions are joined; a day with late pages is read from disk again."""
        for day in {tick // HOURS for tick in self._open.old}:
            self._recent.pop(day, None)
        for day in set((self._open.conversions.page_tick // HOURS).tolist()) & set(self._recent):
            self._recent[day] = told.join(self._recent[day], self._open.conversions)

    def _keep(self, day: int, pages: Feedback) -> None:
        """Hold a complete day in memory and let go of what is past the bound."""
        if day > self.last_day - self.recent_days:
            self._recent[day] = pages
        for old in [d for d in self._recent if d <= self.last_day - self.recent_days]:
            del self._recent[old]
        self._seen.forget(self.last_day - self.recent_days)
        self._seen_converted.forget(self.last_day - self.recent_days)

    def _remember_keys(self) -> None:
        first, last = self.last_day - self.recent_days + 1, self.last_day
        pages = self._store.read("pages", first, last, ["visit", "page", "day"])
        for (day,), part in pages.group_by("day") if pages is not None else ():
            keys = part["visit"].to_numpy() * intake.MAX_PAGES + part["page"].to_numpy()
            self._seen.add(keys.tolist(), int(str(day)))
        conversions = self._store.read("conversions", first, last)
        for (day,), part in conversions.group_by("day") if conversions is not None else ():
            self._seen_converted.add(told.from_frame(part).labels(), int(str(day)))

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def last_day(self) -> int:
        """The newest committed day; -1 while there is none."""
        return self._store.last_day

    @property
    def counts(self) -> dict[str, int]:
        """Rows of all committed days: pages, quarantined, duplicates."""
        return self._count("pages", "quarantined", "duplicates")

    @property
    def late_counts(self) -> dict[str, int]:
        """Rows of all committed days that came later than their hour: late_pages, conversions told by themselves."""
        return self._count("late_pages", "conversions")

    def _count(self, *names: str) -> dict[str, int]:
        rows = self._store.days.values()
        return {name: sum(row.get(name, 0) for row in rows) for name in names}

    def tick(self) -> Feedback:
        """The pages closed last, extras included."""
        return self._newest

    def converted(self) -> Conversions:
        """The conversions closed last, told apart from their pages."""
        return self._converted

    def since(self, first_tick: int, as_of: int | None = None) -> Feedback:
        """The pages that came in from hour `first_tick` of the open day on, late ones too; with extras, see `tick`.

        With the conversions known. As of now; or of the day of a committed hour `as_of`, with what had come by then.
        """
        if as_of is None:
            parts = self._open.since(first_tick)
            return self._joined(noted.concatenate(parts, self.stored)) if parts else tables.empty(self.spaces)
        self._check_committed(as_of)
        day = as_of // HOURS
        pages = self._store.read("pages", day, day)
        if pages is None:
            return tables.empty(self.spaces)
        pages = pages.filter(pl.col("received").is_between(first_tick, as_of))
        return self.with_extras(self._whole(pages, self._store.read("impressions", day, day), as_of))

    def read(self, first_day: int, last_day: int, as_of: int | None = None) -> Feedback:
        """The pages of all hours of some days, both included, with the conversions known; no extras.

        As of now, or with what had come by the end of a committed day `as_of` and nothing else.
        """
        return self.between(first_day * HOURS, _end(last_day), None if as_of is None else _end(as_of))

    def between(self, first_tick: int, last_tick: int, as_of: int | None = None) -> Feedback:
        """The pages of some hours, both included; no extras.

        As of now, or with what had come by the end of a committed hour `as_of` and nothing else.
        """
        if first_tick > last_tick:
            raise ValueError(f"'first_tick' must not be after 'last_tick'. Got {first_tick} and {last_tick}.")
        days = first_tick // HOURS, last_tick // HOURS
        if as_of is None:
            parts = self._parts(*days)
        else:
            self._check_committed(as_of)
            parts = list(self._load(days[0], min(days[1], as_of // HOURS), as_of).values())
        cut = [_cut(part, first_tick, last_tick) for part in parts]
        pages = Feedback.concatenate([tables.empty(self.spaces), *cut])
        return pages if as_of is not None else self._amended(pages, first_tick, last_tick)

    def _check_committed(self, as_of: int) -> None:
        if as_of > _end(self.last_day):
            raise ValueError(
                f"'as_of' must not be after the last committed day {self.last_day}. "
                f"Got hour {as_of}, of day {as_of // HOURS}."
            )

    def with_extras(self, pages: Feedback) -> Feedback:
        """Committed `pages` with the stored extras: 0 where nobody noted any, none where nobody did on any page."""
        if len(pages) == 0:
            return pages
        ticks = range(int(pages.keys.tick.min()), int(pages.keys.tick.max()) + 1)
        return noted.joined(pages, self._store.read("extras", ticks.start // HOURS, self.last_day, ticks=ticks))

    def labels(self, first_tick: int, last_tick: int) -> Labels:
        """What reviewers said in some hours, both included. As of any hour: a label never changes once it is told."""
        rows = self._store.read("labels", first_tick // HOURS, last_tick // HOURS)
        parts = [judged.none(self.spaces), *self._open.labels]
        if rows is not None:
            parts.append(judged.from_frame(rows, self.spaces))
        labels = judged.concatenate(parts)
        return labels.take(np.flatnonzero((labels.told >= first_tick) & (labels.told <= last_tick)))

    def _parts(self, first_day: int, last_day: int) -> list[Feedback]:
        """Each day's pages, the committed ones from memory or else from disk, then the open day's hours."""
        committed = [day for day in range(first_day, min(last_day, self.last_day) + 1) if day in self._store.days]
        missing = [day for day in committed if day not in self._recent]
        loaded = self._load(missing[0], missing[-1], _end(self.last_day)) if missing else {}
        parts = [self._recent[day] if day in self._recent else loaded[day] for day in committed]
        for day, pages in loaded.items():
            self._keep(day, pages)
        return parts + [without_extras(hour.feedback) for hour in self._open.hours.values()]

    def _amended(self, pages: Feedback, first_tick: int, last_tick: int) -> Feedback:
        """`pages` with what came for them on the open day."""
        late = [without_extras(h.feedback) for tick, h in self._open.old.items() if first_tick <= tick <= last_tick]
        if late:
            pages = Feedback.concatenate([pages, self._told_before(Feedback.concatenate(late))])
            pages = pages.take(in_order(pages))
        return told.join(pages, self._open.conversions)

    def _joined(self, came: Feedback) -> Feedback:
        """Pages that came on the open day, in order, with the conversions known of them."""
        late = int(np.searchsorted(came.keys.tick, (self.last_day + 1) * HOURS)) if self._open.old else 0
        if late:
            old, rest = self._told_before(came.take(np.arange(late))), came.take(np.arange(late, len(came)))
            came = Feedback.concatenate([old, rest])
        return told.join(came, self._open.conversions) if len(self._open.conversions) else came

    def _told_before(self, late: Feedback) -> Feedback:
        """Pages of earlier days with the conversions that were told before they came."""
        known = self._store.read("conversions", int(late.keys.tick.min()) // HOURS, self.last_day)
        return late if known is None else told.join(late, told.from_frame(known))

    def _load(self, first_day: int, last_day: int, as_of: int) -> dict[int, Feedback]:
        """Complete days from disk, with what had come by the end of hour `as_of`."""
        days = {day: tables.empty(self.spaces) for day in range(first_day, last_day + 1) if day in self._store.days}
        ticks = range(first_day * HOURS, last_day * HOURS + HOURS)
        pages = self._store.read("pages", first_day, as_of // HOURS, ticks=ticks)
        impressions = self._store.read("impressions", first_day, as_of // HOURS, ticks=ticks)
        if pages is None or impressions is None:
            return days
        joined = self._whole(pages.filter(pl.col("received") <= as_of), impressions, as_of)
        for day in days:
            low, high = np.searchsorted(joined.keys.tick, [day * HOURS, day * HOURS + HOURS])
            days[day] = joined.take(np.arange(low, high))
        return days

    def _whole(self, pages: pl.DataFrame, impressions: pl.DataFrame | None, as_of: int) -> Feedback:
        """Rows of pages with their outcomes, of all that `impressions` hold, and what was told of them by `as_of`."""
        if impressions is None or len(pages) == 0:
            return tables.empty(self.spaces)
        if len(impressions) != len(pages) * self.spaces.slate_size:
            impressions = impressions.join(pages.select("visit", "page"), on=["visit", "page"], how="semi")
        whole = tables.join(pages, impressions, self.spaces)
        first = int(whole.keys.tick[0]) // HOURS
        conversions = self._store.read("conversions", first, as_of // HOURS)
        if conversions is None:
            return whole
        return told.join(whole, told.from_frame(conversions.filter(pl.col("tick") <= as_of)))

    def data_version(self, first_day: int, last_day: int, as_of: int | None = None) -> str:
        """16 hex digits naming the content of some days: equal exactly when their pages are equal bit for bit.

        What came late is part of the name, and so is the day on which it came. `as_of`: see `read`.
        """
        return self._named(range(first_day * HOURS, _end(last_day) + 1), None if as_of is None else _end(as_of))

    def version_of(self, pages: Feedback, as_of: int | None = None) -> str:
        """The data version of the hours that `pages` come from. `as_of`: see `between`."""
        return self._named(np.unique(pages.keys.tick).tolist(), as_of)

    def _named(self, ticks: Iterable[int], as_of: int | None = None) -> str:
        known: Mapping[int, str] = self._committed if as_of is None else self._digests(as_of)
        if as_of is None:  # chained, not merged: the committed hours are many
            known = ChainMap(self._open.names(), self._committed)
        digest = blake2b(digest_size=8)
        for tick in ticks:
            digest.update(known.get(tick, "").encode())
        return digest.hexdigest()

    def _digests(self, as_of: int) -> dict[int, str]:
        """Hour -> what named its content at the end of hour `as_of`, for all hours committed by then."""
        found: dict[int, str] = {}
        for day, line in self._store.days.items():
            if day <= as_of // HOURS:
                found |= _digests_of(line, as_of)
        return found

    def compact(self) -> None:
        """Merge the daily files of all committed days: a commit costs about 0.1 ms more per file and table."""
        self._store.compact()

    def fork(self, path: Path, stored: Sequence[str] = ()) -> FeedbackLog:
        """A log of its own in another folder that begins with all committed days of this one, and keeps `stored`."""
        if self._open.hours or self._open.waiting:
            raise RuntimeError("A log is forked between days. Close the hours and commit the day first.")
        self._store.copy(path)
        other = FeedbackLog(path, self.spaces, self.recent_days, stored)
        other._recent = dict(self._recent)
        return other


def _end(day: int) -> int:
    """The last hour of a day."""
    return day * HOURS + HOURS - 1


def _digests_of(line: dict[str, Any], as_of: int | None = None) -> dict[int, str]:
    """Hour -> what named its content, for the hours that a committed day had written or changed by hour `as_of`."""
    as_of = _end(line["day"]) if as_of is None else as_of
    found = {int(tick): digest for tick, digest in line["hours"].items() if int(tick) <= as_of}
    for closed, changed in line.get("amended", {}).items():
        if int(closed) <= as_of:
            found |= {int(tick): digest for tick, digest in changed.items()}
    return found


def _cut(pages: Feedback, first_tick: int, last_tick: int) -> Feedback:
    """The pages of some hours; `pages` are ordered by tick."""
    low, high = np.searchsorted(pages.keys.tick, [first_tick, last_tick + 1])
    return pages if high - low == len(pages) else pages.take(np.arange(low, high))
