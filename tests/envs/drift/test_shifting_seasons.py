"""Shifting seasons: different every year, like the season on the whole, and without a jump."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import Seasonal, ShiftingSeasons
from perennial.envs.drift.shifting_seasons import BLEND_DAYS, crowd, trough
from tests.envs.drift.shops import setting

YEAR = 365.25
DAYS = np.arange(0, 6 * YEAR, 0.5)


def test_one_year_s_deviation_holds_from_trough_to_trough() -> None:
    shop = setting()
    amplitude, delay = ShiftingSeasons().deviations(DAYS, shop)
    for c, low in enumerate(trough(shop.season)):
        for year in range(5):
            within = (low + YEAR * year + BLEND_DAYS / 2 < DAYS) & (low + YEAR * (year + 1) - BLEND_DAYS / 2 > DAYS)
            assert np.ptp(amplitude[within, c]) < 1e-12
            assert np.ptp(delay[within, c]) < 1e-12
    assert np.abs(np.diff(delay, axis=0)).max() < 0.6  # days, in half a day


def test_deviations_have_the_declared_spread() -> None:
    shop = setting("marketplace")
    low = trough(shop.season)
    drift = ShiftingSeasons(1.0, 0.2, 8.0, 0.1, 6.0)
    middles = np.concatenate([drift.deviations(np.array([low[c] + YEAR * (y + 0.5)]), shop)[1][:, c]
                              for y in range(60) for c in range(len(low))]).reshape(60, -1)  # fmt: skip
    assert middles.std() == pytest.approx(10, rel=0.15)
    assert middles.mean(axis=1).std() == pytest.approx(np.hypot(6, 8 / np.sqrt(len(low))), rel=0.25)


def test_the_mean_odds_stay_those_of_the_season() -> None:
    shop = setting()
    share = np.asarray(shop.preset.base_share)
    fixed, shifted = (drift.at(DAYS, shop) for drift in (Seasonal(), ShiftingSeasons()))
    assert np.abs(fixed.need - shifted.need).max() > 0.2
    odds = [crowd(path.need[:, 0], share, 1.0) + path.level for path in (fixed, shifted)]
    assert odds[0] == pytest.approx(odds[1], abs=1e-9)


def test_last_year_s_calendar_is_wrong_in_proportion() -> None:
    shop = setting()
    gap = [np.abs(ShiftingSeasons(s).at(DAYS, shop).need - Seasonal().at(DAYS, shop).need).mean() for s in (0, 1, 2)]
    assert gap[0] == 0
    assert 1.6 < gap[2] / gap[1] < 2.6


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.phase_sd_days' must be a finite number >= 0"):
        ShiftingSeasons(phase_sd_days=-1)
