"""What every detector is, and the two that do not look: one never fires, one always does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Direction = Literal["down", "up", "both"]
"""Which change counts: a fall of the stream, a rise, or both. More clicks than before are no reason to panic."""


def check_direction(direction: str) -> None:
    if direction not in ("down", "up", "both"):
        raise ValueError(f"'direction' must be 'down', 'up' or 'both'. Got {direction!r}.")


class Detector(ABC):
    """Watches one stream of numbers. ``score`` past ``threshold`` is what `drift_detected` rests on.

    An alarm ends a watch: `drift_detected` holds until the next `update`, which starts afresh (ADWIN: goes on with the
    newer part of its window).
    """

    drift_detected: bool = False
    score: float = 0.0
    threshold: float = 0.0
    knob: ClassVar[str] = ""
    """The argument that decides how easily it alarms: a threshold, or the level or confidence of a test."""

    @abstractmethod
    def update(self, x: float) -> None:
        """Take the next value."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the stream so far: another model serves now."""

    def at(self, tick: int) -> None:  # noqa: B027 (most detectors know no calendar)
        """The values that follow belong to the day of hour `tick`."""

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        """Take `values`, float64 (n,), up to the first that raises an alarm: its index, or None if none does."""
        for index, x in enumerate(np.asarray(values, np.float64).tolist()):
            self.update(x)
            if self.drift_detected:
                return index
        return None


class NoDetector(Detector):
    """Never sees anything."""

    def update(self, x: float) -> None:
        """Nothing to do."""

    def reset(self) -> None:
        """Nothing to forget."""


class AlwaysDetector(Detector):
    """Sees a drift in every value: what an alarm is worth that tells nothing."""

    def update(self, x: float) -> None:
        self.drift_detected, self.score = True, 1.0

    def reset(self) -> None:
        self.drift_detected, self.score = False, 0.0
