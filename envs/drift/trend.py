"""A trend: demand moves slowly from some categories to others, and stays there."""

from __future__ import annotations

from collections.abc import Mapping

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import Ramp
from perennial.envs.drift.sizes import Sizes, moved
from perennial.envs.validation import at_least


class Trend(Drift):
    """Categories' logits move linearly to a declared total over a declared time, then stay.

    Arguments:
        strength: multiplies the sizes, >= 0.
        start, days: ISO date of the beginning, and how long it takes (> 0).
        sizes, rms, categories, segment: the totals, and who; see `Sizes`.
        draw: another number, other drawn sizes.
    """

    def __init__(
        self,
        strength: float = 1.0,
        start: str = "2010-06-01",
        days: float = 183.0,
        sizes: Mapping[str, float] | None = None,
        rms: float = 1.0,
        categories: list[str] | None = None,
        segment: int | None = None,
        draw: int = 0,
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.schedule = Ramp(start, days)
        self.sizes = Sizes(f"drift.trend.{draw}", sizes, rms, categories, segment)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return moved(self.strength * self.schedule.at(days), self.sizes.table(setting), setting)

    def describe(self) -> Declaration:
        how = f"{self.schedule.how()}; {self.sizes.words()}, x {self.strength:g}"
        return Declaration("demand by category", self.schedule.when(), how, self.sizes.who())
