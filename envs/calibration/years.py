"""How much a season shifts from year to year: the monthly sales of whole trades over many years."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.tables import CalibrationError, read_table

TRADES = (
    "BookStores", "ElectronicsAndApplianceStores", "FurnitureStores", "GiftNoveltyAndSouvenirStores", "GroceryStores",
    "HardwareStores", "HealthAndPersonalCareStores", "HobbyToyAndGameStores", "JewelryStores", "MensClothingStores",
    "WomensClothingStores", "FamilyClothingStores", "ShoeStores", "OfficeSuppliesAndStationeryStore",
    "SportingGoodsStores", "BeerWineAndLiquorStores", "WarehouseClubsAndSuperstores", "NonstoreRetailers",
    "UsedMerchandiseStores", "DepartmentStoresExclLD",
)  # fmt: skip
"""Kinds of retail business without overlap and without gaps, what a shop's categories might be."""

MONTH_DAYS = 365.25 / 12
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class YearsFit:
    """Standard deviations over years, noise taken off: of the swing's log factor and of its delay (days), each as the
    part of a trade's own and the part common to all. ``years``, ``trades``: how many they rest on.
    """

    amplitude_sd: float
    common_amplitude_sd: float
    phase_sd_days: float
    common_phase_sd_days: float
    years: int
    trades: int


def read_trades(path: Path) -> Floats:
    """float64 (trades, months): log sales of `TRADES` from the table in `path`, whole years."""
    table = read_table(path, "census")
    missing = [name for name in TRADES if name not in table.columns]
    if missing:
        raise CalibrationError(f"'census' must have a column for each trade. Got none for '{missing[0]}'.")
    sales = table.select(TRADES).drop_nulls().to_numpy().astype(np.float64).T
    if sales.shape[1] < 48 or sales.shape[1] % 12 or (sales <= 0).any():
        raise CalibrationError("'census' must hold four whole years or more of sales above 0, a row a month.")
    return np.log(sales)


def seasonal_part(log_sales: Floats) -> Floats:
    """float64 (trades, years - 1, 12): log sales less their centred mean over twelve months (the 2 x 12 average).

    Half a year is lost at either end: the years run from July to June.
    """
    weight = np.r_[0.5, np.ones(11), 0.5] / 12
    trend = np.array([np.convolve(series, weight, "valid") for series in log_sales])
    part = log_sales[:, 6:-6] - trend
    return part.reshape(len(part), -1, 12)


def shifts(seasonal: Floats) -> tuple[Floats, Floats]:
    """Amplitude and delay (days) of every trade and year, (2, trades, years), and the squared standard errors.

    A year's pattern is regressed on the mean pattern of the other years and on its slope: (1 + a) m(t - d) is
    m + a m - d m' to first order. Trading days and Easter are noise here, and so in the standard errors.
    """
    trades, years, _ = seasonal.shape
    found, squares = np.empty((2, trades, years)), np.empty((2, trades, years))
    for trade in range(trades):
        for year in range(years):
            mean = np.delete(seasonal[trade], year, axis=0).mean(axis=0)
            slope = (np.roll(mean, -1) - np.roll(mean, 1)) / (2 * MONTH_DAYS)
            design = np.stack([mean, -slope], axis=1)
            inverse = np.linalg.inv(design.T @ design)
            rest = seasonal[trade, year] - mean
            values = inverse @ design.T @ rest
            noise = ((rest - design @ values) ** 2).sum() / (12 - 3)
            found[:, trade, year], squares[:, trade, year] = values, noise * np.diag(inverse)
    return found, squares


def fit_years(log_sales: Floats) -> YearsFit:
    """The sizes of the shifts, by moments.

    A trade's variance over years less its mean squared standard error is own plus common variance; the covariance of
    two trades, averaged over pairs, is the common one. Trades count by how well they are measured, the inverse of
    their mean squared error, so that trades with hardly a season, whose delay nobody can tell, hardly count.
    """
    found, squares = shifts(seasonal_part(log_sales))
    (own, common), (own_days, common_days) = (_sizes(*part) for part in zip(found, squares, strict=True))
    return YearsFit(own, common, own_days, common_days, years=found.shape[2], trades=found.shape[1])


def _sizes(values: Floats, square: Floats) -> tuple[float, float]:
    """(own, common) standard deviation of `values` (trades, years) with squared standard errors `square`."""
    centred = values - values.mean(axis=1, keepdims=True)
    products = centred @ centred.T / (values.shape[1] - 1)
    weight = 1 / square.mean(axis=1)
    pairs = np.outer(weight, weight) * (1 - np.eye(len(weight)))
    common = max(float((pairs * products).sum() / pairs.sum()), 0.0)
    whole = float((weight * (np.diag(products) - square.mean(axis=1))).sum() / weight.sum())
    return float(np.sqrt(max(whole - common, 0.0))), float(np.sqrt(common))
