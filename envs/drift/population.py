"""A shift of the population: other visitors come, with other tastes."""

from __future__ import annotations

from dataclasses import replace

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.schedules import Ramp, Schedule
from perennial.envs.validation import at_least, one_of_type


class PopulationShift(Drift):
    """Segment 1's share of the potential visits moves by `size` logits; each visitor stays as he is.

    Arguments:
        strength: multiplies the size, >= 0.
        size: logits of the share, of either sign; with half of the visits, 2 makes it 88 %.
        schedule: when and how; default a ramp over autumn 2010.
    """

    def __init__(self, strength: float = 1.0, size: float = 3.0, schedule: Schedule | None = None) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        at_least("abs(drift.size)", abs(size), 0.0)
        self.size = size
        default = Ramp("2010-08-15", 60.0)
        self.schedule = one_of_type("drift.schedule", default if schedule is None else schedule, Schedule)  # type: ignore[type-abstract]

    def change(self, days: Floats, setting: Setting) -> Offsets:
        path = self.strength * self.size * self.schedule.at(days)
        return replace(Offsets.nothing(len(path), len(setting.preset.categories)), population=path)

    def describe(self) -> Declaration:
        how = f"{self.schedule.how()}; {self.strength * self.size:+g} logits"
        return Declaration("segment 1's share of the potential visits", self.schedule.when(), how, "who comes")
