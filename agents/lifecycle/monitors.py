"""Monitors: how the deployed policy does, counted hour by hour and never by rescanning the log."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.conversions import KINDS, Conversions
from perennial.agents.lifecycle.decisions import AlertRecord
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.watches import Step
from perennial.agents.lifecycle.watchlist import Watchlist

PATIENCE_HOURS = 72
"""A visit of which nothing was heard for so long has ended, though its end never came."""


@dataclass(frozen=True)
class Counts:
    """What some pages came to. ``bounces``: visits that ended without a click; `impressions`: slots shown."""

    pages: int = 0
    impressions: int = 0
    clicks: int = 0
    first_pages: int = 0
    first_impressions: int = 0
    first_clicks: int = 0
    visits_ended: int = 0
    bounces: int = 0
    carts: int = 0
    purchases: int = 0
    not_interested: int = 0
    explored: int = 0
    reward: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))

    @property
    def ctr(self) -> float:
        """Clicks per slot shown; NaN where nothing was."""
        return _ratio(self.clicks, self.impressions)

    @property
    def first_page_ctr(self) -> float:
        """The same on first pages, which no policy can lengthen."""
        return _ratio(self.first_clicks, self.first_impressions)

    @property
    def bounce_rate(self) -> float:
        """Visits without a click among the visits that ended."""
        return _ratio(self.bounces, self.visits_ended)

    @property
    def reward_per_page(self) -> float:
        return _ratio(self.reward, self.pages)

    def figures(self) -> dict[str, float]:
        """All counts and rates by name."""
        rates = ("ctr", "first_page_ctr", "bounce_rate", "reward_per_page")
        return {f.name: float(getattr(self, f.name)) for f in fields(self)} | {
            name: getattr(self, name) for name in rates
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _clicks_per_slot(pages: Feedback) -> NDArray[np.float64]:
    share: NDArray[np.float64] = pages.clicked.mean(axis=1)
    return share


def _misses(pages: Feedback) -> NDArray[np.float64]:
    return np.asarray(~pages.clicked.any(axis=1), np.float64)


def _first(pages: Feedback) -> NDArray[np.bool_]:
    first: NDArray[np.bool_] = pages.keys.page == 0
    return first


STREAMS: dict[str, Callable[[Monitor, Feedback], NDArray[np.float64]]] = {
    "ctr": lambda monitor, pages: _clicks_per_slot(pages),
    "first_page_ctr": lambda monitor, pages: _clicks_per_slot(pages)[_first(pages)],
    "reward": lambda monitor, pages: pages.reward.astype(np.float64),
    "no_click": lambda monitor, pages: _misses(pages)[_first(pages)],
    "bounce": lambda monitor, pages: monitor.bounced.astype(np.float64),
    "clicked_category": lambda monitor, pages: monitor.category_of(pages.slate_items[pages.clicked]),
}
"""Name of a stream for detectors: float64 values of a step's pages, in the order of the log.

