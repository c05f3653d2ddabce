"""What the shop looked at in these weeks last year, at the level of the last weeks: the forecaster's naive baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces, top_k
from perennial.agents.validation import number, saved, whole

HOURS = 24
Counts = NDArray[np.int64]


class SeasonalNaive(Agent):
    """Ranks candidates by the item's recent click rate x how its category moved from these weeks last year to now.

    The seasonal naive forecast (Hyndman and Athanasopoulos 2021, "Forecasting: principles and practice", section 5.2)
    is last season's value; here it is brought to the recent level. With r_c the click rate of category c::

        score_i(d) = recent_i  x  r_c(last year, around d) / r_c(last year, when the recent days were)

    `recent_i` is the smoothed click rate of the last `recent_days`, as `Popular` has it. Both r_c are relative to all
    categories' rate in the same days and drawn to 1 by `season_prior` impressions, so that a year that is not there
    changes nothing: with less than a year of log the agent is `Popular` over `recent_days`.

    It counts by day and keeps a year by itself: `fit` with "warm" adds the pages later than all it has seen, whatever
    the window, "cold" forgets first; `update` adds all pages it is given. To refit it cold, give it a window that
    reaches back (`windows.RecentAndLastYear`). Deterministic: propensity 1.

    Arguments
    ---------
    recent_days : days that make the recent level, >= 1
    lag_days : how long ago "last year" is, in days, >= 1; 364 keeps the weekday
    around_days : days on either side of the same day last year, >= 0
    prior : impressions at the mean click rate that every item starts with, > 0
    season_prior : impressions at the common rate that every category starts with in each of last year's spans, > 0
    """

    def __init__(
        self,
        recent_days: int = 28,
        lag_days: int = 364,
        around_days: int = 7,
        prior: float = 20.0,
        season_prior: float = 200.0,
    ) -> None:
        self.recent_days = whole("recent_days", recent_days, 1)
        self.lag_days = whole("lag_days", lag_days, 1)
        self.around_days = whole("around_days", around_days, 0)
        self.prior = number("prior", prior, 0.0, above=True)
        self.season_prior = number("season_prior", season_prior, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self._forget()

    def _forget(self) -> None:
        kept = self.lag_days + self.recent_days + self.around_days + 1
        self.by_item = _Days(self.recent_days, self.spaces.n_items)
        self.by_category = _Days(kept, self.spaces.n_categories)
        self.last_tick = np.full(1, -1, dtype=np.int64)
        self._settle()

    def _settle(self) -> None:
        """Each item's recent rate, float64 (N,); seasons are settled day by day as they are asked for."""
        today = int(self.last_tick[0]) // HOURS
        clicks, impressions = self.by_item.between(today - self.recent_days + 1, today)
        mean = clicks.sum() / max(1, impressions.sum())
        self.recent = (clicks + self.prior * mean) / (impressions + self.prior)
        self._seasons: dict[int, NDArray[np.float64]] = {}

    def season(self, day: int) -> NDArray[np.float64]:
        """float64 (C,): factor on each category's recent rate on `day` (days since the epoch)."""
        if day not in self._seasons:
            today, then = int(self.last_tick[0]) // HOURS, day - self.lag_days
            target = self._relative(then - self.around_days, then + self.around_days)
            level = self._relative(today - self.lag_days - self.recent_days + 1, today - self.lag_days)
            self._seasons[day] = target / level
        return self._seasons[day]

    def _relative(self, first: int, last: int) -> NDArray[np.float64]:
        """float64 (C,): click rates of some days over the rate of all categories together, drawn to 1."""
        clicks, impressions = self.by_category.between(first, last)
        rate = clicks.sum() / max(1, impressions.sum())
        if rate == 0:
            return np.ones(len(clicks))
        return np.asarray((clicks / rate + self.season_prior) / (impressions + self.season_prior))

    def act(self, observations: Observations, keys: Keys) -> Decision:
        days, row = np.unique(keys.tick // HOURS, return_inverse=True)
        seasons = np.array([self.season(int(day)) for day in days]).reshape(-1, self.spaces.n_categories)
        candidates = observations["candidates"]
        scores = self.recent[candidates] * seasons[row[:, None], self.items["category"][candidates]]
        slates = top_k(scores, self.spaces.slate_size)
        return Decision(slates, np.ones(slates.shape))

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        return self.update(window.take(window.keys.tick > self.last_tick[0]))

    def update(self, feedback: Feedback) -> dict[str, float]:
        days = feedback.keys.tick // HOURS
        for day in np.unique(days).tolist():
            pages = feedback.take(days == day)
            self.by_item.add(day, pages.slate_items, pages.clicked)
            self.by_category.add(day, self.items["category"][pages.slate_items], pages.clicked)
        self.last_tick = np.maximum(self.last_tick, feedback.keys.tick.max(initial=-1))
        self._settle()
        return {"pages": float(len(feedback)), "days_kept": float((self.by_category.days >= 0).sum())}

    def state(self) -> dict[str, NDArray[Any]]:
        rings = {"item": self.by_item, "category": self.by_category}
        parts = {f"{name}_{part}": array for name, ring in rings.items() for part, array in ring.state().items()}
        return {**parts, "last_tick": self.last_tick.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        last_tick = saved(state, "last_tick", (1,))
        rings = [(self.by_item, "item"), (self.by_category, "category")]
        parts = [
            (saved(state, f"{name}_days", ring.days.shape), saved(state, f"{name}_counts", ring.counts.shape))
            for ring, name in rings
        ]
        for (ring, _), (days, counts) in zip(rings, parts, strict=True):
            ring.days, ring.counts = days, counts
        self.last_tick = last_tick
        self._settle()


class _Days:
    """Clicks and impressions of `size` things on each of the newest `kept` days.

    ``days`` int64 (kept,): the day each row stands for, -1 = none. ``counts`` int64 (2, kept, size).
    """

    def __init__(self, kept: int, size: int) -> None:
        self.days = np.full(kept, -1, dtype=np.int64)
        self.counts = np.zeros((2, kept, size), dtype=np.int64)

    def add(self, day: int, things: NDArray[np.int32], clicked: NDArray[np.bool_]) -> None:
        """Count what was shown and clicked on `day`; a day older than all that are kept is let go."""
        row, size = day % len(self.days), self.counts.shape[2]
        if day < self.days[row]:
            return
        if day > self.days[row]:
            self.days[row], self.counts[:, row] = day, 0
        self.counts[0, row] += np.bincount(things[clicked], minlength=size)
        self.counts[1, row] += np.bincount(things.ravel(), minlength=size)

    def between(self, first: int, last: int) -> tuple[Counts, Counts]:
        """int64 (size,) each: clicks and impressions of the days `first` to `last`."""
        clicks, impressions = self.counts[:, (self.days >= max(first, 0)) & (self.days <= last)].sum(axis=1)
        return clicks, impressions

    def state(self) -> dict[str, NDArray[Any]]:
        return {"days": self.days.copy(), "counts": self.counts.copy()}
