"""When and how a drift acts: its share of the whole, from 0 to 1, as a pure function of the day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date

import numpy as np

from perennial.envs.drift.base import Floats
from perennial.envs.preset import EPOCH
from perennial.envs.validation import at_least


def day_of(name: str, text: str) -> float:
    """Days from the epoch to the ISO date `text`; `name` is the argument it came by."""
    try:
        return float((date.fromisoformat(text) - date.fromisoformat(EPOCH)).days)
    except (TypeError, ValueError):
        raise ValueError(f"'{name}' must be a date written as 'YYYY-MM-DD'. Got {text!r}.") from None


def positive(name: str, value: float) -> float:
    """`value`, if it is a finite number > 0."""
    if at_least(name, value, 0.0) == 0:
        raise ValueError(f"'{name}' must be > 0. Got {value!r}.")
    return value


@dataclass(frozen=True)
class Schedule(ABC):
    """A path that begins at 0 on ``start``, an ISO date, and stays in [0, 1]."""

    start: str

    def __post_init__(self) -> None:
        day_of("schedule.start", self.start)

    @abstractmethod
    def since(self, days: Floats) -> Floats:
        """The path (T,) at `days` (T,) >= 0 after the start."""

    @abstractmethod
    def how(self) -> str:
        """Its shape in words."""

    def at(self, days: Floats) -> Floats:
        """float64 (T,) in [0, 1]: the path at `days` (T,), days since the epoch; 0 before the start."""
        after = np.asarray(days, np.float64) - day_of("schedule.start", self.start)
        return np.where(after >= 0, self.since(np.maximum(after, 0.0)), 0.0)

    def when(self) -> str:
        """Its time in words."""
        return f"from {self.start} on"


@dataclass(frozen=True)
class Step(Schedule):
    """Nothing before the start, all of it from then on."""

    def since(self, days: Floats) -> Floats:
        return np.ones_like(days)

    def how(self) -> str:
        return "at once, and stays"


@dataclass(frozen=True)
class Ramp(Schedule):
    """Grows linearly over ``days`` (> 0), then stays."""

    days: float

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("schedule.days", self.days)

    def since(self, days: Floats) -> Floats:
        return np.minimum(days / self.days, 1.0)

    def how(self) -> str:
        return f"linearly over {self.days:g} days, and stays"


@dataclass(frozen=True)
class Pulse(Schedule):
    """Rises linearly over ``rise_days``, holds for ``hold_days``, then halves every ``half_life_days``; all >= 0.

    With a half-life of 0 it is gone at once; with None it never returns.
    """

    rise_days: float = 0.0
    hold_days: float = 0.0
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("schedule.rise_days", self.rise_days, 0.0)
        at_least("schedule.hold_days", self.hold_days, 0.0)
        if self.half_life_days is not None:
            at_least("schedule.half_life_days", self.half_life_days, 0.0)

    def since(self, days: Floats) -> Floats:
        path = np.minimum(days / self.rise_days, 1.0) if self.rise_days else np.ones_like(days)
        if self.half_life_days is None:
            return path
        over = days - self.rise_days - self.hold_days
        if self.half_life_days == 0:
            return np.where(over < 0, path, 0.0)
        return path * np.exp2(-np.maximum(over, 0.0) / self.half_life_days)

    def how(self) -> str:
        rise = f"over {self.rise_days:g} days" if self.rise_days else "at once"
        if self.half_life_days is None:
            return f"{rise}, and stays"
        back = f"halves every {self.half_life_days:g}" if self.half_life_days else "is gone at once"
        return f"{rise}, holds for {self.hold_days:g} days, then {back}"


@dataclass(frozen=True)
class Periodic(Schedule):
    """Swings from 0 to 1 and back every ``period_days`` (> 0), by a cosine."""

    period_days: float

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("schedule.period_days", self.period_days)

    def since(self, days: Floats) -> Floats:
        return 0.5 * (1.0 - np.cos(2 * np.pi * days / self.period_days))

    def how(self) -> str:
        return f"to and fro every {self.period_days:g} days"
