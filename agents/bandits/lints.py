"""LinTS (Agrawal and Goyal 2013): a linear model of the click, with weights drawn from what may be true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.memory import Everything, Memory
from perennial.agents.bandits.slates import LinearSlates
from perennial.agents.base import Decision, Keys, Observations
from perennial.agents.validation import number


class LinTS(LinearSlates):
    """Ranks candidates by ``w . x``, with one draw of ``w ~ N(theta, scale^2 A^-1)`` a page.

    Agrawal and Goyal 2013, "Thompson sampling for contextual bandits with linear payoffs", algorithm 1; their analysis
    asks for a scale of ``R sqrt(9 d log(t / delta))``, practice for the noise's standard deviation. The chance of a
    whole ranking under a Gaussian draw has no closed form: propensities are declared unknown (NaN).

    Arguments
    ---------
    scale : standard deviation of the draw, in units of the noise, >= 0; 0 is greedy (and still declared unknown)
    ridge : strength of the prior that theta is 0, > 0
    rank : user directions and item directions that are multiplied with each other, >= 1; gives rank^2 features
    memory : what is remembered, see `perennial.agents.bandits.memory`; by default everything
    """

    def __init__(self, scale: float = 0.3, ridge: float = 1.0, rank: int = 5, memory: Memory | None = None) -> None:
        super().__init__(ridge, rank, Everything() if memory is None else memory)
        self.scale = number("scale", scale, 0.0)

    def draw(self, pages: int) -> NDArray[np.float32]:
        """float32 (pages, served): one draw of the weights for each page."""
        noise = self.rng.standard_normal((pages, self.served), dtype=np.float32)
        return self._weights + np.float32(self.scale) * (noise @ self._root.T)

    def ranked(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (B, M): click rates as each page's draw has them; a call draws anew."""
        return (x @ self.draw(len(x))[:, :, None])[:, :, 0]

    def act(self, observations: Observations, keys: Keys) -> Decision:
        choice = super().act(observations, keys)
        return Decision(choice.slates, np.full(choice.slates.shape, np.nan), choice.extras)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return np.full(slates.shape, np.nan)
