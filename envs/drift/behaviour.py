"""Drift of behaviour: visitors come to mind prices more or less, and to look further down a page or less far."""

from __future__ import annotations

import math
from dataclasses import replace

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import Ramp, Schedule, positive
from perennial.envs.validation import at_least, one_of_type


class Behaviour(Drift):
    """Price sensitivity and the fall of attention from slot to slot move to declared multiples of themselves.

    Arguments:
        strength: multiplies the factors' logs, >= 0.
        price_factor: on every visitor's price sensitivity, > 0; 1 leaves it.
        examination_factor: on the examination decay, > 0; above 1 the eye stops earlier.
        schedule: when and how, in logs; default a ramp over autumn 2010.
    """

    def __init__(
        self,
        strength: float = 1.0,
        price_factor: float = 4.0,
        examination_factor: float = 4.0,
        schedule: Schedule | None = None,
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.price_factor = positive("drift.price_factor", price_factor)
        self.examination_factor = positive("drift.examination_factor", examination_factor)
        default = Ramp("2010-08-15", 60.0)
        self.schedule = one_of_type("drift.schedule", default if schedule is None else schedule, Schedule)  # type: ignore[type-abstract]

    def change(self, days: Floats, setting: Setting) -> Offsets:
        path = self.strength * self.schedule.at(days)
        nothing = Offsets.nothing(len(path), len(setting.preset.categories))
        price, examination = math.log(self.price_factor) * path, math.log(self.examination_factor) * path
        return replace(nothing, price=price, examination=examination)

    def describe(self) -> Declaration:
        factors = self.price_factor**self.strength, self.examination_factor**self.strength
        how = f"{self.schedule.how()}; to x {factors[0]:.3g} and x {factors[1]:.3g}"
        return Declaration("price sensitivity and examination decay", self.schedule.when(), how, "all visitors")
