"""Two windows: the first values of a watch against the newest, by population stability index or Kolmogorov-Smirnov."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle import distributions
from perennial.agents.lifecycle.detectors.base import Detector, Direction, check_direction
from perennial.agents.validation import number, whole


class TwoWindows(Detector):
    """A test each time another `current` values are there. The score is one minus its p-value.

    Memory holds both windows and no more.
    """

    knob = "alpha"

    def __init__(self, direction: Direction, alpha: float, reference: int, current: int, draws: int, seed: int) -> None:
        check_direction(direction)
        self.direction, self.alpha = direction, number("alpha", alpha, 0.0, 1.0, above=True)
        self.reference, self.current = whole("reference", reference, 2), whole("current", current, 2)
        self.draws, self.seed = whole("draws", draws, 1), whole("seed", seed, 0)
        if 1.0 / (draws + 1) > alpha:
            raise ValueError(f"'draws' must be at least 1 / alpha - 1 = {1 / alpha - 1:.0f}. Got {draws}.")
        self.threshold = 1.0 - alpha
        self._rng = np.random.default_rng(seed)
        self._values, self._held = np.empty(reference + current), 0
        self.reset()

    def update(self, x: float) -> None:
        self.first_alarm(np.array([x]))

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        if self.drift_detected:
            self.reset()
        values, taken = np.asarray(values, np.float64), 0
        while taken < len(values):
            part = values[taken : taken + len(self._values) - self._held]
            self._values[self._held : self._held + len(part)] = part
            self._held, taken = self._held + len(part), taken + len(part)
            if self._held == len(self._values):
                self._held = self.reference
                self.score = 1.0 - self._p_value(self._values[: self.reference], self._values[self.reference :])
                self.drift_detected = self.score >= self.threshold
                if self.drift_detected:
                    return taken - 1
        return None

    @abstractmethod
    def _p_value(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
        """Chance of such a difference if nothing changed; 1 if the change is not in `direction`."""

    def reset(self) -> None:
        self._held, self.drift_detected, self.score = 0, False, 0.0


class PsiWindows(TwoWindows):
    """Population stability index, judged by its null (see `distributions.psi_p_value`), not by ".1 or .2".

    It sees any change of shape; with a `direction`, it counts only if the mean moved that way.

    Arguments:
        edges: where one cell ends and the next begins; for category numbers 0.5, 1.5, ...
        direction: which change counts: a fall of the mean ("down"), a rise ("up"), or both.
        alpha: level of each test.
        reference: values at the beginning of a watch that all later ones are held against.
        current: values of each test.
        draws: random divisions, where the null is simulated.
        seed: of the divisions.
    """

    def __init__(
        self,
        edges: Sequence[float],
        direction: Direction = "down",
        alpha: float = 0.01,
        reference: int = 2000,
        current: int = 500,
        draws: int = 999,
        seed: int = 0,
    ) -> None:
        self.edges = np.asarray(edges, np.float64)
        if len(self.edges) == 0 or not (np.diff(self.edges) > 0).all():
            raise ValueError(f"'edges' must be one or more rising numbers. Got {list(edges)}.")
        super().__init__(direction, alpha, reference, current, draws, seed)

    def _p_value(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
        moved = after.mean() - before.mean()
        if (self.direction == "down" and moved >= 0) or (self.direction == "up" and moved <= 0):
            return 1.0
        a, b = (np.bincount(np.searchsorted(self.edges, x, "right"), minlength=len(self.edges) + 1)
                for x in (before, after))  # fmt: skip
        return distributions.psi_p_value(a, b, self._rng, self.draws)


class KsWindows(TwoWindows):
    """Two-sample Kolmogorov-Smirnov test, one-sided by `direction`, ties as they are (`distributions.ks_p_value`).

    Arguments:
        direction: which change counts: towards lower values ("down"), higher ones ("up"), or both.
        alpha: level of each test.
        reference: values at the beginning of a watch that all later ones are held against.
        current: values of each test.
        draws: random divisions of the pooled values.
        seed: of the divisions.
    """

    def __init__(
        self,
        direction: Direction = "down",
        alpha: float = 0.01,
        reference: int = 2000,
        current: int = 500,
        draws: int = 999,
        seed: int = 0,
    ) -> None:
        super().__init__(direction, alpha, reference, current, draws, seed)

    def _p_value(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
        levels, at = np.unique(np.concatenate([before, after]), return_inverse=True)
        a = np.bincount(at[: len(before)], minlength=len(levels))
        b = np.bincount(at[len(before) :], minlength=len(levels))
        return distributions.ks_p_value(a, b, self._rng, self.draws, self.direction)
