"""The open day of the feedback log: what waits in memory until the day is committed."""

from __future__ import annotations

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

    ``digest`` names the pages' content.
    """

    feedback: Feedback
    arm: NDArray[np.int8]
    revision: NDArray[np.int32]
    digest: str


@dataclass
class OpenDay:
    """``waves`` (with their ``sources``: number of pages, arm, revision) and ``told`` wait for their hour to close.

    ``hours``: the day's closed hours, in order. ``late``: what came in later than its own hour, and with which hour
    it came; pages of this day are in ``hours`` too, those of earlier days in ``old``. ``conversions`` and ``labels``:
    those that came.
    """

    waves: list[Feedback] = field(default_factory=list)
    sources: list[tuple[int, int, int]] = field(default_factory=list)
    told: list[Conversions] = field(default_factory=list)
    hours: dict[int, Hour] = field(default_factory=dict)
    late: list[tuple[int, Feedback]] = field(default_factory=list)
    old: dict[int, Hour] = field(default_factory=dict)
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
        if cut == 0:
            self.hours |= by_hour(pages, arm, revision)
            return
        on_time, late = np.arange(cut, len(pages)), pages.take(np.arange(cut))
        self.hours |= by_hour(pages.take(on_time), arm[on_time], revision[on_time])
        self.late.append((hours[-1], late))
        for tick, part in by_hour(late, arm[:cut], revision[:cut]).items():
            place = self.hours if tick // HOURS == hours.start // HOURS else self.old
            place[tick] = _merged(place[tick], part) if tick in place else part
        self.hours = dict(sorted(self.hours.items()))
        self.old = dict(sorted(self.old.items()))

    def convert(self, conversions: Conversions) -> None:
        """Take in accepted conversions."""
        self.conversions = Conversions.concatenate([self.conversions, conversions]).sorted()

    def since(self, first_tick: int) -> list[Feedback]:
        """What came in from hour `first_tick` on: pages of those hours, and before them late ones of earlier hours."""
        late = [
            pages.take(pages.keys.tick < first_tick)
            for closed, pages in self.late
            if closed >= first_tick and pages.keys.tick[0] < first_tick
        ]
        return late + [hour.feedback for tick, hour in self.hours.items() if tick >= first_tick]

    def entered(self) -> list[Hour]:
        """All that enters the log with this day, in order."""
        return [*self.old.values(), *self.hours.values()]

    def amended(self, before: dict[int, str]) -> dict[int, str]:
        """Digests of the hours whose content late pages and conversions changed; `before`: all digests before them."""
        ticks = {*self.old, *np.unique(self.conversions.page_tick).tolist()}
        found = {}
        for tick in sorted(ticks):
            known = self.hours[tick].digest if tick in self.hours else before.get(tick, "")
            digest = blake2b(known.encode(), digest_size=8)
            if tick in self.old:
                digest.update(self.old[tick].digest.encode())
            digest.update(self.conversions.take(self.conversions.page_tick == tick).content_hash())
            found[tick] = digest.hexdigest()
        return found


def by_hour(pages: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32]) -> dict[int, Hour]:
    """`pages`, ordered by tick, hour by hour."""
    hours: dict[int, Hour] = {}
    if len(pages) == 0:
        return hours
    ticks, starts = np.unique(pages.keys.tick, return_index=True)
    for tick, low, high in zip(ticks.tolist(), starts, [*starts[1:], len(pages)], strict=True):
        part = pages.take(np.arange(low, high)) if len(ticks) > 1 else pages
        hours[tick] = Hour(part, arm[low:high], revision[low:high], tables.content_hash(part))
    return hours


def _merged(hour: Hour, part: Hour) -> Hour:
    """One hour from two parts of it."""
    pages = Feedback.concatenate([hour.feedback, part.feedback])
    order = in_order(pages)
    pages = pages.take(order)
    arm, revision = np.concatenate([hour.arm, part.arm]), np.concatenate([hour.revision, part.revision])
    return Hour(pages, arm[order], revision[order], tables.content_hash(pages))


def in_order(pages: Feedback) -> NDArray[np.int64]:
    """int64 (P,): the rows by (tick, visit, page)."""
    return np.lexsort((pages.keys.page, pages.keys.visit, pages.keys.tick))


def without_extras(pages: Feedback) -> Feedback:
    """The same pages as the log keeps them."""
    return replace(pages, extras={})
