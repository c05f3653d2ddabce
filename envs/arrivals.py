"""Potential visits: a pure function of (seed, tick), thinned by loyalty but never shifted by what the policy does."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.compiled import inlined, kernel
from perennial.envs.preset import EPOCH, YEAR_DAYS, Preset, harmonics
from perennial.envs.random_numbers import ARRIVAL, ARRIVAL_COUNT, draw, poisson, unit
from perennial.envs.visitors import Visitors

VISITS_PER_TICK = 2**20
"""A potential visit's key is tick * VISITS_PER_TICK + its place in the tick."""

MOST = VISITS_PER_TICK - 1

_FIRST_WEEKDAY = date.fromisoformat(EPOCH).weekday()


class Arrivals:
    """The stream of potential visits of a world.

    The rate of tick t is ``per_day`` x hour x weekday x exp(volume harmonics), with mean ``per_day`` over the year.
    """

    def __init__(self, preset: Preset, visitors: Visitors, key: NDArray[np.uint64], per_day: float) -> None:
        self._key = key
        self._stamp = np.zeros(len(visitors) + 1, dtype=np.int64)
        # Visitors by segment, so that a shift of the population stretches one part of the line and shrinks the other.
        self._order = np.argsort(visitors.segment, kind="stable")
        activity = np.diff(visitors.arrival_share, prepend=0.0)[self._order]
        self._share = np.cumsum(activity)
        self._share /= self._share[-1]
        self._guide = np.searchsorted(self._share, np.arange(len(visitors) + 1) / len(visitors))
        regulars = int((visitors.segment == 0).sum())
        self._first = float(self._share[regulars - 1]) if regulars else 0.0
        hour, weekday = np.asarray(preset.hour), np.asarray(preset.weekday)
        self._hour, self._weekday = hour / hour.sum(), weekday / weekday.mean()
        self._volume = np.asarray(preset.volume)
        year = np.exp(harmonics(np.arange(YEAR_DAYS), (len(self._volume) - 1) // 2) @ self._volume)
        self._scale = per_day / year.mean()

    def rates(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64 (T,): expected number of potential visits in each tick, before a user drawn twice counts once."""
        waves = harmonics(ticks / 24.0, (len(self._volume) - 1) // 2)
        season = np.exp((waves * self._volume).sum(axis=1))
        weekday = self._weekday[(ticks // 24 + _FIRST_WEEKDAY) % 7]
        return np.asarray(self._scale * season * weekday * self._hour[ticks % 24])

    def between(
        self, first: int, rates: NDArray[np.float64], population: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The potential visits of T ticks from `first` on, at `rates` (T,), in order.

        int64 (3, P) visit, user, tick; float64 (P,) return draw in (0, 1). `population` (T,): logits added to segment
        1's share of the visits.
        """
        counts = np.array([min(poisson(self._key, ARRIVAL_COUNT, first + t, r), MOST) for t, r in enumerate(rates)])
        pending = np.empty((3, counts.sum()), dtype=np.int64)
        chance = np.empty(pending.shape[1])
        start = self._first
        moved = np.where(population == 0.0, start, start / (start + (1 - start) * np.exp(population)))
        found = _draw_users(
            self._key, first, counts, self._share, self._guide, self._order, start, moved, self._stamp, pending, chance
        )
        return pending[:, :found], chance[:found]


@kernel
def _draw_users(
    key: Any,
    first: Any,
    counts: Any,
    share: Any,
    guide: Any,
    order: Any,
    start: Any,
    moved: Any,
    stamp: Any,
    pending: Any,
    chance: Any,
) -> Any:
    """Fill `pending` and `chance`; a user drawn twice in a tick comes once. Returns how many are left.

    `start` of the line belongs to segment 0 by activity, `moved` (T,) of it at each tick.
    """
    found = 0
    for t in range(counts.size):
        tick = first + t
        stamp[-1] += 1
        mark = stamp[-1]
        for j in range(counts[t]):
            a, b, c, _ = draw(key, ARRIVAL, tick, 0, j)
            point = (np.float64(np.int64(a)) + unit(b)) / 2.0**32
            if start != moved[t]:
                if point < moved[t]:
                    point *= start / moved[t]
                else:
                    point = start + (point - moved[t]) * (1.0 - start) / (1.0 - moved[t])
            user = order[place_of(point, share, guide)]
            if stamp[user] == mark:
                continue
            stamp[user] = mark
            pending[0, found] = tick * VISITS_PER_TICK + j
            pending[1, found] = user
            pending[2, found] = tick
            chance[found] = unit(c)
            found += 1
    return found


@inlined
def place_of(point: Any, share: Any, guide: Any) -> Any:
    """The first place whose `share` is `point` or more, the last at the most: a search that starts near its end.

    Guide table of Chen and Asau (1974), "On generating random variates from an empirical distribution", AIIE
    Transactions 6(2): `guide` holds the place of each of N + 1 even steps from 0 to 1.
    """
    place = min(guide[np.int64(point * share.size)], share.size - 1)
    while place > 0 and share[place - 1] >= point:
        place -= 1
    while share[place] < point and place < share.size - 1:
        place += 1
    return place
