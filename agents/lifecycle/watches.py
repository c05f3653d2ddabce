"""Watches: figures of the newest days against those before, and the smallest drift each could have seen.

Every watch keeps one small sum per day and forgets the days it no longer needs; none looks at the log again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from perennial.agents.base import Feedback
from perennial.agents.lifecycle import distributions
from perennial.agents.lifecycle.daily import Days, estimate
from perennial.agents.validation import one_of, whole

PREDICTED = "predicted_clicks"
"""Name in `Decision.extras` of float (B, K): the agent's own chance of a click on each slot of its slate.

NaN or 0: none given, as on pages that another model of a test served."""

ROUNDING = 1e-9
"""Of a mean: less scatter than this is none. A figure without scatter, such as a declared cost, moved if it moved."""

FIRST_DRAWS, WORTH_A_LOOK = 199, 0.1
"""Random divisions of a first look; only where its p-value is as small does a second look draw them all."""


@dataclass(frozen=True)
class Step:
    """What a watch sees of some hours: the pages, visits that ended and those of them without a click."""

    pages: Feedback
    visits_ended: int
    bounces: int


@dataclass(frozen=True)
class Finding:
    """A comparison of two spans of days: `reference` and `current` figures, the `score` of the test, its chance under
    no drift, what it rests on (values), and the smallest drift seen with 80 % power at the level asked for."""

    reference: float
    current: float
    score: float
    p_value: float
    reference_values: int
    current_values: int
    smallest: float


class Watch(ABC):
    """One figure; ``test`` names how its spans are compared."""

    test = "mean"

    def __init__(self, name: str, reference_days: int, current_days: int) -> None:
        self.name = name
        self.reference_days = whole("reference_days", reference_days, 2)
        self.current_days = whole("current_days", current_days, 2)

    @abstractmethod
    def add(self, step: Step) -> None:
        """Count some hours."""

    @abstractmethod
    def close(self) -> None:
        """The day is over."""

    @abstractmethod
    def judge(self, alpha: float) -> Finding | None:
        """The newest `current_days` against the `reference_days` before; None while there are not as many."""

    @property
    @abstractmethod
    def told(self) -> bool:
        """Whether any remembered day holds a value: where none does, nothing is watched."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """What goes into the day's record."""


def remembered(thing: Any) -> dict[str, Any]:
    """What a watch, or a `Binned` within it, has counted: all that it holds but the functions that it counts by."""
    parts = {name: remembered(value) for name, value in vars(thing).items() if isinstance(value, Binned)}
    return {name: value for name, value in vars(thing).items() if not callable(value)} | parts


def recall(thing: Any, kept: Mapping[str, Any]) -> None:
    """Take back what `remembered` gave, into a thing built alike."""
    for name, value in kept.items():
        if isinstance(held := getattr(thing, name), Binned):
            recall(held, value)
        else:
            setattr(thing, name, value)


class MeanWatch(Watch):
    """A mean per value, by a Welch test (1947) on days.

    Arguments:
        name: of the figure.
        count: gives how many values some hours hold and their sum.
        worse: the change that matters: "down", "up" or "both".
        reference_days, current_days: the spans.
    """

    def __init__(
        self,
        name: str,
        count: Callable[[Step], tuple[int, float]],
        worse: str = "down",
        reference_days: int = 28,
        current_days: int = 7,
    ) -> None:
        super().__init__(name, reference_days, current_days)
        self.count, self.worse = count, one_of("worse", worse, ("down", "up", "both"))
        self._days = Days(reference_days + current_days)

    def add(self, step: Step) -> None:
        self._days.add(*self.count(step))

    def close(self) -> None:
        self._days.close()

    def judge(self, alpha: float) -> Finding | None:
        days = list(self._days.closed)
        if len(days) < self.reference_days + self.current_days:
            return None
        before, after = estimate(days[: self.reference_days]), estimate(days[self.reference_days :])
        errors, least = (before.error, after.error), ROUNDING * max(abs(before.mean), abs(after.mean))
        moves = sum(errors) > least or abs(after.mean - before.mean) > least
        if not sum(errors) >= 0 or not moves:  # no values on two days, or all of them the same
            return None
        parts = [max(each, least) ** 2 for each in errors]
        error = math.sqrt(sum(parts))
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / (before.days - 1) + parts[1] ** 2 / (after.days - 1))
        t = (after.mean - before.mean) / error
        score = {"down": -t, "up": t, "both": abs(t)}[self.worse]
        sides = 2 if self.worse == "both" else 1
        return Finding(
            before.mean,
            after.mean,
            score,
            float(sides * stats.t.sf(score, freedom)),
            before.values,
            after.values,
            distributions.smallest_shift(error, alpha, sides=sides, freedom=freedom),
        )

    @property
    def told(self) -> bool:
        return any(count for count, _ in self._days.closed)

    def figures(self) -> dict[str, float]:
        days = self._days.closed
        return {self.name: days[-1][1] / days[-1][0] if days and days[-1][0] else math.nan}


