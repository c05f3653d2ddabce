"""Which moment's parameters and calendar hold in a visit: its own, always the same day's, or a random day's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.compiled import kernel
from perennial.envs.moments import HOURS
from perennial.envs.random_numbers import DAY, draw, unit

CALENDARS = ("advance", "frozen", "random")
YEAR = 365


class Calendar:
    """Time goes on: a visit at `tick` is shown `tick`."""

    def __init__(self, start_day: int, key: NDArray[np.uint64]) -> None:
        self.start_day, self.key = start_day, key

    def shown(self, starting: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): the ticks whose parameters hold in the visits `starting` int64 (3, n): visit, user, tick."""
        return starting[2]

    def shown_one(self, visit: int, tick: int) -> int:
        """`shown` of one visit."""
        return int(self.shown(np.array([[visit], [0], [tick]]))[0])


class Frozen(Calendar):
    """Every day is the start day; the hour goes on, and so do visitors, draws, satiation and loyalty."""

    def shown(self, starting: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(HOURS * self.start_day + starting[2] % HOURS)


class Random(Calendar):
    """Each visit has a day of its own, uniform over the year from the start day; a pure function of (seed, visit)."""

    def shown(self, starting: NDArray[np.int64]) -> NDArray[np.int64]:
        days = np.empty(starting.shape[1], np.int64)
        _draw_days(self.key, starting[0], days)
        return HOURS * (self.start_day + days) + starting[2] % HOURS


KINDS: dict[str, type[Calendar]] = {"advance": Calendar, "frozen": Frozen, "random": Random}


@kernel
def _draw_days(key: Any, visit: Any, days: Any) -> None:
    """Fill `days` (n,) with a day in [0, YEAR) for each visit."""
    for n in range(days.size):
        days[n] = np.int64(unit(draw(key, DAY, visit[n], 0, 0)[0]) * YEAR)
