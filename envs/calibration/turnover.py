"""How fast tastes turn over: how alike two orders of one person are, by the time between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.seasons import shares

LAGS = np.array([1.0, 30, 60, 91, 137, 183, 274, 365, 456, 548, 730, 913, 1096])
"""Edges of the lag bins, days."""

BOOTSTRAPS = 200
KNOT_DAYS = (60.0, 1500.0)
"""Range in which knot_days is sought: beyond it a log of three years cannot tell."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TurnoverFit:
    """``share`` of the variance of tastes that moves, ``knot_days`` of its path, and their standard errors (bootstrap
    over persons). ``lag`` (days) and ``likeness`` (B,): the mean product of two orders' deviations over that at lag 0.
    """

    share: float
    knot_days: float
    share_error: float
    knot_days_error: float
    lag: Floats
    likeness: Floats


def fit_turnover(log: PurchaseLog, log_share: Floats, seed: int = 0) -> TurnoverFit:
    """The turnover (`perennial.envs.drift.Turnover`) of a log of several years, around its fitted season.

    Two different orders of a person share nothing but the person's taste, so that the mean product of their deviations
    from the shop's shares is the covariance of tastes at their lag, however products clump within an order: no noise
    has to be taken off (as in `tastes.fit_concentration`). Least squares, bins weighted by their pairs.
    """
    products, pairs, lags = by_person(log, log_share)
    found = _fit(products.sum(0), pairs.sum(0), lags.sum(0) / np.maximum(pairs.sum(0), 1))
    rng, again = np.random.default_rng(seed), []
    for _ in range(BOOTSTRAPS):
        who = rng.integers(0, len(products), len(products))
        total = pairs[who].sum(0)
        again.append(_fit(products[who].sum(0), total, lags[who].sum(0) / np.maximum(total, 1)))
    share_error, knot_error = np.std(np.array(again)[:, 1:], axis=0, ddof=1)
    mean = products.sum(0) / pairs.sum(0)
    lag = lags.sum(0) / pairs.sum(0)
    return TurnoverFit(found[1], found[2], float(share_error), float(knot_error), lag, mean / found[0])


def by_person(log: PurchaseLog, log_share: Floats) -> tuple[Floats, Floats, Floats]:
    """Of every person with two orders or more, by lag bin (P, B): summed products, number of pairs, summed lags."""
    known = log.order_user >= 0
    day, user, baskets = log.order_day[known], log.order_user[known], log.baskets[known]
    deviation = baskets / baskets.sum(1, keepdims=True) - shares(log_share, np.asarray(day, np.float64) + 0.5)
    order = np.argsort(user, kind="stable")
    bins, rows = len(LAGS) - 1, []
    for mine in np.split(order, np.flatnonzero(np.diff(user[order])) + 1):
        one, two = np.triu_indices(len(mine), 1)
        lag = np.abs(day[mine[two]] - day[mine[one]]).astype(np.float64)
        place = np.searchsorted(LAGS, lag, side="right") - 1
        kept = (place >= 0) & (place < bins)
        product = np.einsum("oc,pc->op", deviation[mine], deviation[mine])[one, two]
        columns = (product, np.ones_like(lag), lag)
        rows.append([np.bincount(place[kept], column[kept], bins) for column in columns])
    products, pairs, lags = np.moveaxis(np.array(rows), 1, 0)
    return products, pairs, lags


def autocorrelation(lag: Floats, knot_days: float) -> Floats:
    """float64, the shape of `lag`: of the path through independent knots (`response.taste_now`), over its places."""
    place = (np.arange(64) + 0.5) / 64
    ahead = place + np.asarray(lag)[..., None] / knot_days
    step = np.floor(ahead)
    one, two = 0.5 * np.pi * place, 0.5 * np.pi * (ahead - step)
    same = np.cos(one) * np.cos(two) + np.sin(one) * np.sin(two)
    return np.asarray(np.where(step == 0, same, np.where(step == 1, np.sin(one) * np.cos(two), 0.0)).mean(-1))


def _fit(products: Floats, pairs: Floats, lag: Floats) -> tuple[float, float, float]:
    """(variance, share, knot_days)."""
    seen = pairs > 0
    mean, weight = products[seen] / pairs[seen], np.sqrt(pairs[seen] / pairs.sum())

    def miss(parameters: Floats) -> Floats:
        variance, share, knots = parameters[0] * mean[0], parameters[1], np.exp(parameters[2])
        return weight * (variance * (1 - share + share * autocorrelation(lag[seen], knots)) / mean[0] - mean / mean[0])

    low, high = np.log(KNOT_DAYS)
    start, ends = [1.0, 0.3, np.log(365.0)], ([0.1, 0.0, low], [10.0, 1.0, high])
    found = least_squares(miss, start, bounds=ends).x
    return float(found[0] * mean[0]), float(found[1]), float(np.exp(found[2]))
