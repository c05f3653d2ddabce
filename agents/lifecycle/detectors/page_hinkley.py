"""The Page-Hinkley test, River's."""

from __future__ import annotations

from typing import Any

from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction


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

    knob = "threshold"

    def __init__(
        self,
        direction: Direction = "down",
        delta: float = 0.005,
        threshold: float = 10.0,
        min_instances: int = 200,
        forgetting: float = 0.9999,
    ) -> None:
        check_direction(direction)
        self.direction, self.delta, self.threshold = direction, delta, threshold
        self.min_instances, self.forgetting = min_instances, forgetting
        self.reset()

    @property
    def score(self) -> float:  # type: ignore[override]  # read off River's sums when asked for
        river: Any = self._river
        fall, rise = river._max_decrease - river._sum_decrease, river._sum_increase - river._min_increase
        return float({"down": fall, "up": rise, "both": max(fall, rise)}[self.direction])

    def update(self, x: float) -> None:
        self._river.update(x)
        self.drift_detected = bool(self._river.drift_detected)

    def reset(self) -> None:
        from river.drift import PageHinkley as River

        self._river = River(self.min_instances, self.delta, self.threshold, self.forgetting, self.direction)
        self.drift_detected = False
