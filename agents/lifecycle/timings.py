"""Measured times, kept apart from every decision: two runs that decide alike may differ here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

RATIO = 1.01
"""Of the ends of a cell: a quantile is told to half a hundredth."""
LEAST = 1e-9
"""Seconds below which all is one."""


class Spent:
    """How often something was done and how long it took: as much memory after a year as after a day.

    Durations are counted in cells of equal ratio (Tene 2012, HdrHistogram, in its logarithmic form).
    """

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self._cells: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one occurrence."""
        self.count, self.total = self.count + 1, self.total + seconds
        self._cells[math.floor(math.log(max(seconds, LEAST), RATIO))] += 1

    def quantile(self, share: float) -> float:
        """The middle of the cell, in seconds, that the occurrence at `share` of their order falls into."""
        rank, seen = math.ceil(share * self.count), 0
        for cell, count in sorted(self._cells.items()):
            seen += count
            if seen >= rank:
                return float(RATIO ** (cell + 0.5))
        return math.nan


class Timings:
    """Seconds spent, by the name of what was done."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = defaultdict(Spent)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time one occurrence of `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.spent[name].add(perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per name: ``count``, ``total`` in seconds, ``p50`` and ``p99`` in milliseconds."""
        return {
            name: {
                "count": float(spent.count),
                "total": spent.total,
                "p50": 1e3 * spent.quantile(0.5),
                "p99": 1e3 * spent.quantile(0.99),
            }
            for name, spent in self.spent.items()
        }
