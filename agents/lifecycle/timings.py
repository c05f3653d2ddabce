"""Measured times, kept apart from every decision: two runs that decide alike may differ here."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np


class Timings:
    """Seconds spent, by the name of what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, array[float]] = defaultdict(_doubles)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time one occurrence of `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name].append(perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per name: ``count``, ``total`` in seconds, ``p50`` and ``p99`` in milliseconds."""
        table = {}
        for name, values in self.seconds.items():
            p50, p99 = np.percentile(values, [50, 99]) * 1e3
            table[name] = {
                "count": float(len(values)),
                "total": float(sum(values)),
                "p50": float(p50),
                "p99": float(p99),
            }
        return table


def _doubles() -> array[float]:
    """No number yet, at eight bytes each."""
    return array("d")
