"""The spring of 2020: what people bought online when they had to stay at home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perennial.envs.drift.base import Floats, Offsets, Setting
from perennial.envs.drift.fits import load_drift_fits
from perennial.envs.drift.shock import Shock
from perennial.envs.drift.sizes import Sizes, moved


class Shock2020(Shock):
    """A shock of the fitted sizes, for the shop they were fitted to and, by the names of categories, for others.

    Categories of the shop that `sizes` does not name stay as they are; a shop of which it names none is refused.

    Arguments: those of `Shock`, with `sizes` logits by category and `half_life_days`; None: as fitted. That it began
    with the pandemic's declaration, took two weeks to rise and held for two months is read off the weeks, not fitted.
    """

    def __init__(
        self,
        sizes: Mapping[str, float] | None = None,
        strength: float = 1.0,
        start: str = "2020-03-11",
        rise_days: float = 14.0,
        hold_days: float = 60.0,
        half_life_days: float | None = None,
        segment: int | None = None,
    ) -> None:
        fitted = load_drift_fits().spring_2020
        sizes = fitted.sizes if sizes is None else sizes
        half_life_days = fitted.half_life_days if half_life_days is None else half_life_days
        super().__init__(strength, start, rise_days, hold_days, half_life_days, sizes, segment=segment)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return moved(self.strength * self.schedule.at(days), self._known(setting).table(setting), setting)

    def _known(self, setting: Setting) -> Sizes:
        """The sizes of the departments that this shop has."""
        given = self.sizes.sizes or {}
        known = {name: size for name, size in given.items() if name in setting.preset.categories}
        if not known:
            raise ValueError(
                f"'drift.sizes' must name some category of the preset '{setting.preset.name}': "
                f"{', '.join(setting.preset.categories)}. Got {', '.join(given)}. Use the drift 'shock' here."
            )
        return replace(self.sizes, sizes=known)
