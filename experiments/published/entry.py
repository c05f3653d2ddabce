"""One line of the pack: an algorithm, a setting, what it should come to, and how ours is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT = 3.0
"""Standard errors within which ours and theirs have to agree."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Entry:
    """What is compared.

    ``measure`` gives one number per independent repetition; its generator is seeded by the entry's name, so that no
    entry's numbers depend on which others run. ``expected`` is the independent number, or how to compute it;
    ``deviation`` its own standard error where it is a published mean over so many runs, 0 where it is exact or unknown.
    ``fast`` entries run among the default tests.
    """

    algorithm: str
    setting: str
    expected: float | Callable[[], float]
    source: str
    measure: Callable[[np.random.Generator], Floats]
    deviation: float = 0.0
    fast: bool = False

    @property
    def name(self) -> str:
        return f"{self.algorithm}, {self.setting}"


@dataclass(frozen=True)
class Comparison:
    """Ours (mean and standard error over the repetitions) against theirs; all in the entry's unit."""

    algorithm: str
    setting: str
    source: str
    mean: float
    error: float
    expected: float
    deviation: float

    @property
    def z(self) -> float:
        """Distance in standard errors, ours and theirs together; 0 where both are exact and equal to 1e-9."""
        error = math.hypot(self.error, self.deviation)
        distance = abs(self.mean - self.expected)
        if error == 0.0:
            return 0.0 if distance <= 1e-9 * max(1.0, abs(self.expected)) else math.inf
        return distance / error

    @property
    def agrees(self) -> bool:
        return self.z <= LIMIT


def compare(entry: Entry) -> Comparison:
    """Measure one entry."""
    seed = [int(word) for word in np.frombuffer(entry.name.encode().ljust(200)[:200], dtype=np.uint32)]
    values = np.asarray(entry.measure(np.random.default_rng(seed)), dtype=np.float64)
    expected = entry.expected() if callable(entry.expected) else entry.expected
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    return Comparison(
        entry.algorithm, entry.setting, entry.source, float(values.mean()), error, float(expected), entry.deviation
    )
