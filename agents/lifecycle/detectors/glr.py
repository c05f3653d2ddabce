"""The generalised likelihood ratio test for a change at an unknown moment, between unknown levels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction
from perennial.agents.validation import number, one_of, whole

Family = Literal["bernoulli", "gaussian"]


class Glr(Detector):
    """GLR: the largest log-likelihood ratio of "the mean changed after value s" to "it never did", over s.

    With means a of the s values before, b of the r after, m of all: s kl(a, m) + r kl(b, m). "bernoulli" takes kl of
    coins, right for 0/1 and cautious for other values in [0, 1] (Besson, Kaufmann, Maillard and Seznec 2022);
    "gaussian" takes (a - m)^2 / (2 variance), with the window's variance where `sd` is not given. To bound time and
    memory only ends of blocks are tried, and only the last blocks are kept (Lai 1995, window-limited).

    Arguments:
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        family: "bernoulli" or "gaussian".
        threshold: alarm when the ratio passes it, in nats.
        block: values between two moments that are tried.
        blocks: blocks that are kept.
        sd: the values' standard deviation, for "gaussian"; None = the window's.
    """

    knob = "threshold"

    def __init__(
        self,
        direction: Direction = "down",
        family: Family = "bernoulli",
        threshold: float = 10.0,
        block: int = 50,
        blocks: int = 200,
        sd: float | None = None,
    ) -> None:
        check_direction(direction)
        one_of("family", family, ("bernoulli", "gaussian"))
        self.direction, self.family = direction, family
        self.threshold = number("threshold", threshold, 0.0, above=True)
        self.block, self.blocks = whole("block", block, 1), whole("blocks", blocks, 2)
        self.sd = None if sd is None else number("sd", sd, 0.0, above=True)
        self._sums = np.zeros((self.blocks, 2))
        self._state = np.zeros(2, np.int64)
        self._score = np.zeros(1)
        self.reset()

    @property
    def score(self) -> float:  # type: ignore[override]  # the newest test's ratio
        return float(self._score[0])

    def update(self, x: float) -> None:
        self.first_alarm(np.array([x], np.float64))

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        values = np.ascontiguousarray(values, np.float64)
        if self.family == "bernoulli" and len(values) and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"Values must lie in [0, 1] for family 'bernoulli'. Got {values.min()} to {values.max()}.")
        if self.drift_detected:
            self.reset()
        found = _advance(
            self._sums,
            self._state,
            self._score,
            values,
            self.block,
            self.threshold,
            self.family == "bernoulli",
            self.sd or 0.0,
            self.direction != "up",
            self.direction != "down",
        )
        self.drift_detected = found >= 0
        return found if self.drift_detected else None

    def reset(self) -> None:
        self._sums[:], self._state[:], self._score[:] = 0.0, 0, 0.0
        self.drift_detected = False


@njit(cache=True, error_model="numpy")
def _coin(p, q):  # type: ignore[no-untyped-def]
    """Relative entropy of coins with chances p and q, in nats."""
    total = 0.0
    if p > 0.0:
        total += p * np.log(p / q)
    if p < 1.0:
        total += (1.0 - p) * np.log((1.0 - p) / (1.0 - q))
    return total


@njit(cache=True, error_model="numpy")
def _ratio(sums, used, block, coins, sd, fall, rise):  # type: ignore[no-untyped-def]
    """The largest ratio over the ends of the `used` blocks; `sums` float64 (blocks, 2): of values, of squares."""
    total, squares = 0.0, 0.0
    for j in range(used):
        total += sums[j, 0]
        squares += sums[j, 1]
    n = used * block
    mean = total / n
    variance = sd * sd if sd > 0.0 else max(squares / n - mean * mean, 1e-12)
    best, before = 0.0, 0.0
    for j in range(used - 1):
        before += sums[j, 0]
        s = (j + 1) * block
        a, b = before / s, (total - before) / (n - s)
        if (b < a and fall) or (b > a and rise):
            if coins:
                found = s * _coin(a, mean) + (n - s) * _coin(b, mean)
            else:
                found = (s * (a - mean) ** 2 + (n - s) * (b - mean) ** 2) / (2.0 * variance)
            best = max(best, found)
    return best


@njit(cache=True, error_model="numpy")
def _advance(sums, state, score, values, block, threshold, coins, sd, fall, rise):  # type: ignore[no-untyped-def]
    """Take `values`; `state` int64 (2,): blocks in use, values in the newest. Index of the first alarm or -1."""
    for i in range(len(values)):
        if state[1] == 0:
            if state[0] == len(sums):
                sums[:-1] = sums[1:].copy()
                state[0] -= 1
            sums[state[0]] = 0.0
            state[0] += 1
        x, newest = values[i], state[0] - 1
        sums[newest, 0] += x
        sums[newest, 1] += x * x
        state[1] += 1
        if state[1] == block:
            state[1] = 0
            score[0] = _ratio(sums, state[0], block, coins, sd, fall, rise)
            if score[0] > threshold:
                return i
    return -1
