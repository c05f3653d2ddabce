"""D-LinUCB (Russac, Vernade and Cappe 2019): optimism with weights that fade from page to page."""

from __future__ import annotations

import numpy as np

from perennial.agents.bandits.confidence import Confidence
from perennial.agents.bandits.linear import discounted_root
from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.bandits.memory import FadingPages
from perennial.agents.linucb import LinUCB
from perennial.agents.validation import number


class DLinUCB(LinUCB):
    """Ranks candidates by ``theta . x + width beta sqrt(x' V^-1 W V^-1 x)``.

    Russac, Vernade and Cappe 2019, "Weighted linear bandits for non-stationary environments", algorithm 1 and theorem
    1: V and W are the precisions with weights gamma^age and gamma^(2 age), age in pages; a page is a round of K rows.

    Arguments
    ---------
    gamma : weight lost per page, in (0, 1]
    width : factor on the published width, >= 0; 1 is as published, which with some seventy features hardly stops
        exploring within a season
    sigma : the noise is sigma-sub-Gaussian, >= 0; a click is 1/2-sub-Gaussian
    delta : probability that the truth lies outside the ellipsoid, in (0, 1)
    parameter_norm : S, bound on the norm of theta, >= 0
    feature_norm : L, bound on the norm of x, > 0
    ridge : lambda, strength of the prior that theta is 0, > 0
    rank : user directions and item directions that are multiplied with each other, >= 1; gives rank^2 features
    """

    def __init__(
        self,
        gamma: float = 0.9999,
        width: float = 0.03,
        sigma: float = 0.5,
        delta: float = 0.01,
        parameter_norm: float = 1.0,
        feature_norm: float = 10.0,
        ridge: float = 1.0,
        rank: int = 5,
    ) -> None:
        super().__init__(0.0, ridge, rank, FadingPages(gamma))
        self.width = number("width", width, 0.0)
        self.confidence = Confidence(ridge, sigma, delta, parameter_norm, feature_norm)

    @property
    def squares(self) -> Floats:
        """float64 (size, size): W."""
        memory = self.model.memory
        assert isinstance(memory, FadingPages)
        return memory.squares.A + self.ridge * np.eye(self.size)

    def _refresh(self) -> None:
        super()._refresh()
        memory = self.model.memory
        assert isinstance(memory, FadingPages)
        self.alpha = self.width * float(self.confidence.weighted(memory.squares.rows, self.size))
        self._root = self._served_root(discounted_root(self.model.root, self.squares)).astype(np.float32)
