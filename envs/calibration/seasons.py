"""The season of a log: annual harmonics of the categories' weekly log-shares, by penalised maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.preset import YEAR_DAYS, harmonics

PERMUTATIONS = 50
ORDERS = range(1, 9)
"""Numbers of harmonics that cross-validation compares."""

TWO_YEARS = 700
"""Days from which on a log has a second year to judge by."""


@dataclass(frozen=True)
class Weeks:
    """A log in W weeks. ``day`` float64 (W,) middle of the week in days since the epoch; ``counts`` float64 (W, C)."""

    day: NDArray[np.float64]
    counts: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_]) -> Weeks:
        return Weeks(self.day[rows], self.counts[rows])


def week_of_order(log: PurchaseLog) -> NDArray[np.int64]:
    """int64 (O,): the order's week, from 0; 52 weeks a year, its last one holding the odd day or two."""
    year, day = np.divmod(log.order_day - log.order_day[0], 365)
    return year * 52 + np.minimum(day // 7, 51)


def weekly(log: PurchaseLog) -> Weeks:
    """The log's bought products by week and category; weeks without an order are left out."""
    week, baskets = week_of_order(log), log.baskets
    counts = np.zeros((int(week[-1]) + 1, len(log.categories)))
    np.add.at(counts, week, baskets)
    middle = np.bincount(week, log.order_day + 0.5) / np.maximum(np.bincount(week), 1)
    return Weeks(middle, counts).take(counts.sum(1) > 0)


def design_effect(baskets: NDArray[np.float64]) -> float:
    """How many times the variance of category counts exceeds a multinomial's because products come in baskets.

    ``baskets`` (O, C). Pearson's statistic of the baskets over its multinomial expectation (Rao & Scott 1981).
    """
    size = baskets.sum(1)
    share = baskets.sum(0) / size.sum()
    seen = share > 0
    excess = (baskets - size[:, None] * share)[:, seen] ** 2 / share[seen]
    return max(1.0, float(excess.sum() / (size.sum() * max(int(seen.sum()) - 1, 1))))


def fit_log_share(weeks: Weeks, count: int, effect: float, penalty: float = 1.0) -> NDArray[np.float64]:
    """float64 (C, 1 + 2 count): harmonics of log share, summing to 0 over categories.

    Multinomial likelihood with the counts divided by the design effect `effect`, and a normal prior of precision
    `penalty` h^2 on the coefficients of harmonic h (smooth seasons). Newton's method, to machine precision.
    """
    waves = harmonics(weeks.day, count)
    weighted = weeks.counts / effect
    prior = penalty * np.repeat(np.arange(count + 1.0), [1] + [2] * count) ** 2
    prior[0] = 1e-6
    coefficients = np.zeros((weeks.counts.shape[1], waves.shape[1]))
    coefficients[:, 0] = np.log(weighted.sum(0) + 0.5) - np.log(weighted.sum(0) + 0.5).mean()
    for _ in range(100):
        step = _newton_step(waves, weighted, coefficients, prior)
        coefficients += step
        if np.abs(step).max() < 1e-12:
            break
    return coefficients - coefficients.mean(0)


def _newton_step(
    waves: NDArray[np.float64],
    counts: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """float64 (C, P): the damped Newton step of the penalised log-likelihood."""
    share = softmax(waves @ coefficients.T)
    total = counts.sum(1)
    gradient = (counts - total[:, None] * share).T @ waves - prior * coefficients
    inner = np.einsum("w,wc,wp,wq->cpq", total, share, waves, waves, optimize=True)
    hessian = -np.einsum("w,wc,wd,wp,wq->cpdq", total, share, share, waves, waves, optimize=True)
    categories, size = coefficients.shape
    own = np.arange(categories)
    hessian[own, :, own, :] += inner + np.diag(prior)
    step = np.linalg.solve(hessian.reshape(categories * size, -1), gradient.ravel()).reshape(categories, size)
    return step / max(1.0, float(np.abs(step).max()))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64, the shape of `logits`: shares over the last axis."""
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def shares(coefficients: NDArray[np.float64], day: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (D, C): the categories' shares on each `day`, from the harmonics of their log-shares."""
    return softmax(harmonics(day, (coefficients.shape[1] - 1) // 2) @ coefficients.T)


def year_share(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (C,): the mean over the year of the categories' shares."""
    return shares(coefficients, (np.arange(365) + 0.5) * YEAR_DAYS / 365).mean(0)


def score(weeks: Weeks, coefficients: NDArray[np.float64]) -> float:
    """Mean log-likelihood of a purchase, nats."""
    return float((weeks.counts * np.log(shares(coefficients, weeks.day))).sum() / weeks.counts.sum())


def cross_validate(log: PurchaseLog) -> dict[int, float]:
    """Score, nats a purchase, of what was held out from the fit, by the number of harmonics.

    A log of two years is fitted on the first and scored on the second; one of a year on every second week, then on
    the others, and scored on the rest.
    """
    weeks, effect = weekly(log), design_effect(log.baskets)
    second = weeks.day >= log.order_day[0] + 365
    odd = np.arange(len(weeks.day)) % 2 == 1
    tests = [second] if log.days >= TWO_YEARS else [odd, ~odd]

    def held_out(count: int, test: NDArray[np.bool_]) -> float:
        return score(weeks.take(test), fit_log_share(weeks.take(~test), count, effect))

    return {count: float(np.mean([held_out(count, test) for test in tests])) for count in ORDERS}


def drift_size(log: PurchaseLog, seed: int = 0) -> tuple[float, float]:
    """(raw, noise): mean over weeks of KL(week's share || year's share) in nats, and the same under permuted orders.

    The permutation gives each week other orders, as many as it had, so that it keeps the baskets whole; the mean of
    `PERMUTATIONS` of them is the noise. Years are taken one by one and averaged.
    """
    rng = np.random.default_rng(seed)
    week, baskets = week_of_order(log), log.baskets
    raw, noise = [], []
    for year in np.unique(week // 52):
        rows = week // 52 == year
        raw.append(_mean_kl(week[rows] % 52, baskets[rows]))
        noise += [_mean_kl(rng.permutation(week[rows] % 52), baskets[rows]) for _ in range(PERMUTATIONS)]
    return float(np.mean(raw)), float(np.mean(noise))


def _mean_kl(week: NDArray[np.int64], baskets: NDArray[np.float64]) -> float:
    order = np.argsort(week, kind="stable")
    starts = np.flatnonzero(np.diff(week[order], prepend=-1))
    counts = np.add.reduceat(baskets[order], starts, axis=0)
    return float(divergence(counts / counts.sum(1, keepdims=True), counts.sum(0) / counts.sum()).mean())


def divergence(share: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64: KL(share || reference) in nats over the last axis; a share of 0 adds 0."""
    ratio = np.divide(share, reference, out=np.ones_like(share + reference), where=share > 0)
    return np.asarray((share * np.log(ratio)).sum(-1))
