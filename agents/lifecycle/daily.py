"""Means over some days with errors that respect that visitors of a day are alike: the days are the unit, not visits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from perennial.agents.lifecycle.tables import HOURS


@dataclass(frozen=True)
class Estimate:
    """A mean per value and its standard error, from so many values on so many days with any."""

    mean: float
    error: float
    values: int
    days: int


def estimate(days: Iterable[tuple[int, float]]) -> Estimate:
    """The ratio estimator over (count, total) of each day (Cochran 1977, section 2.11; days drawn with replacement).

    Mean = sum of totals / sum of counts; variance = D / (D - 1) x sum (total - mean x count)^2 / (sum of counts)^2.

    >>> estimate([(2, 1.0), (2, 2.0), (0, 0.0)])
    Estimate(mean=0.75, error=0.25, values=4, days=2)
    """
    held = [day for day in days if day[0]]
    values = sum(count for count, _ in held)
    if not held:
        return Estimate(math.nan, math.nan, 0, 0)
    mean = math.fsum(total for _, total in held) / values
    if len(held) == 1:
        return Estimate(mean, math.nan, values, 1)
    scatter = math.fsum((total - mean * count) ** 2 for count, total in held)
    return Estimate(mean, math.sqrt(scatter * len(held) / (len(held) - 1)) / values, values, len(held))


class Days:
    """(count, total) of each of the last `keep` days of one stream, and of the one at hand."""

    def __init__(self, keep: int) -> None:
        self.closed: deque[tuple[int, float]] = deque(maxlen=keep)
        self._count, self._total = 0, 0.0

    def add(self, count: int, total: float) -> None:
        self._count, self._total = self._count + count, self._total + total

    def close(self) -> None:
        """The day at hand is over."""
        self.closed.append((self._count, self._total))
        self._count, self._total = 0, 0.0

    def clear(self) -> None:
        self.closed.clear()
        self._count, self._total = 0, 0.0


def ends_day(tick: int) -> bool:
    """Hour `tick` is the last of its day."""
    return (tick + 1) % HOURS == 0
