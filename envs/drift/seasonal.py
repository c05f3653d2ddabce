"""The season fitted to a shop, the same every year."""

from __future__ import annotations

from perennial.envs.drift.base import Drift, Offsets, Season


class Seasonal(Drift):
    """The preset's season, its swing around the year's mean multiplied by `strength` (>= 0; 1 is as fitted)."""

    def __init__(self, strength: float = 1.0) -> None:
        if not 0 <= strength < float("inf"):
            raise ValueError(f"'drift.strength' must be a finite number >= 0. Got {strength!r}.")
        self.strength = float(strength)

    def at(self, day: float, season: Season) -> Offsets:
        now = season.at(day)
        if self.strength == 1.0:
            return now
        mean = season.mean()
        s = self.strength
        return Offsets(
            mean.need + s * (now.need - mean.need),
            mean.level + s * (now.level - mean.level),
            mean.purchase + s * (now.purchase - mean.purchase),
        )
