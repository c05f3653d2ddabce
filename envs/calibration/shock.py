"""The spring of 2020 in a shop's log: which categories gained and lost, beyond season and trend, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration import seasons
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.preset import EPOCH

SEASON_UNTIL = date(2019, 12, 31)
BEFORE = (date(2020, 1, 6), date(2020, 2, 23))
PEAK = (date(2020, 3, 22), date(2020, 5, 23))
AFTER = (date(2020, 8, 1), date(2020, 10, 31))
HALF_LIVES = (15.0, 1000.0)
"""Days; outside of this range a log that ends with the year cannot tell."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShockFit:
    """``sizes``: log share gained at the peak, by category, shrunk by what is noise. ``half_life_days`` of what is left
    after it. ``noise_share``: of the variance of the raw sizes.
    """

    sizes: Mapping[str, float]
    half_life_days: float
    noise_share: float


def fit_shock(log: PurchaseLog, count: int = 3) -> ShockFit:
    """The shock in a log of 2018 to 2020, around the season of its years up to `SEASON_UNTIL`, of `count` harmonics.

    Log of observed over expected share in the weeks of `PEAK`, less the same in those of `BEFORE`: the season is in the
    expectation, and what trended up to then in the difference. Counts are divided by the baskets' design effect.
    Shrunk towards 0 by empirical Bayes: sizes and errors normal, the spread of the true ones by moments (Efron & Morris
    1975). The half-life is that of the slope of `AFTER`'s sizes on the peak's.
    """
    weeks, effect = seasons.weekly(log), seasons.design_effect(log.baskets)
    log_share = seasons.fit_log_share(weeks.take(weeks.day < _day(SEASON_UNTIL) + 1), count, effect)
    (base, base_error), (peak, peak_error), (after, _) = (
        _gain(weeks, log_share, effect, window) for window in (BEFORE, PEAK, AFTER)
    )
    raw, error = peak - base, base_error + peak_error
    spread = max(float((raw**2 - error).mean()), 0.0)
    kept = spread / (spread + error)
    sizes = kept * raw
    slope = float((sizes * (after - base)).sum() / (sizes * raw).sum())
    passed = (_day(AFTER[0]) + _day(AFTER[1])) / 2 - _day(PEAK[1])
    half_life = passed * np.log(2) / -np.log(np.clip(slope, 1e-9, 1 - 1e-9))
    named = {name: float(size) for name, size in zip(log.categories, sizes, strict=True)}
    return ShockFit(named, float(np.clip(half_life, *HALF_LIVES)), float(1 - spread / (raw**2).mean()))


def _gain(weeks: seasons.Weeks, log_share: Floats, effect: float, window: tuple[date, date]) -> tuple[Floats, Floats]:
    """float64 (C,) each: log of observed over expected share within `window`, and its squared standard error."""
    chosen = weeks.take((weeks.day >= _day(window[0])) & (weeks.day < _day(window[1]) + 1))
    counts = chosen.counts.sum(0)
    expected = (seasons.shares(log_share, chosen.day) * chosen.counts.sum(1, keepdims=True)).sum(0)
    return np.log((counts + 0.5) / (expected + 0.5)), effect / (counts + 0.5)


def _day(day: date) -> float:
    return float((day - date.fromisoformat(EPOCH)).days)
