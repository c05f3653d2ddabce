"""Potential visits: a pure function of (seed, tick), thinned by loyalty but never shifted by what the policy does."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perennial.envs.preset import EPOCH, YEAR_DAYS, Preset, harmonics
from perennial.envs.random_numbers import ARRIVAL, ARRIVAL_COUNT, draw, poisson, unit

VISITS_PER_TICK = 2**20
"""A potential visit's key is tick * VISITS_PER_TICK + its place in the tick."""

_FIRST_WEEKDAY = date.fromisoformat(EPOCH).weekday()


class Arrivals:
    """The stream of potential visits of a world.

    The rate of tick t is ``per_day`` x hour x weekday x exp(volume harmonics), with mean ``per_day`` over the year.
    """

    def __init__(
        self, preset: Preset, arrival_share: NDArray[np.float64], key: NDArray[np.uint64], per_day: float
    ) -> None:
        self._share = arrival_share
        self._key = key
        self._stamp = np.zeros(len(arrival_share) + 1, dtype=np.int64)
        hour, weekday = np.asarray(preset.hour), np.asarray(preset.weekday)
        self._hour, self._weekday = hour / hour.sum(), weekday / weekday.mean()
        self._volume = np.asarray(preset.volume)
        year = np.exp(harmonics(np.arange(YEAR_DAYS), (len(self._volume) - 1) // 2) @ self._volume)
        self._scale = per_day / year.mean()

    def rate(self, tick: int) -> float:
        """Expected number of potential visits in `tick`, before a user drawn twice in it is counted once."""
        day = tick / 24.0
        season = np.exp((harmonics(day, (len(self._volume) - 1) // 2) * self._volume).sum())
        weekday = self._weekday[(tick // 24 + _FIRST_WEEKDAY) % 7]
        return float(self._scale * season * weekday * self._hour[tick % 24])

    def at(self, tick: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The potential visits of `tick`: int64 (3, P) visit, user, tick, and float64 (P,) return draw in (0, 1)."""
        count = min(poisson(self._key, ARRIVAL_COUNT, tick, self.rate(tick)), VISITS_PER_TICK - 1)
        pending = np.empty((3, count), dtype=np.int64)
        chance = np.empty(count)
        found = _draw_users(self._key, tick, self._share, self._stamp, pending, chance)
        return pending[:, :found], chance[:found]


@njit(cache=True)
def _draw_users(key: Any, tick: Any, share: Any, stamp: Any, pending: Any, chance: Any) -> Any:
    """Fill `pending` and `chance`; a user drawn twice in a tick comes once. Returns how many are left."""
    stamp[-1] += 1
    mark = stamp[-1]
    found = 0
    for j in range(chance.size):
        a, b, c, _ = draw(key, ARRIVAL, tick, 0, j)
        user = min(np.searchsorted(share, (np.float64(a) + unit(b)) / 2.0**32), share.size - 1)
        if stamp[user] == mark:
            continue
        stamp[user] = mark
        pending[0, found] = tick * VISITS_PER_TICK + j
        pending[1, found] = user
        pending[2, found] = tick
        chance[found] = unit(c)
        found += 1
    return found
