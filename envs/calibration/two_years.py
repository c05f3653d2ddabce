"""How much the seasons of a shop's departments shift from one year to the next, in a log of two years."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration import seasons
from perennial.envs.calibration.logs import PurchaseLog

Floats = NDArray[np.float64]

NAMES = ("amplitude_sd", "common_amplitude_sd", "phase_sd_days", "common_phase_sd_days")


@dataclass(frozen=True)
class TwoYearsFit:
    """The four standard deviations of `years.YearsFit`, and their standard errors, in the order of `NAMES`.

    The error of a standard deviation is that of its variance over twice itself, and at most the root of the variance's
    error, which it is where the variance comes out at 0 or below.
    """

    values: tuple[float, float, float, float]
    errors: tuple[float, float, float, float]
    departments: int


def fit_two_years(log: PurchaseLog, count: int = 3) -> TwoYearsFit:
    """The sizes of the shifts between the two years of a log, noise taken off, by moments.

    The swing of a department is that of its log share, m(t), of `count` harmonics fitted to both years. Each year's
    weekly shares are regressed on it and on its slope, (1 + a) m(t - d) = m + a m - d m' to first order, with a level
    of the year's own; weights by expected counts, errors by what the regression leaves, baskets and holidays included.
    Half the squared difference of two years, less half the squared errors, is own plus common variance; half the
    product of two departments' differences the common one. One pair of years is one draw of what is common.
    """
    weeks, effect = seasons.weekly(log), seasons.design_effect(log.baskets)
    log_share = seasons.fit_log_share(weeks, count, effect)
    first = weeks.day < log.order_day[0] + 365
    one, two = (_regressed(weeks.take(rows), weeks, log_share) for rows in (first, ~first))
    difference, square = two[0] - one[0], one[1] + two[1]  # (2, C): amplitude, delay
    parts = [_sizes(d, s) for d, s in zip(difference, square, strict=True)]
    values, errors = zip(*(pair for part in parts for pair in part), strict=True)
    return TwoYearsFit(values, errors, len(log.categories))


def _regressed(year: seasons.Weeks, both: seasons.Weeks, log_share: Floats) -> tuple[Floats, Floats]:
    """float64 (2, C) each: amplitude and delay (days) of every department in `year`, and the squared errors."""
    mean = np.log(seasons.shares(log_share, both.day)).mean(0)
    expected = seasons.shares(log_share, year.day)
    swing = np.log(expected) - mean
    ahead, behind = (np.log(seasons.shares(log_share, year.day + shift)) for shift in (0.5, -0.5))
    slope = ahead - behind
    total = year.counts.sum(1, keepdims=True)
    ratio = year.counts / (total * expected) - 1
    found, squares = np.empty((2, expected.shape[1])), np.empty((2, expected.shape[1]))
    for c in range(expected.shape[1]):
        weight = total[:, 0] * expected[:, c] * (1 - expected[:, c])
        design = np.stack([np.ones(len(weight)), swing[:, c], -slope[:, c]], axis=1)
        inverse = np.linalg.inv(np.einsum("w,wp,wq->pq", weight, design, design))
        coefficients = inverse @ (design * (weight * ratio[:, c])[:, None]).sum(0)
        left = ratio[:, c] - design @ coefficients
        spread = max(1.0, float((weight * left**2).sum() / (len(weight) - 3)))
        found[:, c], squares[:, c] = coefficients[1:], spread * np.diag(inverse)[1:]
    return found, squares


def _sizes(difference: Floats, square: Floats) -> list[tuple[float, float]]:
    """(own, its error), (common, its error) from differences between two years (C,) with squared errors `square`."""
    own, common = _variances(difference, square)
    size = len(difference)
    again = np.array([_variances(np.delete(difference, c), np.delete(square, c)) for c in range(size)])
    jackknife = (size - 1) / size * ((again - again.mean(0)) ** 2).sum(0)
    # One pair of years is one draw of the common part: its square has a chi-square law of one degree of freedom.
    deviations = np.sqrt([jackknife[0], jackknife[1] + 2 * max(common, 0.0) ** 2])
    return [_deviation(v, e) for v, e in zip((own, common), deviations, strict=True)]


def _deviation(variance: float, error: float) -> tuple[float, float]:
    root = float(np.sqrt(max(variance, 0.0)))
    return root, float(min(error / (2 * root), np.sqrt(error)) if root > 0 else np.sqrt(error))


def _variances(difference: Floats, square: Floats) -> tuple[float, float]:
    """(own, common) variance; departments count by how well they are measured, as in `years.fit_years`."""
    weight = 1 / square
    pairs = np.outer(weight, weight) * (1 - np.eye(len(weight)))
    common = float((pairs * np.outer(difference, difference)).sum() / pairs.sum()) / 2
    whole = float((weight * (difference**2 - square)).sum() / weight.sum()) / 2
    return whole - common, common