One a page: ctr, reward. One a visit, of its first page: first_page_ctr, no_click (1 = no click on it, an error to those
detectors that count errors). One a visit that ended: bounce (1 = without a click). One a click: clicked_category.
"""


@dataclass
class Partial:
    """A visit of which pages are still to come: its `pages` and `clicks` so far, the `tick` it was last heard of.

    ``length``: its number of pages, 0 while its end has not come. Once it has, the visit counts as ended, even if
    pages between are on their way.
    """

    pages: int = 0
    clicks: int = 0
    length: int = 0
    tick: int = 0


class Monitor:
    """Counts of the last step (an hour or more), of the day and of the recent past, as things come in.

    Pages may come late or never. A conversion told later than its page counts in the step that hears of it.

    Arguments:
        recent_days: how far back `days` goes.
        watchlist: what is watched beyond these counts, and raises alerts; None: nothing.
    """

    def __init__(self, recent_days: int = 28, watchlist: Watchlist | None = None) -> None:
        if recent_days < 1:
            raise ValueError(f"'recent_days' must be at least 1. Got {recent_days}.")
        self.watchlist = watchlist
        self.step = Counts()
        self.today = Counts()
        self.bounced: NDArray[np.bool_] = np.empty(0, np.bool_)
        self.days: deque[tuple[int, Counts]] = deque(maxlen=recent_days)
        self._day = -1
        self._pages: Feedback | None = None
        self._partial: dict[int, Partial] = {}

    def update(self, pages: Feedback, tick: int, conversions: Conversions | None = None) -> None:
        """Count the pages that came in the step that ends with hour `tick`, and `conversions` told by themselves."""
        if tick // HOURS != self._day:
            if self._day >= 0:
                self.days.append((self._day, self.today))
            self._day, self.today = tick // HOURS, Counts()
        self._pages = pages
        self.step = self._count(pages, tick)
        if conversions is not None and len(conversions):
            self.step = self.step + _told(conversions)
        self.today = self.today + self.step
        if self.watchlist is not None:
            self.watchlist.update(Step(pages, self.step.visits_ended, self.step.bounces), tick)

    @property
    def alerts(self) -> list[AlertRecord]:
        """What the watchlist raised at the end of the newest step."""
        return [] if self.watchlist is None else self.watchlist.alerts

    @property
    def unwatched(self) -> list[str]:
        """Names of the watchlist's figures of which the pages tell nothing."""
        return [] if self.watchlist is None else self.watchlist.unwatched

    def figures(self) -> dict[str, float]:
        """The day's counts and rates so far, and the watched figures as of the last day's end."""
        return self.today.figures() | ({} if self.watchlist is None else self.watchlist.figures())

    def stream(self, metric: str) -> NDArray[np.float64]:
        """The newest step's values of one metric, in the order of the log."""
        if metric not in STREAMS:
            raise ValueError(f"'metric' must be one of {', '.join(STREAMS)}. Got {metric!r}.")
        return STREAMS[metric](self, self._pages) if self._pages is not None else np.empty(0)

    def told(self) -> NDArray[np.bool_]:
        """bool (1 + C,): the changes that the newest step's pages were told of, any and by category.

        They are the first columns of ``notice``, as far as it goes: (1,) where the categories are not told, or where a
        watchlist that knows their number is missing.
        """
        if self._pages is None:
            return np.zeros(1, np.bool_)
        flags = 1 if self.watchlist is None else 1 + self.watchlist.spaces.n_categories
        return np.any(self._pages.observations["notice"][:, :flags] > 0, axis=0)

    def category_of(self, items: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64, the shape of `items`: their categories, from the watchlist's item table."""
        if self.watchlist is None:
            raise ValueError("'clicked_category' needs the item table. Build the Monitor with a Watchlist.")
        return self.watchlist.category[items].astype(np.float64)

    def _count(self, pages: Feedback, tick: int) -> Counts:
        first, clicks = pages.keys.page == 0, pages.clicked.sum(axis=1)
        self.bounced = self._ends(pages, clicks, tick)
        slots = pages.clicked.shape[1]
        return Counts(
            pages=len(pages),
            impressions=len(pages) * slots,
            clicks=int(clicks.sum()),
            first_pages=int(first.sum()),
            first_impressions=int(first.sum()) * slots,
            first_clicks=int(clicks[first].sum()),
            visits_ended=len(self.bounced),
            bounces=int(self.bounced.sum()),
            carts=int(pages.carted.sum()),
            purchases=int(pages.purchased.sum()),
            not_interested=int(pages.not_interested.sum()),
            explored=int(pages.explored.sum()),
            reward=float(pages.reward.sum(dtype=np.float64)),
        )

    def _ends(self, pages: Feedback, clicks: NDArray[np.int64], tick: int) -> NDArray[np.bool_]:
        """bool (E,): for each visit that ended, whether it had no click; a visit may run on into later hours."""
        visits, at = np.unique(pages.keys.visit, return_inverse=True)
        seen, total = np.bincount(at, minlength=len(visits)), np.bincount(at, weights=clicks, minlength=len(visits))
        last, length = pages.terminated | pages.truncated, np.zeros(len(visits), np.int64)
        length[at[last]] = pages.keys.page[last] + 1
        whole = (length > 0) & (seen == length)  # nearly all, and all of them where nothing comes late
        bounced = (total[whole] == 0).tolist()
        for row in np.flatnonzero(~whole).tolist():
            heard = Partial(int(seen[row]), int(total[row]), int(length[row]), tick)
            over, missed = self._hear(int(visits[row]), heard)
            bounced += [missed] * over
        for visit in [visit for visit, known in self._partial.items() if known.tick <= tick - PATIENCE_HOURS]:
            known = self._partial.pop(visit)
            bounced += [known.clicks == 0] * (known.length == 0)
        return np.array(bounced, np.bool_)

    def _hear(self, visit: int, heard: Partial) -> tuple[bool, bool]:
        """Add what was `heard` of a visit that did not come whole. Whether it ended by that, and as a bounce."""
        known = self._partial.setdefault(visit, Partial())
        over = known.length == 0 and heard.length > 0
        known.pages, known.clicks = known.pages + heard.pages, known.clicks + heard.clicks
        known.length, known.tick = max(known.length, heard.length), heard.tick
        if known.pages == known.length:
            del self._partial[visit]
        return over, over and known.clicks == 0


def _told(conversions: Conversions) -> Counts:
    """What conversions told by themselves come to."""
    carts, purchases = np.bincount(conversions.kind, minlength=len(KINDS)).tolist()
    return Counts(carts=carts, purchases=purchases, reward=float(conversions.value.sum(dtype=np.float64)))
