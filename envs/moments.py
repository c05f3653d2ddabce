"""The world's parameters and the calendar of every hour, computed a day at a time and kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.envs.arrivals import Arrivals
from perennial.envs.drift import Drift, Offsets, Setting
from perennial.envs.notice import Ladder
from perennial.envs.observations import CALENDAR, calendar

HOURS = 24


class Moments:
    """One row an hour, found by `rows`.

    ``offsets`` (T, 4 C + 3) as `Offsets.packed`, ``calendar`` (T, 8) and ``notice`` (T, L) as the ladder shows them,
    ``rate`` (T,) expected potential visits, ``population`` (T,) logits added to segment 1's share of them.
    """

    def __init__(self, drift: Drift, setting: Setting, arrivals: Arrivals, ladder: Ladder) -> None:
        self._drift, self._setting, self._arrivals, self._ladder = drift, setting, arrivals, ladder
        self._first_row: dict[int, int] = {}
        self.rate, self.population = np.empty(0), np.empty(0)
        self.offsets = np.empty((0, 4 * len(setting.preset.categories) + 3))
        self.calendar = np.empty((0, CALENDAR), np.float32)
        self.notice = np.empty((0, ladder.columns(len(setting.preset.categories))), np.float32)

    def at(self, ticks: NDArray[np.int64]) -> Offsets:
        """The parameters at `ticks` (T,), straight from the declaration."""
        return self._drift.at(ticks / HOURS, self._setting)

    def row(self, tick: int) -> int:
        """The row of one tick."""
        return self._of_day(tick // HOURS) + tick % HOURS

    def rows(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): the row of each of `ticks` (n,), hours since the epoch, in order or not."""
        days, hours = np.divmod(ticks, HOURS)
        if len(days) == 0 or days[0] == days[-1] == days.max():
            return hours + (self._of_day(int(days[0])) if len(days) else 0)
        known, which = np.unique(days, return_inverse=True)
        return np.array([self._of_day(int(day)) for day in known])[which] + hours

    def _of_day(self, day: int) -> int:
        """The row of hour 0 of `day`."""
        row = self._first_row.get(day)
        if row is None:
            row = len(self._first_row) * HOURS
            if row == len(self.offsets):
                for name in ("offsets", "calendar", "notice", "rate", "population"):
                    old = getattr(self, name)
                    setattr(
                        self,
                        name,
                        np.concatenate([old, np.empty_like(old, shape=(max(8 * HOURS, row), *old.shape[1:]))]),
                    )
            ticks = np.arange(day * HOURS, (day + 1) * HOURS)
            now = self.at(ticks)
            self.offsets[row : row + HOURS] = now.packed()
            self.population[row : row + HOURS] = now.population
            self.rate[row : row + HOURS] = self._arrivals.rates(ticks)
            self.calendar[row : row + HOURS] = calendar(ticks) if self._ladder.level > 0 else 0.0
            self.notice[row : row + HOURS] = self._ladder.of_day(day, self._drift, self._setting)
            self._first_row[day] = row
        return row
