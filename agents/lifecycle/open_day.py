"""The open day of the feedback log: what waits in memory until the day is committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle import tables
from perennial.agents.lifecycle.conversions import Conversions
from perennial.agents.lifecycle.labels import Labels
from perennial.agents.lifecycle.tables import HOURS


@dataclass
class Hour:
    """Pages of one hour. ``arm`` int8 (P,) index into ARMS, ``revision`` int32 (P,): in-place updates of the version.

    ``received`` int64 (P,): the hour each page came, its own or a later one. ``digest`` names the pages' content.
    """

    feedback: Feedback
    arm: NDArray[np.int8]
    revision: NDArray[np.int32]
    received: NDArray[np.int64]
    digest: str


@dataclass
class OpenDay:
    """``waves`` (with their ``sources``: number of pages, arm, revision) and ``told`` wait for their hour to close.

    ``hours``: the day's closed hours, in order; ``old``: hours of earlier days of which pages came late; ``late_pages``
    counts those and the late ones of this day. ``conversions`` and ``labels``: those that came.

    ``named``: hour -> digest of this day's hours as they closed. ``amended``: by the hour in which something came late,
    the hours whose content that changed, and their digests since then.
    """

    waves: list[Feedback] = field(default_factory=list)
    sources: list[tuple[int, int, int]] = field(default_factory=list)
    told: list[Conversions] = field(default_factory=list)
    hours: dict[int, Hour] = field(default_factory=dict)
    old: dict[int, Hour] = field(default_factory=dict)
    late_pages: int = 0
    named: dict[int, str] = field(default_factory=dict)
    amended: dict[int, dict[int, str]] = field(default_factory=dict)
    conversions: Conversions = field(default_factory=lambda: Conversions.concatenate([]))
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    duplicates: int = 0

    @property
    def waiting(self) -> bool:
        """Whether something waits for its hour to close."""
        return bool(self.waves or self.told)

    def enter(self, pages: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32], hours: range) -> None:
        """Take in accepted pages, ordered by tick, that closed with `hours`."""
        cut = int(np.searchsorted(pages.keys.tick, hours.start))
        on_time = by_hour(pages, arm, revision, pages.keys.tick) if cut == 0 else {}
        if cut:
            rest = np.arange(cut, len(pages))
            on_time = by_hour(pages.take(rest), arm[rest], revision[rest], pages.keys.tick[rest])
        self.hours |= on_time
        self.named |= {tick: hour.digest for tick, hour in on_time.items()}
        if cut:
            received = np.full(cut, hours[-1])
            self._enter_late(by_hour(pages.take(np.arange(cut)), arm[:cut], revision[:cut], received), hours)

    def _enter_late(self, late: dict[int, Hour], hours: range) -> None:
        for tick, part in late.items():
            self.late_pages += len(part.feedback)
            place = self.hours if tick // HOURS == hours.start // HOURS else self.old
            place[tick] = _merged(place[tick], part) if tick in place else part
            self.amended.setdefault(hours[-1], {})[tick] = ""  # named once all of the hour is there
        self.hours = dict(sorted(self.hours.items()))
        self.old = dict(sorted(self.old.items()))

    def convert(self, conversions: Conversions, closed: int) -> None:
        """Take in accepted conversions that came with hour `closed`."""
        self.conversions = Conversions.concatenate([self.conversions, conversions]).sorted()
        if len(conversions):
            self.amended.setdefault(closed, {}).update(dict.fromkeys(conversions.page_tick.tolist(), ""))

    def since(self, first_tick: int) -> list[Feedback]:
        """The pages that came in from hour `first_tick` on, ordered by (tick, visit, page)."""
        parts = []
        for tick, hour in (*self.old.items(), *self.hours.items()):
            if tick >= first_tick:
                parts.append(hour.feedback)
            elif hour.received.max() >= first_tick:
                parts.append(hour.feedback.take(hour.received >= first_tick))
        return parts

    def entered(self) -> list[Hour]:
        """All that enters the log with this day, in order."""
        return [*self.old.values(), *self.hours.values()]

    def name(self, closed: int, before: Mapping[int, str]) -> None:
        """Name the hours that what came late with hour `closed` changed; `before`: all digests of the days before.

        A digest tells of all that came on this day so far, in whatever steps its hours were closed.
        """
        if closed in self.amended:
            self.amended[closed] = {tick: self._name(tick, before) for tick in sorted(self.amended[closed])}

    def names(self) -> dict[int, str]:
        """Hour -> what names its content now, for the hours that this day wrote or changed."""
        found = dict(self.named)
        for changed in self.amended.values():
            found |= changed
        return found

    def _name(self, tick: int, before: Mapping[int, str]) -> str:
        known = self.hours[tick].digest if tick in self.hours else before.get(tick, "")
        told = self.conversions.take(self.conversions.page_tick == tick)
        if tick not in self.old and len(told) == 0:
            return known
        digest = blake2b(known.encode(), digest_size=8)
        if tick in self.old:
            digest.update(self.old[tick].digest.encode())
        digest.update(told.content_hash())
        return digest.hexdigest()


def by_hour(
    pages: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32], received: NDArray[np.int64]
) -> dict[int, Hour]:
    """`pages`, ordered by tick, hour by hour."""
    hours: dict[int, Hour] = {}
    if len(pages) == 0:
        return hours
    ticks, starts = np.unique(pages.keys.tick, return_index=True)
    for tick, low, high in zip(ticks.tolist(), starts, [*starts[1:], len(pages)], strict=True):
        part = pages.take(np.arange(low, high)) if len(ticks) > 1 else pages
        row = slice(low, high)
        hours[tick] = Hour(part, arm[row], revision[row], received[row], tables.content_hash(part))
    return hours


def _merged(hour: Hour, part: Hour) -> Hour:
    """One hour from two parts of it."""
    pages = Feedback.concatenate([hour.feedback, part.feedback])
    order = in_order(pages)
    pages = pages.take(order)
    arm, revision, received = (
        np.concatenate([getattr(h, name) for h in (hour, part)])[order] for name in ("arm", "revision", "received")
    )
    return Hour(pages, arm, revision, received, tables.content_hash(pages))


def in_order(pages: Feedback) -> NDArray[np.int64]:
    """int64 (P,): the rows by (tick, visit, page)."""
    return np.lexsort((pages.keys.page, pages.keys.visit, pages.keys.tick))


def without_extras(pages: Feedback) -> Feedback:
    """The same pages as the log keeps them."""
    return replace(pages, extras={})
