"""Drift detectors: `update(x)` for each value, then `drift_detected`; two classics of River's and the null object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

Direction = Literal["down", "up", "both"]


def _check_direction(direction: str) -> None:
    if direction not in ("down", "up", "both"):
        raise ValueError(f"'direction' must be 'down', 'up' or 'both'. Got {direction!r}.")


class Detector(ABC):
    """Watches one stream of numbers. ``score`` past ``threshold`` is what `drift_detected` rests on."""

    drift_detected: bool = False
    score: float = 0.0
    threshold: float = 0.0

    @abstractmethod
    def update(self, x: float) -> None:
        """Take the next value."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the stream so far: another model serves now."""


class NoDetector(Detector):
    """Never sees anything."""

    def update(self, x: float) -> None:
        """Nothing to do."""

    def reset(self) -> None:
        """Nothing to forget."""


class PageHinkley(Detector):
    """Page-Hinkley test (Page 1954): cumulated deviations from the running mean, beyond a tolerance.

    The score is the larger of the sides that `direction` names; both are River's sums, so that the alarm is River's.

    Arguments:
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        delta: deviation that is tolerated, in units of the stream.
        threshold: alarm when the cumulated rest passes it, in units of the stream x values.
        min_instances: values before the first alarm.
        forgetting: factor on the sum per value.

    >>> detector = PageHinkley(direction="down", delta=0.0, threshold=0.5, min_instances=2)
    >>> for x in (1.0, 1.0, 0.0):
    ...     detector.update(x)
    >>> detector.drift_detected, round(detector.score, 3)
    (True, 0.667)
    """

    def __init__(
        self,
        direction: Direction = "down",
        delta: float = 0.005,
        threshold: float = 10.0,
        min_instances: int = 200,
        forgetting: float = 0.9999,
    ) -> None:
        _check_direction(direction)
        self.direction, self.delta, self.threshold = direction, delta, threshold
        self.min_instances, self.forgetting = min_instances, forgetting
        self.reset()

    def update(self, x: float) -> None:
        river: Any = self._river
        river.update(x)
        fall, rise = river._max_decrease - river._sum_decrease, river._sum_increase - river._min_increase
        self.score = float({"down": fall, "up": rise, "both": max(fall, rise)}[self.direction])
        self.drift_detected = bool(river.drift_detected)

    def reset(self) -> None:
        from river.drift import PageHinkley as River

        self._river = River(self.min_instances, self.delta, self.threshold, self.forgetting, self.direction)
        self.drift_detected, self.score = False, 0.0


class Adwin(Detector):
    """ADWIN (Bifet and Gavalda 2007): a window that is cut where the means of its two parts differ too much.

    ADWIN itself sees both directions. A cut counts if the window's mean moved in `direction`; others only shorten the
    window. The score is how far the mean moved at the cut; the bound it passed is ADWIN's own, set by `delta`.

    Arguments:
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        delta: confidence of each comparison; smaller is stricter.
        clock: values between two comparisons.
        min_window: values each part needs at least.
    """

    def __init__(
        self, direction: Direction = "down", delta: float = 0.002, clock: int = 32, min_window: int = 100
    ) -> None:
        _check_direction(direction)
        self.direction, self.delta, self.clock, self.min_window = direction, delta, clock, min_window
        self.reset()

    def update(self, x: float) -> None:
        window = self._window
        total, width = window.get_total() + x, window.get_width() + 1
        cut = bool(window.update(x))
        moved = window.get_total() / window.get_width() - total / width if cut else 0.0
        self.score = {"down": -moved, "up": moved, "both": abs(moved)}[self.direction]
        self.drift_detected = cut and self.score > 0

    def reset(self) -> None:
        from river.drift import adwin

        window: Any = adwin.AdaptiveWindowing  # type: ignore[attr-defined]  # River does not list what it imports
        self._window = window(
            delta=self.delta, clock=self.clock, max_buckets=5, min_window_length=self.min_window, grace_period=10
        )
        self.drift_detected, self.score = False, 0.0