class DailyWatch(MeanWatch):
    """A mean over days of something that only a whole day has, such as the share of the catalogue that was shown."""

    def __init__(
        self,
        name: str,
        items: int,
        figure: Callable[[NDArray[np.int64]], float],
        worse: str,
        reference_days: int = 28,
        current_days: int = 7,
    ) -> None:
        super().__init__(name, lambda step: (0, 0.0), worse, reference_days, current_days)
        self.figure, self._shown = figure, np.zeros(items, np.int64)

    def add(self, step: Step) -> None:
        self._shown += np.bincount(step.pages.slate_items.ravel(), minlength=len(self._shown))

    def close(self) -> None:
        if self._shown.any():
            self._days.add(1, self.figure(self._shown))
        self._shown[:] = 0
        super().close()


def coverage(shown: NDArray[np.int64]) -> float:
    """Share of the items that were shown at all."""
    return float((shown > 0).mean())


def concentration(shown: NDArray[np.int64]) -> float:
    """Gini index (1912) of the exposures: 0 where all items are shown alike, towards 1 where one takes all.

    >>> concentration(np.array([1, 1, 1, 1])), concentration(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    rising, n = np.sort(shown).astype(np.float64), len(shown)
    return float((2 * np.arange(1, n + 1) - n - 1) @ rising / (n * rising.sum()))


class CalibrationWatch(MeanWatch):
    """Clicks less the agent's own chance of them, per slot it predicted; with the expected calibration error.

    The error is the mean over `cells` equal cells of the prediction, weighted by their slots, of how far clicks and
    predictions lie apart (Naeini, Cooper and Hauskrecht 2015). Pages shown by exploration carry no prediction.
    """

    def __init__(self, cells: int = 20, reference_days: int = 28, current_days: int = 7) -> None:
        super().__init__("calibration", self._miss, "both", reference_days, current_days)
        self.cells = cells
        self._today = np.zeros((3, cells))
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=current_days)

    def _miss(self, step: Step) -> tuple[int, float]:
        predicted, clicked = predictions(step.pages)
        return predicted.size, float(clicked.sum() - predicted.sum())

    def add(self, step: Step) -> None:
        super().add(step)
        predicted, clicked = predictions(step.pages)
        cell = np.clip((predicted * self.cells).astype(np.int64), 0, self.cells - 1)
        for row, weights in enumerate((None, predicted, clicked)):
            self._today[row] += np.bincount(cell, weights, self.cells)

    def close(self) -> None:
        super().close()
        self._recent.append(self._today)
        self._today = np.zeros((3, self.cells))

    def reliability(self) -> NDArray[np.float64]:
        """float64 (3, cells): slots, sum of predictions, sum of clicks of each cell, over the current days."""
        return np.sum(self._recent, axis=0) if self._recent else np.zeros((3, self.cells))

    def figures(self) -> dict[str, float]:
        count, predicted, clicked = self.reliability()
        if not count.sum():
            return {}
        return super().figures() | {
            "expected_calibration_error": float(np.abs(clicked - predicted).sum() / count.sum())
        }


def predictions(pages: Feedback) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64 (n,) each: predicted chances, and clicks 0/1, of the slots that carry a prediction."""
    if PREDICTED not in pages.extras:
        return np.empty(0), np.empty(0)
    own = ~pages.explored
    predicted, clicked = pages.extras[PREDICTED][own].ravel(), pages.clicked[own].ravel()
    known = predicted > 0.0
    return predicted[known].astype(np.float64), clicked[known].astype(np.float64)


