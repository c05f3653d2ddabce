"""ADWIN, River's, with a direction."""

from __future__ import annotations

from typing import Any

from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction


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

    knob = "delta"

    def __init__(
        self, direction: Direction = "down", delta: float = 0.002, clock: int = 32, min_window: int = 100
    ) -> None:
        check_direction(direction)
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
