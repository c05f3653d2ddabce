"""When to restart: an alarm over the hourly mean of what is learned, whose whole state fits a few numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.validation import number, saved, whole


class Alarm(ABC):
    """Watches pages in the order of their ticks and names the tick from which on to learn anew.

    What it says depends on the pages alone, not on how they were cut into batches.
    """

    @abstractmethod
    def begin(self) -> None:
        """Forget the stream."""

    @abstractmethod
    def watch(self, ticks: NDArray[np.int64], values: Floats) -> int:
        """Take pages, ticks (P,) not falling and one value (P,) each; the newest restart's tick, -1 if there is none.

        Called again, it says only what the new pages caused.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]: ...

    @abstractmethod
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None: ...


class Cusum(Alarm):
    """Two-sided CUSUM (Page 1954) of each hour's mean against the mean since the last restart.

    With n pages of mean m in the hour, and N pages of mean M and standard deviation s before it, the hour's step is
    ``z = (m - M) / (s sqrt(1/n + 1/N))``; the sums are ``max(0, sum + z - drift)`` and ``max(0, sum - z - drift)``, and
    the alarm rings when one passes `threshold`. An hour is judged when a page of a later hour comes. The restart is at
    the end of the hour that rang. Hours in a row in one direction are what it finds, so the shop's daily rhythm of
    clicks, should it have one, has to fit within `drift`.

    Arguments
    ---------
    drift : deviation that is tolerated, in standard deviations, >= 0
    threshold : of the sums, in standard deviations, > 0
    warm_up : pages after a restart before hours are judged, >= 2
    """

    def __init__(self, drift: float = 0.5, threshold: float = 12.0, warm_up: int = 2000) -> None:
        self.drift = number("drift", drift, 0.0)
        self.threshold = number("threshold", threshold, 0.0, above=True)
        self.warm_up = whole("warm_up", warm_up, 2)
        self.begin()

    def begin(self) -> None:
        self._hour = np.full(1, -1, dtype=np.int64)  # the hour still open
        self._open = np.zeros(3)  # pages, sum, sum of squares of that hour
        self._past = np.zeros(3)  # the same of the hours since the restart
        self.sums = np.zeros(2)  # upward, downward

    def watch(self, ticks: NDArray[np.int64], values: Floats) -> int:
        order = np.argsort(ticks, kind="stable")
        hours, first = np.unique(ticks[order], return_index=True)
        moments = np.stack([np.ones_like(values), values, values**2])[:, order]
        restart = -1
        for hour, part in zip(hours.tolist(), np.add.reduceat(moments, first, axis=1).T):
            if hour > self._hour[0]:
                restart = self._close() or restart
                self._hour[0] = hour
            self._open += part
        return restart

    def _close(self) -> int:
        """Judge the open hour; the tick after it if the alarm rings, else 0."""
        (n, total, _), (past, past_total, past_squares) = self._open, self._past
        mean = past_total / max(past, 1.0)
        variance = past_squares / max(past, 1.0) - mean**2
        if past >= self.warm_up and n > 0 and variance > 0:
            z = (total / n - mean) / np.sqrt(variance * (1 / n + 1 / past))
            self.sums = np.maximum(0.0, self.sums + np.array([z, -z]) - self.drift)
        self._past = self._past + self._open
        self._open = np.zeros(3)
        if self.sums.max() <= self.threshold:
            return 0
        self._past, self.sums = np.zeros(3), np.zeros(2)
        return int(self._hour[0]) + 1

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "hour": self._hour.copy(),
            "open": self._open.copy(),
            "past": self._past.copy(),
            "sums": self.sums.copy(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._hour, self._open = saved(state, "hour", (1,)), saved(state, "open", (3,))
        self._past, self.sums = saved(state, "past", (3,)), saved(state, "sums", (2,))
