"""The information ladder: what a shop is told about drift, from nothing (L0) to the true parameters (L6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.envs.random_numbers import NOTICE, draw, key_of, unit
from perennial.envs.validation import at_least

if TYPE_CHECKING:
    from perennial.envs.drift import Drift, Offsets, Setting

LEVELS = range(7)
BOUND = 20.0
"""Entries of ``notice`` lie in [-BOUND, BOUND]; beyond they are cut."""


@dataclass(frozen=True)
class Ladder:
    """How much the shop is told. Each level tells all that the levels below it tell.

    L0 nothing, not even the calendar; L1 (default) the calendar; L2 that something changed; L3 where, by category; L4
    by how much, in logits; L5 a forecast of the coming season; L6 the true parameters.

    Arguments:
        level: 0 to 6.
        latency: days after which a change is told, >= 0. L2 to L4 look at the day `latency` days ago; L5 and L6 do not
            wait.
        window: a change is told while the parameters differ from those `window` days before, days > 0.
        threshold: by more than this, logits > 0.
        false_alarms: chance in [0, 1) of a day on which a category drawn at random is named though nothing changed.
        horizons: how far the forecast of L5 looks ahead, days.

    The columns of ``notice``: [changed (0 or 1)], then from L3 [changed (0 or 1) by category], from L4 [change of the
    attraction's offset over the window, by category, logits], from L5 [offset at each horizon less that of today, by
    horizon and category], from L6 [need and purchase by segment and category, level, log price, log examination].
    At L0 and L1 one column, zero.
    """

    level: int = 1
    latency: float = 7.0
    window: float = 28.0
    threshold: float = 0.25
    false_alarms: float = 0.01
    horizons: tuple[float, ...] = (7.0, 28.0)

    def __post_init__(self) -> None:
        if isinstance(self.level, bool) or self.level not in LEVELS:
            raise ValueError(f"'ladder.level' must be an integer from 0 to 6. Got {self.level!r}.")
        at_least("ladder.latency", self.latency, 0.0)
        for name in ("window", "threshold"):
            if at_least(f"ladder.{name}", getattr(self, name), 0.0) == 0:
                raise ValueError(f"'ladder.{name}' must be > 0. Got 0.")
        if not at_least("ladder.false_alarms", self.false_alarms, 0.0) < 1:
            raise ValueError(f"'ladder.false_alarms' must lie in [0, 1). Got {self.false_alarms!r}.")
        for horizon in self.horizons:
            at_least("ladder.horizons", horizon, 0.0)

    def columns(self, categories: int) -> int:
        """Width of ``notice`` in a shop of so many categories."""
        parts = (1, categories, categories, len(self.horizons) * categories, 4 * categories + 3)
        return sum(parts[: max(1, self.level - 1)])

    def of_day(self, day: int, drift: Drift, setting: Setting) -> NDArray[np.float32]:
        """float32 (columns,): what is told on `day`; the same at all its hours."""
        categories = len(setting.preset.categories)
        if self.level < 2:
            return np.zeros(1, np.float32)
        seen = day - self.latency
        days = np.array([seen, seen - self.window, day, *(day + ahead for ahead in self.horizons)], np.float64)
        path = drift.at(days, setting)
        offset = attraction(path)
        change = offset[0] - offset[1]
        changed = np.abs(change) > self.threshold
        if not changed.any():
            changed |= self._false_alarm(day, categories, setting.seed)
        parts = [
            changed.any()[None],
            changed,
            change,
            (offset[3:] - offset[2]).ravel(),
            path.take(slice(2, 3)).packed()[0],
        ]
        told = np.concatenate([np.asarray(part, np.float64) for part in parts[: self.level - 1]])
        return np.clip(told, -BOUND, BOUND).astype(np.float32)

    def _false_alarm(self, day: int, categories: int, seed: int) -> NDArray[np.bool_]:
        """bool (C,): at most one category, drawn at random."""
        chance, which, _, _ = draw(key_of(seed), NOTICE, day, 0, 0)
        alarm = np.zeros(categories, np.bool_)
        alarm[int(unit(which) * categories)] = unit(chance) < self.false_alarms
        return alarm


def attraction(path: Offsets) -> NDArray[np.float64]:
    """float64 (T, C): what moves the mean visitor's logit of attraction, both segments alike."""
    return np.asarray(path.need.mean(axis=1) + path.level[:, None])
