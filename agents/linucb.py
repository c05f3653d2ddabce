"""LinUCB (Li et al. 2010): a linear model of the click, plus a bonus for what it is not sure of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.memory import Everything, Memory
from perennial.agents.bandits.slates import LinearSlates, bonus
from perennial.agents.validation import number


class LinUCB(LinearSlates):
    """Ranks candidates by ``theta . x + alpha sqrt(x' A^-1 x)``, with one theta for all items.

    Li, Chu, Langford and Schapire 2010, "A contextual-bandit approach to personalized news article recommendation",
    algorithm 1 with shared parameters (one model per item, as printed there, would have thousands of models to fill).
    The target is the click of a slot, 0 or 1; x, learning and serving are those of `LinearSlates`. Forms: with
    `memory` a sliding window, fading or restarted, A and b are sums over what is remembered. Deterministic.

    Arguments
    ---------
    alpha : width of the bonus in standard deviations, >= 0; 0 is greedy
    ridge : strength of the prior that theta is 0, > 0
    rank : user directions and item directions that are multiplied with each other, >= 1; gives rank^2 features
    memory : what is remembered, see `perennial.agents.bandits.memory`; by default everything
    """

    def __init__(self, alpha: float = 0.3, ridge: float = 1.0, rank: int = 5, memory: Memory | None = None) -> None:
        super().__init__(ridge, rank, Everything() if memory is None else memory)
        self.alpha = number("alpha", alpha, 0.0)

    def ranked(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (B, M): the upper confidence bound of each candidate's click rate in the first slot."""
        rows = x.reshape(-1, self.served)
        mean = rows @ self._weights
        if self.alpha > 0.0:
            mean += np.float32(self.alpha) * bonus(rows, self._root)
        return mean.reshape(x.shape[:2])
