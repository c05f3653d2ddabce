"""No drift: the stationary twin of the seasonal world, held at the mean of its year."""

from __future__ import annotations

from perennial.envs.drift.base import Drift, Offsets, Season


class NoDrift(Drift):
    """Every day is the mean day of the year."""

    def at(self, day: float, season: Season) -> Offsets:
        return season.mean()
