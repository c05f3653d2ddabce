"""A shock: demand jumps between categories within days, for ever or for a while."""

from __future__ import annotations

from collections.abc import Mapping

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import Pulse
from perennial.envs.drift.sizes import Sizes, moved
from perennial.envs.validation import at_least


class Shock(Drift):
    """Categories' logits jump on a declared day and, if so declared, come back.

    Arguments:
        strength: multiplies the sizes, >= 0.
        start: ISO date of the onset.
        rise_days, hold_days, half_life_days: see `Pulse`; a half-life of None: it never returns.
        sizes, rms, categories, segment: how far, and who; see `Sizes`.
        draw: another number, other drawn sizes.
    """

    def __init__(
        self,
        strength: float = 1.0,
        start: str = "2010-10-01",
        rise_days: float = 3.0,
        hold_days: float = 21.0,
        half_life_days: float | None = 14.0,
        sizes: Mapping[str, float] | None = None,
        rms: float = 1.0,
        categories: list[str] | None = None,
        segment: int | None = None,
        draw: int = 0,
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.schedule = Pulse(start, rise_days, hold_days, half_life_days)
        self.sizes = Sizes(f"drift.shock.{draw}", sizes, rms, categories, segment)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return moved(self.strength * self.schedule.at(days), self.sizes.table(setting), setting)

    def describe(self) -> Declaration:
        how = f"{self.schedule.how()}; {self.sizes.words()}, x {self.strength:g}"
        return Declaration("demand by category", self.schedule.when(), how, self.sizes.who())
