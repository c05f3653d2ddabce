"""How seasons shift and tastes turn over: known sizes found again, and the committed ones refitted from the logs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from perennial.envs.calibration import seasons
from perennial.envs.calibration.logs import part
from perennial.envs.calibration.recipes import THREE_YEARS
from perennial.envs.calibration.shock import fit_shock
from perennial.envs.calibration.tables import CalibrationError
from perennial.envs.calibration.turnover import autocorrelation, fit_turnover
from perennial.envs.calibration.two_years import NAMES, fit_two_years
from perennial.envs.calibration.years import fit_years, read_trades
from perennial.envs.drift.fits import DriftFits, load_drift_fits
from perennial.envs.preset import EPOCH


def test_known_shifts_are_found_again() -> None:
    """Forty trades over thirty years that run from July, as the fit's do, with noise of a twentieth of the swing."""
    rng, trades, years = np.random.default_rng(0), 40, 32
    amplitude = 0.1 * rng.standard_normal((trades, years)) + 0.08 * rng.standard_normal(years)
    delay = 4.0 * rng.standard_normal((trades, years)) + 3.0 * rng.standard_normal(years)
    month = np.arange(12 * (years - 1))
    phase = 2 * np.pi * (month % 12) / 12
    year, shape = (month + 6) // 12, rng.uniform(0, 2 * np.pi, trades)
    late = 2 * np.pi * delay[:, year] / 365.25
    swing = np.cos(phase - shape[:, None] - late) + 0.5 * np.cos(2 * (phase - shape[:, None] - late))
    log_sales = (1 + amplitude[:, year]) * swing + 0.002 * month
    log_sales += 0.05 * rng.standard_normal(log_sales.shape)
    found = fit_years(log_sales)
    assert found.trades == 40
    assert found.years == 30
    assert found.phase_sd_days == pytest.approx(4.0, rel=0.25)
    assert found.common_phase_sd_days == pytest.approx(3.0, rel=0.4)
    assert found.amplitude_sd == pytest.approx(0.1, rel=0.2)
    assert found.common_amplitude_sd == pytest.approx(0.08, rel=0.4)


def test_the_path_of_tastes_has_this_autocorrelation() -> None:
    """Against the mean over simulated paths; none is left beyond two knots."""
    knots = np.random.default_rng(0).standard_normal((200_000, 5))

    def path(days: np.ndarray) -> np.ndarray:
        place = days / 100.0
        knot = np.floor(place).astype(int)
        angle, rows = 0.5 * np.pi * (place - knot), np.arange(len(days))
        return np.cos(angle) * knots[rows, knot] + np.sin(angle) * knots[rows, knot + 1]

    start = np.random.default_rng(1).uniform(0, 100, 200_000)
    for lag in (0.0, 30.0, 100.0, 170.0, 250.0):
        wanted = (path(start) * path(start + lag)).mean()
        assert autocorrelation(np.array([lag]), 100.0)[0] == pytest.approx(wanted, abs=0.01)


@dataclass
class Orders:
    """What `fit_turnover` asks of a log."""

    order_day: np.ndarray
    order_user: np.ndarray
    baskets: np.ndarray
    categories: tuple[str, ...] = ()


def test_a_known_turnover_is_found_again() -> None:
    """Orders of 600 persons over three years, whose tastes turn over by half, in a log with no season."""
    rng, persons, orders, categories = np.random.default_rng(2), 600, 40, 6
    day = np.sort(rng.integers(0, 1096, (persons, orders)), axis=1)
    knots, lasting = rng.standard_normal((persons, 6, categories)), rng.standard_normal((persons, 1, categories))
    place = day / 300.0
    knot = np.floor(place).astype(int)
    angle = 0.5 * np.pi * (place - knot)[..., None]
    rows = np.arange(persons)[:, None]
    moving = np.cos(angle) * knots[rows, knot] + np.sin(angle) * knots[rows, knot + 1]
    logit = 0.8 * (np.sqrt(0.5) * lasting + np.sqrt(0.5) * moving)
    share = np.exp(logit) / np.exp(logit).sum(axis=2, keepdims=True)
    counts = rng.multinomial(3, share).reshape(-1, categories).astype(np.float64)
    order = np.argsort(day.ravel(), kind="stable")
    user = np.repeat(np.arange(persons), orders)
    log = Orders(day.ravel()[order], user[order], counts[order])
    found = fit_turnover(log, np.zeros((categories, 1)))
    assert found.share == pytest.approx(0.5, abs=0.12)
    assert found.knot_days == pytest.approx(300.0, rel=0.3)
    assert found.share_error < 0.1


