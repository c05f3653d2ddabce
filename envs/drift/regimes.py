"""Recurring regimes: demand switches among a few states that come again."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import day_of, positive
from perennial.envs.drift.sizes import Sizes, moved
from perennial.envs.random_numbers import REGIME, draw, key_of, unit
from perennial.envs.validation import at_least


class Regimes(Drift):
    """K states of demand, each a drawn vector of logits by category, one at a time; each comes again.

    Time falls into blocks of `dwell_days`. In a "cycle" the regimes follow one another. At "random" every block draws
    its regime from the K alike, by the seed and the block's number: a Markov chain that stays with chance 1/K, any
    block of which is known without those before it.

    Arguments:
        strength: multiplies the sizes, >= 0.
        count: number of regimes K, >= 2.
        rms: size of each, logits; see `Sizes`.
        dwell_days: length of a block, days > 0.
        order: "cycle" or "random".
        start: ISO date on which block 0 begins; blocks before it have negative numbers.
        categories, segment: who; None: all.
    """

    def __init__(
        self,
        strength: float = 1.0,
        count: int = 3,
        rms: float = 0.7,
        dwell_days: float = 21.0,
        order: Literal["cycle", "random"] = "cycle",
        start: str = "2010-01-01",
        categories: list[str] | None = None,
        segment: int | None = None,
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.count = at_least("drift.count", count, 2)
        self.dwell_days = positive("drift.dwell_days", dwell_days)
        if order not in ("cycle", "random"):
            raise ValueError(f"'drift.order' must be 'cycle' or 'random'. Got {order!r}.")
        self.order, self.start = order, start
        self._first = day_of("drift.start", start)
        self.sizes = [Sizes(f"drift.regime.{k}", None, rms, categories, segment) for k in range(count)]

    def regime(self, days: Floats, setting: Setting) -> NDArray[np.int64]:
        """int64 (T,) in [0, K): which regime rules at `days` (T,)."""
        block = np.floor((np.asarray(days, np.float64) - self._first) / self.dwell_days).astype(np.int64)
        if self.order == "cycle":
            return block % self.count
        known, which = np.unique(block, return_inverse=True)
        key = key_of(setting.seed)
        drawn = [int(unit(draw(key, REGIME, b, 0, 0)[0]) * self.count) for b in known]
        return np.asarray(drawn, np.int64)[which]

    def change(self, days: Floats, setting: Setting) -> Offsets:
        rules = self.regime(days, setting)
        parts = [moved(1.0 * (rules == k), sizes.table(setting), setting) for k, sizes in enumerate(self.sizes)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.scaled(self.strength)

    def describe(self) -> Declaration:
        order = "in turn" if self.order == "cycle" else "drawn for every block"
        how = f"{self.count} regimes, {order}, at once; {self.sizes[0].words()}, x {self.strength:g}"
        when = f"a block every {self.dwell_days:g} days, counted from {self.start}"
        return Declaration("demand by category", when, how, self.sizes[0].who())
