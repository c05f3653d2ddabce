"""What a log looks like over its year: the figures a simulated year is compared with the real one by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.seasons import PERMUTATIONS, divergence, drift_size, shares, week_of_order
from perennial.envs.calibration.sessions import size_figures
from perennial.envs.calibration.tastes import log_concentration
from perennial.envs.preset import EPOCH

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

BOOTSTRAPS = 500
COVERAGE = 0.95
"""Of the bootstrap intervals of month indices."""

HALF_YEAR = 182.5
QUANTILES = (0.1, 0.5, 0.9)


# -- months ---------------------------------------------------------------------------------------------------------


def month_of(day: NDArray[np.int64]) -> Whole:
    """int64, the shape of `day` (since the epoch): the month of the year, from 0."""
    months = (np.datetime64(EPOCH, "D") + day).astype("datetime64[M]")
    return np.asarray(months.astype(np.int64) % 12)


def month_index(counts: Floats) -> Floats:
    """float64 (..., 12, C): a category's share of each month over its mean of the months; `counts` (..., 12, C).

    A category without a purchase has index 1, and so has every category in a month without any.
    """
    total = counts.sum(-1, keepdims=True)
    share = counts / np.maximum(total, 1e-300)
    mean = share.sum(-2, keepdims=True) / np.maximum((total > 0).sum(-2, keepdims=True), 1)
    known = (total > 0) & (mean > 0)
    return np.divide(share, mean, out=np.ones(counts.shape), where=known)


@dataclass(frozen=True)
class MonthFacts:
    """``index`` float64 (12, C) of a log, with the interval [``low``, ``high``] of its own bootstrap."""

    index: Floats
    low: Floats
    high: Floats

    def inside(self, index: Floats) -> NDArray[np.bool_]:
        """bool (12, C): where another's index lies within the interval."""
        return np.asarray((self.low <= index) & (index <= self.high))


