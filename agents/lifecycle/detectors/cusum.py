"""The cumulative-sum chart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction
from perennial.agents.validation import number, whole

SEEN, MEAN, SQUARES, FALL, RISE = range(5)


class Cusum(Detector):
    """CUSUM (Page 1954): the sum of how far the values lie from the reference mean, beyond a tolerance, never below 0.

    In units of the reference's standard deviation, with z the standardised value: fall = max(0, fall - z - drift),
    rise = max(0, rise + z - drift); an alarm when it passes `threshold`. Best for a lasting change of 2 x `drift`
    (Moustakides 1986). The reference is given, or learned from the first values of each watch.

    Arguments:
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        drift: deviation that is tolerated, in standard deviations.
        threshold: alarm when the sum passes it, in standard deviations.
        warmup: values from which the reference is learned, where it is not given.
        mean, sd: the reference, both or neither.

    >>> detector = Cusum(drift=0.5, threshold=4.0, mean=0.0, sd=1.0)
    >>> detector.first_alarm([0.0, -2.0, -2.0, -2.0])
    3
    """

    knob = "threshold"

    def __init__(
        self,
        direction: Direction = "down",
        drift: float = 0.1,
        threshold: float = 10.0,
        warmup: int = 500,
        mean: float | None = None,
        sd: float | None = None,
    ) -> None:
        check_direction(direction)
        if (mean is None) != (sd is None):
            raise ValueError(f"'mean' and 'sd' must be given both or neither. Got mean={mean}, sd={sd}.")
        self.direction, self.drift = direction, number("drift", drift, 0.0)
        self.threshold = number("threshold", threshold, 0.0, above=True)
        self.mean, self.sd = mean, None if sd is None else number("sd", sd, 0.0, above=True)
        self.warmup = whole("warmup", warmup, 2)
        self._learn = 0 if mean is not None else self.warmup
        self._state = np.zeros(5)
        self.reset()

    @property
    def score(self) -> float:  # type: ignore[override]  # the sums hold it
        sides = {"down": (FALL,), "up": (RISE,), "both": (FALL, RISE)}[self.direction]
        return float(max(self._state[side] for side in sides))

    def update(self, x: float) -> None:
        self.first_alarm(np.array([x], np.float64))

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        if self.drift_detected:
            self.reset()
        found = _advance(
            self._state,
            np.ascontiguousarray(values, np.float64),
            self._learn,
            math.nan if self.sd is None else self.sd,
            self.drift,
            self.threshold if self.direction != "up" else math.inf,
            self.threshold if self.direction != "down" else math.inf,
        )
        self.drift_detected = found >= 0
        return found if self.drift_detected else None

    def reset(self) -> None:
        self._state[:] = 0.0
        self._state[MEAN] = self.mean if self.mean is not None else 0.0
        self.drift_detected = False


@njit(cache=True, error_model="numpy")
def _advance(state, values, learn, sd, drift, fall_limit, rise_limit):  # type: ignore[no-untyped-def]
    """Take `values` float64 (n,) into `state` float64 (5,); index of the first alarm, where it stops, or -1."""
    for i in range(len(values)):
        x = values[i]
        state[SEEN] += 1.0
        if state[SEEN] <= learn:
            off = x - state[MEAN]
            state[MEAN] += off / state[SEEN]
            state[SQUARES] += off * (x - state[MEAN])
            continue
        scale = sd if learn == 0 else max(np.sqrt(state[SQUARES] / (learn - 1)), 1e-12)
        z = (x - state[MEAN]) / scale
        state[FALL] = max(0.0, state[FALL] - z - drift)
        state[RISE] = max(0.0, state[RISE] + z - drift)
        if state[FALL] > fall_limit or state[RISE] > rise_limit:
            return i
    return -1
