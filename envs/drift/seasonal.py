"""The season fitted to a shop, the same every year."""

from __future__ import annotations

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.validation import at_least


class Seasonal(Drift):
    """The preset's season, its swing around the year's mean multiplied by `strength` (>= 0; 1 is as fitted)."""

    backdrop = True

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return setting.season.swing(days).scaled(self.strength)

    def describe(self) -> Declaration:
        return Declaration("the season", "the same every year", f"fitted annual harmonics, x {self.strength:g}")
