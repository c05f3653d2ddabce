"""Have two samples the same distribution? Population stability index and Kolmogorov-Smirnov, judged by their nulls.

Both samples come as counts in the same cells, int64 (B,): bins of a quantity, categories, or single values (ties then
are what they are). Neither is judged by a fixed ".1 or .2": under no drift at all, an index above .1 is the rule in
small samples.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Counts = NDArray[Any]

FEW = 50
"""Below so many expected counts in a cell, the index is judged by simulation and no longer by chi-square."""


def _checked(reference: Counts, current: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as int64, without the cells that are empty in both."""
    a, b = np.asarray(reference), np.asarray(current)
    if a.shape != b.shape or a.ndim != 1 or (a < 0).any() or (b < 0).any() or not (a.sum() and b.sum()):
        raise ValueError(
            "'reference' and 'current' must be counts >= 0 in the same cells, not all 0. "
            f"Got shapes {a.shape} and {b.shape}, totals {a.sum()} and {b.sum()}."
        )
    used = (a + b) > 0
    return a[used].astype(np.int64), b[used].astype(np.int64)


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index: sum over cells of (q - p) ln(q / p), the symmetrised Kullback-Leibler divergence.

    p and q are the samples' shares (Siddiqi 2006; Jeffreys 1946). Where a cell is empty in one of them, half a count is
    added to every cell of both, as the logarithm needs.

    >>> round(psi([25, 25, 50], [40, 20, 40]), 6)
    0.103972
    """
    a, b = _checked(reference, current)
    return float(_psi(a, b[None])[0])


def kl(reference: Counts, current: Counts) -> float:
    """Kullback-Leibler divergence of the current shares q from the reference p: sum of q ln(q / p), in nats.

    Kullback and Leibler (1951), with half counts as in `psi`.

    >>> round(kl([25, 25, 50], [40, 20, 40]), 6)
    0.054115
    """
    a, b = _checked(reference, current)
    half = 0.0 if (a > 0).all() and (b > 0).all() else 0.5
    p, q = (a + half) / (a + half).sum(), (b + half) / (b + half).sum()
    return float(np.sum(q * np.log(q / p)))


def _psi(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """The index of `a` (B,) or (R, B) against each row of `b` (R, B)."""
    a = np.broadcast_to(a, b.shape)
    half = np.where((a > 0).all(axis=1) & (b > 0).all(axis=1), 0.0, 0.5)[:, None]
    p, q = a + half, b + half
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = ((q - p) * np.log(q / p)).sum(axis=1)
    return found


def psi_p_value(reference: Counts, current: Counts, rng: np.random.Generator, draws: int = 999) -> float:
    """Chance of an index at least as large if both samples came from one distribution.

    Where every cell expects `FEW` or more: the index is (1 / n + 1 / m) x chi-square with B - 1 degrees of freedom
    (Yurdakul and Naranjo 2020). Elsewhere: its place among `draws` random divisions of the pooled values into samples
    of the same sizes, which is exact at any size (Phipson and Smyth 2010 for the added one).
    """
    a, b = _checked(reference, current)
    n, m, found = int(a.sum()), int(b.sum()), psi(a, b)
    if len(a) == 1:
        return 1.0
    if expected(a, b).min() >= FEW:
        return float(stats.chi2.sf(found / (1 / n + 1 / m), len(a) - 1))
    pooled = a + b
    redrawn = rng.multivariate_hypergeometric(pooled, m, size=draws, method="marginals")
    return float((1 + np.sum(_psi_rows(pooled, redrawn) >= found - 1e-12)) / (draws + 1))


def _psi_rows(pooled: NDArray[np.int64], redrawn: NDArray[np.int64]) -> NDArray[np.float64]:
    return _psi(pooled[None] - redrawn, redrawn)


def expected(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """float64 (B,): the counts that the smaller sample expects if both are alike."""
    a, b = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    found: NDArray[np.float64] = (a + b) * min(a.sum(), b.sum()) / (a.sum() + b.sum())
    return found


def ks(reference: Counts, current: Counts, side: str = "both") -> float:
    """Kolmogorov-Smirnov distance of the two samples whose ordered cells hold `reference` and `current` counts.

    The largest gap between the cumulated shares; "down" takes only gaps where the current sample lies lower, "up" only
    those where it lies higher (Smirnov 1939).

    >>> ks([1, 1, 2], [2, 1, 1])
    0.25
    """
    a, b = _checked(reference, current)
    return float(_ks(a[None], b[None], side)[0])


def _ks(a: NDArray[np.int64], b: NDArray[np.int64], side: str) -> NDArray[np.float64]:
    gaps = b.cumsum(axis=1) / b.sum(axis=1, keepdims=True) - a.cumsum(axis=1) / a.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = {"down": gaps, "up": -gaps, "both": np.abs(gaps)}[side].max(axis=1)
    return np.maximum(found, 0.0)


def ks_p_value(
    reference: Counts, current: Counts, rng: np.random.Generator, draws: int = 999, side: str = "both"
) -> float:
    """Chance of a distance at least as large if both samples came from one distribution, ties and all.

    The textbook law holds for values without ties and is far too timid for ours; here the pooled values are divided at
    random, which keeps the ties and is exact at any size.
    """
    a, b = _checked(reference, current)
    if len(a) == 1:
        return 1.0
    pooled, found = a + b, ks(a, b, side)
    redrawn = rng.multivariate_hypergeometric(pooled, int(b.sum()), size=draws, method="marginals")
    return float((1 + np.sum(_ks(pooled[None] - redrawn, redrawn, side) >= found - 1e-12)) / (draws + 1))


def smallest_index(cells: int, n: int, m: int, alpha: float, power: float = 0.8) -> float:
    """The population stability index that a test of level `alpha` sees with chance `power`.

    The index between the distributions, so that (its value) / (1 / n + 1 / m) is the non-centrality at which
    chi-square with `cells` - 1 degrees of freedom has that power.
    """
    freedom = max(cells - 1, 1)
    bar = stats.chi2.isf(alpha, freedom)
    low, high = 0.0, 1.0
    while stats.ncx2.sf(bar, freedom, high) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stats.ncx2.sf(bar, freedom, middle) < power else (low, middle)
    return high * (1 / n + 1 / m)


def smallest_shift(
    standard_error: float, alpha: float, power: float = 0.8, sides: int = 2, freedom: float = math.inf
) -> float:
    """The shift of a mean that a t test of level `alpha` sees with chance `power`: (t_alpha + t_power) x its error.

    >>> round(smallest_shift(1.0, 0.05), 3)
    2.802
    """
    return float((stats.t.isf(alpha / sides, freedom) + stats.t.ppf(power, freedom)) * standard_error)


def smallest_distance(n: int, m: int, alpha: float, power: float = 0.8) -> float:
    """A Kolmogorov-Smirnov distance seen with chance `power` or more: Kolmogorov's bar plus the gap's own spread.

    Where the gap is largest each share errs by at most half over root n (Massart 1990 for the bar).
    """
    scale = math.sqrt(1 / n + 1 / m)
    return scale * (math.sqrt(-math.log(alpha / 2) / 2) + 0.5 * float(stats.norm.ppf(power)))
