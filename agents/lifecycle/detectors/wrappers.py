"""Detectors around a detector: means of several values, and what a stream keeps once its season is taken off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle.detectors.base import Detector
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.validation import number, whole

YEAR_DAYS = 365.25
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
"""Its multiples, less their whole parts, spread most evenly over [0, 1)."""
ROUNDING = 1e-9
"""Of a step: a value on the grid stays there."""


class Wrapper(Detector):
    """Alarm, score and threshold are the inner detector's."""

    def __init__(self, detector: Detector) -> None:
        if not isinstance(detector, Detector):
            raise TypeError(f"'detector' must be a Detector. Got {type(detector).__name__}: {detector!r}.")
        self.detector = detector

    @property
    def drift_detected(self) -> bool:  # type: ignore[override]  # the inner detector's
        return self._heard and self.detector.drift_detected

    @property
    def score(self) -> float:  # type: ignore[override]
        return self.detector.score

    @property
    def threshold(self) -> float:  # type: ignore[override]
        return self.detector.threshold

    _heard = False
    """The newest value reached the inner detector, so that its alarm is about it."""

    def at(self, tick: int) -> None:
        self.detector.at(tick)

    def reset(self) -> None:
        self.detector.reset()
        self._heard = False


class Batched(Wrapper):
    """Hands on the mean of each `size` values as one: near-continuous where the values tie, cheap where they are many.

    Arguments:
        detector: what watches the means.
        size: values to a mean.
    """

    def __init__(self, detector: Detector, size: int = 50) -> None:
        super().__init__(detector)
        self.size = whole("size", size, 1)
        self._sum, self._held = 0.0, 0

    def update(self, x: float) -> None:
        self._sum, self._held = self._sum + x, self._held + 1
        self._heard = self._held == self.size
        if self._heard:
            self.detector.update(self._sum / self.size)
            self._sum, self._held = 0.0, 0

    def reset(self) -> None:
        super().reset()
        self._sum, self._held = 0.0, 0


class Deseasonalised(Wrapper):
    """Watches what is left of a stream when its yearly course and its week are taken off.

    The course is learned from the stream's own days: weighted least squares of the daily means on harmonics of the year
    and of the week (harmonic regression, Young, Pedregal and Tych 1999), each day counting as much as its values, again
    each day. Until `history_days` have passed, nothing is handed on: less than a year of history cannot tell season
    from drift. The level stays in; judging it is the inner detector's part, which starts afresh with each new model,
    while the course is kept.

    A stream of few distinct values, such as clicks per slot, needs a `step` if a test of shape (KS, PSI) watches it:
    that takes the ties of two days, moved apart by the least difference of their courses, for two distributions. What
    is left is then rounded to a whole step, up as often as the mean asks for (stochastic rounding, Forsythe 1950), in
    turns of Weyl's sequence (1916) instead of at random, so that the same stream leaves the same.

    Arguments:
        detector: what watches the rest.
        history_days: days of the stream before it does.
        harmonics: of the year.
        weekly: harmonics of the week, up to 3.
        step: between two neighbouring values of the stream; 0: what is left is handed on as it is.
    """

    def __init__(
        self, detector: Detector, history_days: int = 365, harmonics: int = 4, weekly: int = 3, step: float = 0.0
    ) -> None:
        super().__init__(detector)
        self.history_days = whole("history_days", history_days, 1)
        self.harmonics, self.weekly = whole("harmonics", harmonics, 1), whole("weekly", weekly, 0)
        if weekly > 3:
            raise ValueError(f"'weekly' must be at most 3, which any course of seven days needs. Got {weekly}.")
        self.step, self._seen = number("step", step, 0.0), 0
        size = 1 + 2 * (harmonics + weekly)
        self._left, self._right = np.zeros((size, size)), np.zeros(size)
        self._day, self._first = -1, -1
        self._sum, self._count = 0.0, 0
        self._off: float | None = None

    def at(self, tick: int) -> None:
        day = tick // HOURS
        if day == self._day:
            return
        self._close()
        self._day, self._sum, self._count = day, 0.0, 0
        self._first = day if self._first < 0 else self._first
        self._off = self._expected(day) if day - self._first >= self.history_days else None
        self.detector.at(tick)

    def update(self, x: float) -> None:
        rest = self._rest(np.array([x]))
        self._take(x, 1)
        if self._heard:
            self.detector.update(float(rest[0]))

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        values = np.asarray(values, np.float64)
        if self._off is None:
            self._take(float(values.sum()), len(values))
            return None
        self._heard = len(values) > 0
        found = self.detector.first_alarm(self._rest(values))
        seen = values if found is None else values[: found + 1]
        self._take(float(seen.sum()), len(seen))
        return found

    def _rest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next values of the stream without the day's course, in whole steps where they come in steps."""
        rest = values - (self._off or 0.0)
        if self.step == 0.0:
            return rest
        places = (self._seen + np.arange(len(values))) * GOLDEN % 1.0
        return self.step * np.floor(rest / self.step + places + ROUNDING)

    def _take(self, total: float, count: int) -> None:
        if self._day < 0:
            raise RuntimeError("Deseasonalised must know the day: call at(tick) before values are handed in.")
        self._sum, self._count, self._seen = self._sum + total, self._count + count, self._seen + count
        self._heard = self._off is not None

    def _close(self) -> None:
        """The day that ended becomes a row of the regression."""
        if self._count:
            row = self._row(self._day)
            self._left += self._count * np.outer(row, row)
            self._right += self._sum * row

    def _expected(self, day: int) -> float:
        """How far the course of the year and the week lies from its own middle on `day`."""
        weights, *_ = np.linalg.lstsq(self._left, self._right, rcond=1e-12)
        return float(self._row(day)[1:] @ weights[1:])

    def _row(self, day: int) -> NDArray[np.float64]:
        """float64 (1 + 2 (harmonics + weekly),): one, then sines and cosines of the year and the week."""
        year = 2 * np.pi * day / YEAR_DAYS * np.arange(1, self.harmonics + 1)
        week = 2 * np.pi * day / 7.0 * np.arange(1, self.weekly + 1)
        phase = np.concatenate([year, week])
        return np.concatenate([[1.0], np.sin(phase), np.cos(phase)])
