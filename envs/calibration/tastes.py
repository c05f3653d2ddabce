"""How much visitors' tastes differ: the Dirichlet concentration of a person's category shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.seasons import shares


def fit_concentration(baskets: NDArray[np.float64], expected: NDArray[np.float64], user: NDArray[np.int64]) -> float:
    """Concentration a of Dirichlet(a share), a person's category shares around the shop's.

    ``baskets`` float64 (O, C) counts of an order; ``expected`` float64 (O, C) the shop's shares at the order's day, so
    that the season is no taste; ``user`` int64 (O,), -1 = unknown, left out.
    By moments: two different orders of a person share nothing but the person's taste, so the mean product of their
    deviations is the variance of taste, sum_c share_c (1 - share_c) / (1 + a), whatever the orders' size and however
    products clump within one. Persons are weighted by their orders less one.
    """
    known = user >= 0
    order_share = baskets[known] / baskets[known].sum(1, keepdims=True)
    deviation = order_share - expected[known]
    _, person, orders = np.unique(user[known], return_inverse=True, return_counts=True)
    total = np.zeros((len(orders), baskets.shape[1]))
    np.add.at(total, person, deviation)
    own = np.bincount(person, (deviation**2).sum(1))
    products = ((total**2).sum(1) - own)[orders > 1] / orders[orders > 1]
    weight = orders[orders > 1] - 1
    variance = products.sum() / weight.sum() if len(weight) else 0.0
    share = expected[known].mean(0)
    return float((1 - (share**2).sum()) / max(variance, 1e-4) - 1)


def log_concentration(log: PurchaseLog, log_share: NDArray[np.float64]) -> float:
    """`fit_concentration` on a log, around its fitted season."""
    expected = shares(log_share, log.order_day.astype(np.float64) + 0.5)
    return fit_concentration(log.baskets, expected, log.order_user)
