"""Intervals and ratios on score arrays: pure functions, one value per seed, seeds in the same order everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Scores = NDArray[np.float64]
"""float64 (S,): one score per seed."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its two-sided interval [low, high]; NaN bounds where n < 2 allows none."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def scores(values: ArrayLike, name: str = "values") -> Scores:
    """`values` as float64 (S,); refuses an empty or non-finite array."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"'{name}' must be a flat array with one score per seed. Got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"'{name}' must be finite. Got {array.tolist()}. A seed's run is missing or broken.")
    return array


def t_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean (Student 1908): mean +- t_{n-1} s / sqrt(n)."""
    array = scores(values)
    if not 0 < confidence < 1:
        raise ValueError(f"'confidence' must lie in (0, 1). Got {confidence!r}.")
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Interval(mean, float("nan"), float("nan"), n)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * array.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def share_interval(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a share (Clopper and Pearson 1934): `hits` of `n` independent trials."""
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"'hits' must lie between 0 and 'n' >= 1. Got {hits} of {n}.")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Interval(hits / n, low, high, n)


def paired_interval(treated: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Interval:
    """The paired t interval of treated - control; entry i of both comes from seed i."""
    first, second = _paired(treated, control)
    return t_interval(first - second, confidence)


def uplift(treated: ArrayLike, control: ArrayLike) -> Scores:
    """float64 (S,): treated / control - 1, seed by seed, so that a seed with a richer world weighs no more."""
    first, second = _paired(treated, control)
    if not (second > 0).all():
        raise ValueError(f"'control' must be positive for a relative uplift. Got {second.tolist()}.")
    return first / second - 1


def uplift_interval(treated: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean relative uplift over the seeds with its paired t interval."""
    return t_interval(uplift(treated, control), confidence)


def variance_factor(treated: ArrayLike, control: ArrayLike) -> float:
    """How much pairing saves: Var[treated - control] in unpaired worlds over the same in shared worlds.

    Unpaired worlds are independent, so their variance is the sum of both arms' variances; shared worlds subtract
    twice the covariance (common random numbers; Glasserman & Yao 1992). NaN below two seeds.
    """
    first, second = _paired(treated, control)
    if len(first) < 2:
        return float("nan")
    unpaired = float(first.var(ddof=1) + second.var(ddof=1))
    paired = float((first - second).var(ddof=1))
    if paired == 0:
        return float("inf") if unpaired else float("nan")
    return unpaired / paired


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half: floor(n / 4) scores cut off at each end (Agarwal et al. 2021)."""
    return float(stats.trim_mean(scores(values), 0.25))


def _paired(treated: ArrayLike, control: ArrayLike) -> tuple[Scores, Scores]:
    first, second = scores(treated, "treated"), scores(control, "control")
    if len(first) != len(second):
        raise ValueError(
            f"'treated' and 'control' must hold the same seeds. Got {len(first)} and {len(second)} scores."
        )
    return first, second