def month_facts(log: PurchaseLog, by: str = "customer", seed: int = 0) -> MonthFacts:
    """The month indices of a log and their percentile intervals, `by` "customer" or "order" drawn with replacement.

    Orders of one customer are no independent draws: customers are the wider and the right unit. An order of an unknown
    customer counts as a customer.
    """
    unit = np.arange(len(log.order_day)) if by == "order" else customers(log)
    table = np.zeros((int(unit.max()) + 1, 12, len(log.categories)), np.float32)
    np.add.at(table, (unit, month_of(log.order_day)), log.baskets.astype(np.float32))
    units, flat = len(table), table.reshape(len(table), -1)
    rng, again = np.random.default_rng(seed), []
    for _ in range(BOOTSTRAPS):
        times = np.bincount(rng.integers(0, units, units), minlength=units).astype(np.float32)
        again.append(month_index((times @ flat).astype(np.float64).reshape(table.shape[1:])))
    low, high = np.quantile(again, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return MonthFacts(month_index(table.sum(0, dtype=np.float64)), low, high)


def customers(log: PurchaseLog) -> Whole:
    """int64 (O,): whose order it is, numbered from 0; every order of an unknown customer is a customer's of its own."""
    unknown = log.order_user < 0
    who = log.order_user.copy()
    who[unknown] = log.order_user.max(initial=-1) + 1 + np.arange(unknown.sum())
    return np.asarray(np.unique(who, return_inverse=True)[1])


# -- weeks ----------------------------------------------------------------------------------------------------------


def lag_curve(log: PurchaseLog, permutations: int = PERMUTATIONS, seed: int = 0) -> Floats:
    """float64 (W,): how far apart two weeks are, by the number of weeks between them; noise taken off; lag 0 is 0.

    Mean Jensen-Shannon divergence (Lin 1991), nats, of the weeks' shares, less its mean when orders are dealt to the
    weeks at random, each week as many as it had, so that baskets stay whole.
    """
    rng, week, baskets = np.random.default_rng(seed), week_of_order(log), log.baskets
    raw = _by_lag(week, baskets)
    noise = np.mean([_by_lag(rng.permutation(week), baskets) for _ in range(permutations)], axis=0)
    return np.asarray(raw - noise)


def _by_lag(week: Whole, baskets: Floats) -> Floats:
    counts = np.zeros((int(week.max()) + 1, baskets.shape[1]))
    np.add.at(counts, week, baskets)
    seen = np.flatnonzero(counts.sum(1) > 0)
    share = counts[seen] / counts[seen].sum(1, keepdims=True)
    middle = (share[:, None] + share) / 2
    apart = (divergence(share[:, None], middle) + divergence(share, middle)) / 2
    lag = np.abs(seen[:, None] - seen)
    return np.bincount(lag.ravel(), apart.ravel()) / np.maximum(np.bincount(lag.ravel()), 1)


# -- persons --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A figure and its standard error, persons drawn independently."""

    value: float
    error: float


def taste_correlation(log: PurchaseLog, log_share: Floats, apart: int = 1) -> Measured:
    """How a person's tastes of one half-year correlate with those `apart` half-years later; noise taken off.

    Tastes are deviations of an order's shares from the shop's on that day. Two different orders of a person share
    nothing but taste (see `tastes.fit_concentration`): their products within a half-year give its variance, and those
    between the half-years the covariance. Persons with two orders or more in both, all alike. NaN: there are none.
    """
    total, own, number = _by_half_year(log, log_share)
    between, within = np.zeros(len(total)), np.zeros(len(total))
    for one in range(number.shape[1] - apart):
        two = one + apart
        both = (number[:, one] > 1) & (number[:, two] > 1)
        products = (total[both, one] * total[both, two]).sum(1)
        between[both] += products / (number[both, one] * number[both, two])
        for half in (one, two):
            count = number[both, half]
            within[both] += ((total[both, half] ** 2).sum(1) - own[both, half]) / (count * (count - 1)) / 2
    variance = within.sum()
    if variance <= 0:
        return Measured(float("nan"), float("nan"))
    value = between.sum() / variance
    return Measured(float(value), float(np.sqrt(((between - value * within) ** 2).sum()) / variance))


def _by_half_year(log: PurchaseLog, log_share: Floats) -> tuple[Floats, Floats, Whole]:
    """Of every person and half-year (P, H): summed deviations (P, H, C), summed squares, numbers of orders."""
    known = log.order_user >= 0
    baskets, day = log.baskets[known], log.order_day[known]
    deviation = baskets / baskets.sum(1, keepdims=True) - shares(log_share, day.astype(np.float64) + 0.5)
    half = ((day - log.order_day[0]) // HALF_YEAR).astype(np.int64)
    shape = (int(log.order_user.max()) + 1, int(half.max()) + 1)
    place = log.order_user[known] * shape[1] + half
    total = np.zeros((shape[0] * shape[1], baskets.shape[1]))
    np.add.at(total, place, deviation)
    own = np.bincount(place, (deviation**2).sum(1), len(total)).astype(np.float64)
    number = np.bincount(place, minlength=len(total)).astype(np.int64)
    return total.reshape(*shape, -1), own.reshape(shape), number.reshape(shape)


def per_user_year(log: PurchaseLog, products: bool = False) -> Floats:
    """float64 (user-years,): orders, or `products`, of every customer and year of 365 days with an order."""
    known = log.order_user >= 0
    year = (log.order_day[known] - log.order_day[0]) // 365
    weight = log.baskets[known].sum(1) if products else None
    place = log.order_user[known] * (int(year.max()) + 1) + year
    made = np.bincount(place, weight).astype(np.float64)
    return made[made > 0]


def spread(values: Floats) -> dict[str, float]:
    """Tenth, median and ninetieth percentile, and the mean."""
    low, middle, high = np.quantile(values, QUANTILES)
    return {"p10": float(low), "median": float(middle), "p90": float(high), "mean": float(values.mean())}


# -- all figures of a year ------------------------------------------------------------------------------------------


def log_figures(log: PurchaseLog, log_share: Floats) -> dict[str, float]:
    """Every figure of a purchase log that is one number; `log_share` as in `Preset`, the season tastes are around.

    KLs in nats a purchase, mean over weeks, net of the ``drift_noise`` that permuted orders give.
    """
    raw, noise = drift_size(log)
    half, year = (taste_correlation(log, log_share, apart) for apart in (1, 2))
    figures = {
        "drift": raw - noise,
        "drift_noise": noise,
        "orders_per_day": len(log.order_day) / log.days,
        "taste_concentration": log_concentration(log, log_share),
        "taste_half_year": half.value,
        "taste_half_year_error": half.error,
        "taste_year": year.value,
        "taste_year_error": year.error,
    }
    for label, values in (
        ("orders", per_user_year(log)),
        ("products", per_user_year(log, products=True)),
        ("price", log.price),
    ):
        figures |= {f"{label}_{name}": value for name, value in spread(values).items()}
    return figures


HAZARD_AT = (1, 2, 5, 10, 20)
"""Numbers of clicks at which the chance to go on is compared."""


def click_figures(sizes: Whole) -> dict[str, float]:
    """Length of the visits with a click, `sizes` (V,), and the chance of one more after k; its least rise from k to k.

    A k that fewer than a hundred visits reach is left out.
    """
    reached = {k: int((sizes >= k).sum()) for k in HAZARD_AT}
    hazard = {k: float((sizes > k).sum() / seen) for k, seen in reached.items() if seen >= 100}
    figures = size_figures(sizes) | {f"go_on_{k}": value for k, value in hazard.items()}
    return figures | {"least_rise": float(np.diff(list(hazard.values())).min())}
