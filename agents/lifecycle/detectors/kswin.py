"""KSWIN, River's, with a direction."""

from __future__ import annotations

from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction
from perennial.agents.validation import number, whole


class Kswin(Detector):
    """KSWIN (Raab, Heusinger and Schleif 2020): the newest values against a random sample of those before.

    The test is SciPy's two-sample Kolmogorov-Smirnov one, which grows timid on values with many ties: feed it means of
    several values (`Batched`). KSWIN itself sees both directions; an alarm counts if the newest values' mean lies in
    `direction` of the older ones', others only empty the window. The score is one minus the p-value, the threshold one
    minus `alpha`. A new watch draws the same samples again.

    Arguments:
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        alpha: level of each test.
        window: values that are kept.
        newest: values at the window's end that are held against the others.
        seed: of the samples.
    """

    knob = "alpha"

    def __init__(
        self, direction: Direction = "down", alpha: float = 0.005, window: int = 100, newest: int = 30, seed: int = 0
    ) -> None:
        check_direction(direction)
        self.direction, self.alpha = direction, number("alpha", alpha, 0.0, 1.0)
        self.window, self.newest, self.seed = whole("window", window, 2), whole("newest", newest, 1), seed
        if 2 * newest > window:
            raise ValueError(f"'window' must hold at least twice the 'newest' values, {2 * newest}. Got {window}.")
        self.threshold = 1.0 - alpha
        self.reset()

    def update(self, x: float) -> None:
        river = self._river
        full = len(river.window) == self.window
        self._total += x - (river.window[0] if full else 0.0)
        river.update(x)
        self.score = 1.0 - float(river.p_value) if river.n >= self.window else 0.0
        alarm, self.drift_detected = bool(river.drift_detected), False
        if alarm:
            recent = float(sum(river.window))
            moved = recent / self.newest - (self._total - recent) / (self.window - self.newest)
            self.drift_detected = {"down": moved < 0, "up": moved > 0, "both": True}[self.direction]
            self._begin()

    def reset(self) -> None:
        self.drift_detected, self.score = False, 0.0
        self._begin()

    def _begin(self) -> None:
        from river import drift  # with pandas and scikit-learn: not before it is needed

        self._river, self._total = drift.KSWIN(self.alpha, self.window, self.newest, self.seed), 0.0