class CellWatch(Watch):
    """How values fall into cells: population stability index, or Kolmogorov-Smirnov where the cells have an order.

    Values of a day are alike, as visitors come back: counts are divided by how much more the reference days differ from
    each other than independent values would (Rao and Scott 1981, first order), and never multiplied.

    Arguments:
        name: of the figure.
        cells: gives counts int64 (B,) of some hours.
        test: "psi" or "ks".
        reference_days, current_days: the spans.
        draws, seed: of the tests' random divisions.
    """

    def __init__(
        self,
        name: str,
        cells: Callable[[Step], NDArray[np.int64]],
        test: str = "psi",
        reference_days: int = 28,
        current_days: int = 7,
        draws: int = 9999,
        seed: int = 0,
    ) -> None:
        super().__init__(name, reference_days, current_days)
        self.cells, self.test = cells, one_of("test", test, ("psi", "ks"))
        self.draws, self._rng = draws, np.random.default_rng(seed)
        self._today: Any = 0
        self._days: NDArray[np.int64] = np.empty((0, 0), np.int64)

    def add(self, step: Step) -> None:
        self._today = self._today + self.cells(step)

    def close(self) -> None:
        if np.ndim(self._today):
            kept = self._days[1 - self.reference_days - self.current_days :]
            self._days = np.concatenate([kept.reshape(-1, len(self._today)), self._today[None]])
        self._today = 0

    def judge(self, alpha: float) -> Finding | None:
        if len(self._days) < self.reference_days + self.current_days:
            return None
        days = self._days
        before, after = days[: self.reference_days].sum(axis=0), days[self.reference_days :].sum(axis=0)
        if not (before.any() and after.any()):
            return None
        extra = overdispersion(days[: self.reference_days])
        a, b = (np.rint(part / extra).astype(np.int64) for part in (before, after))
        if not (a.any() and b.any()):
            return None
        n, m, used = int(a.sum()), int(b.sum()), int(((a + b) > 0).sum())
        if self.test == "psi":
            found, chance = distributions.psi(a, b), distributions.psi_p_value
            smallest = distributions.smallest_index(used, n, m, alpha)
        else:
            found, chance = distributions.ks(a, b), distributions.ks_p_value
            smallest = distributions.smallest_distance(n, m, alpha)
        p_value = chance(a, b, self._rng, FIRST_DRAWS)
        if p_value <= WORTH_A_LOOK:
            p_value = chance(a, b, self._rng, self.draws)
        return Finding(0.0, found, found, p_value, int(before.sum()), int(after.sum()), smallest)

    @property
    def told(self) -> bool:
        return bool(self._days.any())

    def figures(self) -> dict[str, float]:
        days, current = self._days, self.current_days
        before, after = days[:-current].sum(axis=0), days[-current:].sum(axis=0)
        if not (before.any() and after.any()):
            return {}
        measure = distributions.psi if self.test == "psi" else distributions.ks
        return {f"{self.test}/{self.name}": measure(before, after)}


def overdispersion(days: NDArray[np.int64]) -> float:
    """Pearson's chi-square of `days` (D, B) against one distribution, over its degrees of freedom; at least 1."""
    used = days[days.any(axis=1)][:, days.any(axis=0)]
    if min(used.shape) < 2:
        return 1.0
    fitted = np.outer(used.sum(axis=1), used.sum(axis=0)) / used.sum()
    return max(1.0, float(((used - fitted) ** 2 / fitted).sum() / ((used.shape[0] - 1) * (used.shape[1] - 1))))


class Binned:
    """Counts values in cells between the deciles of the first ones it meets, which it holds until there are enough.

    Arguments:
        values: gives the values float (n,) of some hours.
        cells: how many.
        enough: values the cells' edges are taken from.
    """

    def __init__(self, values: Callable[[Step], NDArray[Any]], cells: int = 10, enough: int = 200) -> None:
        self.values, self.cells, self.enough = values, cells, enough
        self._edges: NDArray[np.float64] | None = None
        self._first: list[NDArray[Any]] = []

    def __call__(self, step: Step) -> NDArray[np.int64]:
        values = self.values(step)
        if self._edges is None:
            self._first.append(values)
            if sum(map(len, self._first)) < self.enough:
                return np.zeros(self.cells, np.int64)
            values, self._first = np.concatenate(self._first), []
            self._edges = np.quantile(values, np.arange(1, self.cells) / self.cells)
        return np.bincount(np.searchsorted(self._edges, values, "right"), minlength=self.cells)
