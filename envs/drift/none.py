"""No drift: the stationary twin of every drifting world, held at the mean of its year."""

from __future__ import annotations

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting


class NoDrift(Drift):
    """Every day is the mean day of the year."""

    def stronger(self, factor: float) -> Drift:
        return self

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return Offsets.nothing(len(days), len(setting.preset.categories))

    def describe(self) -> Declaration:
        return Declaration("nothing", "never", "every day is the mean day of the year", "nobody")
