"""SW-LinUCB (Cheung, Simchi-Levi and Zhu 2019): optimism over the last W pages."""

from __future__ import annotations

from perennial.agents.bandits.confidence import Confidence
from perennial.agents.bandits.memory import SlidingPages
from perennial.agents.linucb import LinUCB
from perennial.agents.validation import number


class SwLinUCB(LinUCB):
    """LinUCB over the last `pages` pages, with the width of the published confidence ellipsoid.

    Cheung, Simchi-Levi and Zhu 2019, "Learning to optimize under non-stationarity", algorithm 1 and theorem 2; a page
    is a round of K rows. Its state holds the window's rows: 8 bytes x pages x slots x features.

    Arguments
    ---------
    pages : the window W, >= 1
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
        pages: int = 5000,
        width: float = 0.03,
        sigma: float = 0.5,
        delta: float = 0.01,
        parameter_norm: float = 1.0,
        feature_norm: float = 10.0,
        ridge: float = 1.0,
        rank: int = 5,
    ) -> None:
        super().__init__(0.0, ridge, rank, SlidingPages(pages))
        self.pages = pages
        self.width = number("width", width, 0.0)
        self.confidence = Confidence(ridge, sigma, delta, parameter_norm, feature_norm)

    def _refresh(self) -> None:
        super()._refresh()
        rows = self.pages * self.spaces.slate_size
        self.alpha = self.width * self.confidence.windowed(rows, self.size)