def shocked(size: float) -> Orders:
    """Three years of orders in eight categories; the first gains `size` logits from 11 March 2020 on."""
    rng, first = np.random.default_rng(3), day_of("2018-01-01")
    day = np.sort(rng.integers(first, day_of("2021-01-01"), 60_000))
    logit = np.tile(np.linspace(0.5, -0.5, 8), (len(day), 1))
    past = day - day_of("2020-05-23")
    logit[:, 0] += np.where(day < day_of("2020-03-11"), 0.0, size * 0.5 ** (np.maximum(past, 0) / 115.0))
    share = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    return Orders(day, np.zeros(len(day), np.int64), rng.multinomial(2, share).astype(np.float64), tuple("abcdefgh"))


def day_of(text: str) -> int:
    return (date.fromisoformat(text) - date.fromisoformat(EPOCH)).days


def test_a_known_shock_is_found_again() -> None:
    found = fit_shock(shocked(1.0), 1)
    share = np.exp(np.linspace(0.5, -0.5, 8))
    share /= share.sum()
    less = np.log(1 + share[0] * (np.e - 1))
    assert found.sizes["a"] == pytest.approx(1 - less, abs=0.1)
    assert found.sizes["d"] == pytest.approx(-less, abs=0.1)
    assert found.half_life_days == pytest.approx(115, rel=0.35)


def test_where_nothing_happened_next_to_nothing_is_found() -> None:
    found = fit_shock(shocked(0.0), 1)
    assert max(abs(size) for size in found.sizes.values()) < 0.06
    assert found.noise_share > 0.5


def test_the_committed_sizes_are_refitted(data: Path) -> None:
    fits, census = load_drift_fits(), data / "us_census_retail" / "us_retail_sales_nsa_musd_1992_2005.csv"
    years = fit_years(read_trades(census))
    for name in ("amplitude_sd", "common_amplitude_sd", "phase_sd_days", "common_phase_sd_days"):
        assert getattr(years, name) == pytest.approx(getattr(fits.years, name), rel=1e-4)
    log = THREE_YEARS.read(data / "amazon_open_ecommerce")
    weeks = seasons.weekly(log)
    tastes = fit_turnover(log, seasons.fit_log_share(weeks, 3, seasons.design_effect(log.baskets)))
    for name in ("share", "knot_days", "share_error", "knot_days_error"):
        assert getattr(tastes, name) == pytest.approx(getattr(fits.tastes, name), rel=1e-4)
    pair, kept = fit_two_years(part(log, log.in_years(0, 2))), fits.departments
    assert pair.values == pytest.approx([getattr(kept, name) for name in NAMES], rel=1e-4)
    assert pair.errors == pytest.approx([getattr(kept, f"{name}_error") for name in NAMES], rel=1e-4)
    spring = fit_shock(log)
    assert spring.sizes == pytest.approx(fits.spring_2020.sizes, rel=1e-4)
    assert spring.half_life_days == pytest.approx(fits.spring_2020.half_life_days, rel=1e-4)


def test_the_file_keeps_its_sources() -> None:
    fits = load_drift_fits()
    assert DriftFits.from_json(fits.to_json()) == fits
    assert "public domain" in fits.years.source.licence
    assert "CC0" in fits.tastes.source.licence


def test_a_table_without_the_trades_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("month,BookStores\n1992-01,100\n", encoding="utf-8")
    with pytest.raises(CalibrationError, match="'census' must have a column for each trade. Got none for 'Electronics"):
        read_trades(tmp_path / "sales.csv")
