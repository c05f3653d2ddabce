"""Published widths of the confidence ellipsoids of linear bandits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.validation import number


@dataclass(frozen=True)
class Confidence:
    """What the published widths assume of the problem.

    Arguments
    ---------
    ridge : lambda, the strength of the prior, > 0
    sigma : the noise is sigma-sub-Gaussian, >= 0; a click, in [0, 1], is 1/2-sub-Gaussian (Hoeffding 1963)
    delta : probability that the truth lies outside, in (0, 1)
    parameter_norm : S, bound on the norm of theta, >= 0
    feature_norm : L, bound on the norm of a row, > 0
    """

    ridge: float
    sigma: float = 0.5
    delta: float = 0.01
    parameter_norm: float = 1.0
    feature_norm: float = 1.0

    def __post_init__(self) -> None:
        number("ridge", self.ridge, 0.0, above=True)
        number("sigma", self.sigma, 0.0)
        if not 0.0 < number("delta", self.delta, 0.0, 1.0, above=True) < 1.0:
            raise ValueError(f"'delta' must be a number in (0, 1). Got {self.delta!r}.")
        number("parameter_norm", self.parameter_norm, 0.0)
        number("feature_norm", self.feature_norm, 0.0, above=True)

    def weighted(self, rows: Floats, size: int) -> Floats:
        """Width after rows with weights w, where `rows` is the sum of w^2.

        With weights gamma^age it is Russac, Vernade and Cappe 2019, theorem 1 (rows = (1 - gamma^2t) / (1 - gamma^2));
        with weights 1 it is Abbasi-Yadkori, Pal and Szepesvari 2011, theorem 2 (rows = t).
        """
        inside = 2 * math.log(1 / self.delta) + size * np.log1p(rows * self.feature_norm**2 / (size * self.ridge))
        return np.asarray(math.sqrt(self.ridge) * self.parameter_norm + self.sigma * np.sqrt(inside))

    def windowed(self, window: int, size: int) -> float:
        """Width for a sliding window: Cheung, Simchi-Levi and Zhu 2019, theorem 2."""
        inside = size * math.log((1 + window * self.feature_norm**2 / self.ridge) / self.delta)
        return math.sqrt(self.ridge) * self.parameter_norm + self.sigma * math.sqrt(inside)
