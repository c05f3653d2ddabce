"""How many orders come when: the volume's annual harmonics, weekday and hour profiles, and who orders how often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import digamma

from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.preset import harmonics

MONDAY = 4
"""Day 0 of the epoch, 1 January 2010, is a Friday: weekday 4 of a week that begins on Monday."""


def fit_volume(log: PurchaseLog, count: int, penalty: float = 1.0) -> NDArray[np.float64]:
    """float64 (1 + 2 count): harmonics of the log of orders a day, the constant set to 0.

    Poisson likelihood of orders a week, the counts divided by their overdispersion of the first fit (quasi-Poisson,
    McCullagh & Nelder 1989), and the prior of `fit_log_share`.
    """
    day = np.arange(log.days)
    orders = np.bincount(log.order_day - log.order_day[0], minlength=log.days)
    week = day // 7
    weekly = np.bincount(week, orders).astype(np.float64)
    exposure = np.bincount(week).astype(np.float64)
    waves = harmonics(log.order_day[0] + np.bincount(week, day + 0.5) / exposure, count)
    prior = penalty * np.repeat(np.arange(count + 1.0), [1] + [2] * count) ** 2
    first = _poisson(waves, weekly, exposure, prior)
    expected = exposure * np.exp(waves @ first)
    spread = max(1.0, float(((weekly - expected) ** 2 / expected).sum() / (len(weekly) - waves.shape[1])))
    volume = _poisson(waves, weekly / spread, exposure / spread, prior)
    volume[0] = 0.0
    return volume


def _poisson(
    waves: NDArray[np.float64], counts: NDArray[np.float64], exposure: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 (P,): penalised Poisson regression with log link, by Newton's method."""
    coefficients = np.zeros(waves.shape[1])
    coefficients[0] = np.log(counts.sum() / exposure.sum())
    for _ in range(100):
        mean = exposure * np.exp(waves @ coefficients)
        hessian = (waves * mean[:, None]).T @ waves + np.diag(prior)
        step = np.linalg.solve(hessian, waves.T @ (counts - mean) - prior * coefficients)
        coefficients += step
        if np.abs(step).max() < 1e-12:
            break
    return coefficients


def fit_weekday(log: PurchaseLog) -> NDArray[np.float64]:
    """float64 (7,): share of the orders by weekday, Monday first."""
    counts = np.bincount((log.order_day + MONDAY) % 7, minlength=7)
    return counts / counts.sum()


def fit_hour(log: PurchaseLog) -> NDArray[np.float64]:
    """float64 (24,): share of the orders by hour; uniform where the log holds dates only."""
    counts = np.bincount(log.order_hour, minlength=24)
    return np.full(24, 1 / 24) if counts[0] == counts.sum() else counts / counts.sum()


def orders_per_user(log: PurchaseLog) -> NDArray[np.int64]:
    """int64 (users,): orders of each known customer over the log's span, at least 1."""
    counts = np.bincount(log.order_user[log.order_user >= 0])
    return counts[counts > 0]


def fit_activity(orders: NDArray[np.int64]) -> float:
    """Gamma shape of a customer's rate of orders: maximum likelihood of a negative binomial of `orders` per customer.

    The customers are those the log knows, each with an order at least, as are the visitors of the simulated shop.
    """
    sizes, number = np.unique(orders, return_counts=True)
    mean = orders.mean()

    def slope(log_shape: float) -> float:
        shape = np.exp(log_shape)  # the mean's maximum likelihood is the sample mean, whatever the shape
        terms = digamma(sizes + shape) - digamma(shape) + np.log(shape / (shape + mean))
        return float((number * terms).sum())

    low, high = np.log(1e-3), np.log(1e4)
    return float(np.exp(brentq(slope, low, high, xtol=1e-12))) if slope(high) < 0 else float(np.exp(high))


def fit_prices(log: PurchaseLog) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64 (C,), (C,): mean and standard deviation of the log price in each category, each product counted once.

    A product's log price is its mean over the rows that sold it; its category that of its first row.
    """
    items, first = np.unique(log.item, return_index=True)
    price = np.bincount(log.item, np.log(log.price))[items] / np.bincount(log.item)[items]
    category, size = log.category[first], len(log.categories)
    number = np.bincount(category, minlength=size)
    overall = price.mean(), price.std()
    mean = np.where(number > 0, np.bincount(category, price, size) / np.maximum(number, 1), overall[0])
    square = np.bincount(category, (price - mean[category]) ** 2, size)
    return mean, np.sqrt((square + overall[1] ** 2) / (number + 1))
