"""Holidays: bumps of demand that lead up to a date, be it fixed or moving."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from perennial.envs.drift.base import Declaration, Drift, Floats, Offsets, Setting
from perennial.envs.drift.sizes import check_segment, moved, of_segment
from perennial.envs.preset import EPOCH, Preset
from perennial.envs.validation import at_least, one_of_type

Years = NDArray[np.int64]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST = 300.0
"""Most days that a bump may last, so that at most two of one holiday's bumps meet."""


def easter(years: Years) -> Years:
    """int64, days since the epoch: Easter Sunday of the Gregorian `years`.

    The anonymous computus (Nature, 20 April 1876; in this form Meeus 1991, "Astronomical Algorithms", ch. 8).
    """
    a, (b, c) = years % 19, np.divmod(years, 100)
    d, e = np.divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = np.divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = np.divmod(h + weekday - 7 * m + 114, 31)
    return month_start(years, month) + day


def month_start(years: Years, month: Years | int) -> Years:
    """int64, days since the epoch: the first of `month` (1 to 12)."""
    months = ((years - 1970) * 12 + month - 1).astype("datetime64[M]")
    return np.asarray((months.astype("datetime64[D]") - np.datetime64(EPOCH)).astype(np.int64))


@dataclass(frozen=True)
class Holiday:
    """A day of every year, and the bump of demand before it.

    ``date``: "12-25", "easter", or "11-thu4", the fourth Thursday of November; ``shift`` days later. ``categories``:
    words; the categories whose names hold one of them are concerned. ``size``: the bump's height, logits. It rises for
    ``rise_days`` to its peak, ``peak_days`` before the day, and is gone on the day; by cosines, so without a jump.
    """

    name: str
    date: str
    categories: Sequence[str]
    size: float
    rise_days: float = 30.0
    peak_days: float = 7.0
    shift: int = 0

    def __post_init__(self) -> None:
        self.on(np.array([2010]))
        for name in ("rise_days", "peak_days"):
            if at_least(f"holiday.{name}", getattr(self, name), 0.0) == 0:
                raise ValueError(f"'holiday.{name}' must be > 0. Got 0.")
        if self.rise_days + self.peak_days > LONGEST:
            raise ValueError(
                f"'holiday.rise_days' + 'holiday.peak_days' must be at most {LONGEST:g}. "
                f"Got {self.rise_days:g} + {self.peak_days:g} for '{self.name}'."
            )

    def on(self, years: Years) -> Years:
        """int64, days since the epoch: the holiday's date in `years`."""
        if self.date == "easter":
            return easter(years) + self.shift
        with contextlib.suppress(ValueError):
            fixed = date.fromisoformat(f"2011-{self.date}")  # not a leap year: a holiday comes every year
            return month_start(years, fixed.month) + fixed.day - 1 + self.shift
        moving = re.fullmatch(rf"(0[1-9]|1[0-2])-({'|'.join(WEEKDAYS)})([1-4])", self.date)
        if not moving:
            raise ValueError(
                "'holiday.date' must be a day as '12-25', 'easter', or the n-th weekday of a month as '11-thu4' "
                f"(n from 1 to 4). Got {self.date!r} for '{self.name}'."
            )
        first = month_start(years, int(moving[1]))
        ahead = (WEEKDAYS.index(moving[2]) - (first + EPOCH_WEEKDAY)) % 7
        return first + ahead + 7 * (int(moving[3]) - 1) + self.shift

    def bump(self, days: Floats) -> Floats:
        """float64 (T,) in [0, 1]: the bump's shape at `days` (T,), days since the epoch."""
        year = (np.datetime64(EPOCH) + np.floor(days).astype(np.int64)).astype("datetime64[Y]").astype(np.int64) + 1970
        return self._before(self.on(year) - days) + self._before(self.on(year + 1) - days)

    def _before(self, left: Floats) -> Floats:
        """The shape `left` (T,) days before the holiday."""
        rising = (self.peak_days + self.rise_days - left) / self.rise_days
        place = np.clip(np.where(left > self.peak_days, rising, left / self.peak_days), 0.0, 1.0)
        return 0.5 * (1.0 - np.cos(np.pi * place))

    def concerns(self, preset: Preset) -> NDArray[np.bool_]:
        """bool (C,): the categories whose names hold one of the words."""
        return np.array([any(word in name for word in self.categories) for name in preset.categories])


EPOCH_WEEKDAY = int((np.datetime64(EPOCH) - np.datetime64("1970-01-05")).astype(np.int64) % 7)
"""Monday is 0."""

CALENDAR = (
    Holiday("Valentine's Day", "02-14", ["valentine", "jewel"], 0.6, 21.0, 5.0),
    Holiday("Easter", "easter", ["easter"], 0.8, 28.0, 6.0),
    Holiday("Mother's Day", "05-sun2", ["jewel", "bags", "beauty"], 0.3, 14.0, 4.0),
    Holiday("first day of school", "09-05", ["school"], 0.6, 35.0, 10.0),
    Holiday("Halloween", "10-31", ["costume", "party"], 0.5, 28.0, 6.0),
    Holiday("Cyber Monday", "11-thu4", ["electronics", "video_games"], 0.6, 10.0, 3.0, shift=4),
    Holiday("Christmas", "12-25", ["christmas", "gift_card", "toys"], 0.8, 28.0, 9.0),
)
"""Days on which people give, and how much the categories meant for them gain before; sizes and lengths are assumed."""


class Holidays(Drift):
    """Demand for some categories swells before holidays; sharper than a season's harmonics, and Easter moves.

    Arguments:
        strength: multiplies the bumps, >= 0.
        holidays: those that are kept; None: `CALENDAR`. Sizes are assumed, not fitted.
        segment: who keeps them; None: all.
    """

    def __init__(
        self, strength: float = 1.0, holidays: list[Holiday] | None = None, segment: int | None = None
    ) -> None:
        self.strength = at_least("drift.strength", strength, 0.0)
        self.holidays = tuple(CALENDAR if holidays is None else holidays)
        for holiday in self.holidays:
            one_of_type("drift.holidays", holiday, Holiday)
        self.segment = check_segment(segment)

    def change(self, days: Floats, setting: Setting) -> Offsets:
        total = Offsets.nothing(len(days), len(setting.preset.categories))
        concerned = [holiday.concerns(setting.preset) for holiday in self.holidays]
        if not np.any(concerned):
            words = sorted({word for holiday in self.holidays for word in holiday.categories})
            raise ValueError(
                f"'drift.holidays' must concern some category of the preset '{setting.preset.name}': "
                f"{', '.join(setting.preset.categories)}. Got the words {', '.join(words)}, which none of them holds."
            )
        for holiday, whom in zip(self.holidays, concerned, strict=True):
            path = self.strength * holiday.size * holiday.bump(np.asarray(days, np.float64))
            total = total + moved(path, of_segment(whom.astype(np.float64), self.segment), setting)
        return total

    def describe(self) -> Declaration:
        how = "; ".join(f"{h.name} {self.strength * h.size:+.2g} logits" for h in self.holidays)
        people = "all visitors" if self.segment is None else f"visitors of segment {self.segment}"
        whom = sorted({word for h in self.holidays for word in h.categories})
        return Declaration(
            "demand by category",
            "in the weeks before each holiday",
            how,
            f"{people}, categories named {', '.join(whom)}",
        )
