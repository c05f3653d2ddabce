"""Drift of tastes: every visitor's own likings wander, those of the crowd stay."""

from __future__ import annotations

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting, Turnover
from perennial.envs.drift.fits import load_drift_fits
from perennial.envs.drift.schedules import positive
from perennial.envs.validation import at_least


class TasteDrift(Drift):
    """Of each visitor's taste a share turns over, on a smooth path of the same variance at all times.

    Arguments:
        strength: multiplies the share, >= 0.
        share: of the variance of tastes that moves; `strength` x `share` in [0, 1]. None: as fitted.
        knot_days: days from one knot of the path to the next, > 0; what moved is forgotten after two of them.
            None: as fitted.
    """

    def __init__(self, strength: float = 1.0, share: float | None = None, knot_days: float | None = None) -> None:
        fitted = load_drift_fits().tastes
        share = fitted.share if share is None else share
        knot_days = fitted.knot_days if knot_days is None else knot_days
        self.strength = at_least("drift.strength", strength, 0.0)
        self.share = at_least("drift.share", share, 0.0)
        self.knot_days = positive("drift.knot_days", knot_days)
        if strength * share > 1:
            raise ValueError(
                f"'drift.strength' x 'drift.share' must lie in [0, 1], a share of the variance. "
                f"Got {strength!r} x {share!r}. Lower 'drift.knot_days' for a faster drift."
            )

    def stronger(self, factor: float) -> Drift:
        return TasteDrift(self.strength * factor, self.share, self.knot_days)  # checks the share anew

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return Offsets.nothing(len(days), len(setting.preset.categories))

    def turnover(self) -> Turnover:
        return Turnover(self.strength * self.share, self.knot_days)

    def describe(self) -> Declaration:
        how = f"{self.strength * self.share:.0%} of the variance, a new draw every {self.knot_days:g} days"
        return Declaration("each visitor's tastes", "at all times", how)
