"""Linear bandits without slates: a ridge regression over a memory, and the indices and draws made from it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.confidence import Confidence
from perennial.agents.bandits.linear_algebra import Floats, apply, inverse_root, lengths, means
from perennial.agents.bandits.memory import FadingPages, Memory, SlidingPages
from perennial.agents.validation import number


class Ridge:
    """The posterior of theta under the prior N(0, 1 / ridge) and unit noise, from what `memory` holds.

    ``theta`` (..., d) its mean, ``root`` (..., d, d) a root of its covariance V^-1, where ``V = ridge I + A``. Every
    call of `learn` factors V anew: errors of downdating cannot pile up.
    """

    def __init__(self, memory: Memory, ridge: float) -> None:
        self.memory = copy.deepcopy(memory)
        self.ridge = number("ridge", ridge, 0.0, above=True)

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self.size = size
        self.memory.begin(size, batch)
        self.solve()

    def learn(self, x: Floats, y: Floats, ticks: NDArray[np.int64]) -> None:
        """Take pages as `Memory.add` does."""
        self.memory.add(x, y, ticks)
        self.solve()

    @property
    def precision(self) -> Floats:
        """float64 (..., d, d): V."""
        return self.memory.moments.A + self.ridge * np.eye(self.size)

    def solve(self) -> None:
        self.root = inverse_root(self.precision)
        self.theta = apply(self.root, apply(self.root.mT, self.memory.moments.b))

    def state(self) -> dict[str, NDArray[Any]]:
        return self.memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        broken = sorted(name for name, array in state.items() if not np.isfinite(array).all())
        if broken:
            raise ValueError(f"A saved state must hold finite numbers only. Got NaN or infinity in {broken}.")
        self.memory.restore(state)
        self.solve()


class LinearBandit(ABC):
    """Chooses one of M fresh arms a round, in R repetitions side by side; a round is a page of one row."""

    def __init__(self, ridge: Ridge) -> None:
        self.ridge = ridge

    def begin(self, size: int, repetitions: int, rng: np.random.Generator) -> None:
        self.rng, self.round = rng, 0
        self.ridge.begin(size, (repetitions,))

    @abstractmethod
    def scores(self, arms: Floats) -> Floats:
        """float64 (R, M): what the choice is the largest of, for arms (R, M, d)."""

    def choose(self, arms: Floats) -> NDArray[np.int64]:
        """int64 (R,): the arm of each repetition; ties by the lower number."""
        return self.scores(arms).argmax(axis=-1)

    def learn(self, chosen: Floats, reward: Floats) -> None:
        """Take the chosen arms (R, d) and their rewards (R,)."""
        self.ridge.learn(chosen[:, None, None, :], reward[:, None, None], np.array([self.round]))
        self.round += 1


class OptimisticLinear(LinearBandit):
    """LinUCB as OFUL (Abbasi-Yadkori, Pal and Szepesvari 2011), over any memory of unit weights."""

    def __init__(self, memory: Memory, confidence: Confidence) -> None:
        super().__init__(Ridge(memory, confidence.ridge))
        self.confidence = confidence

    def width(self) -> Floats:
        """float64 (R,): width of the ellipsoid."""
        return self.confidence.weighted(self.ridge.memory.moments.rows, self.ridge.size)

    def spread(self) -> Floats:
        """float64 (R, d, d): the root of the matrix whose norm is multiplied by the width."""
        return self.ridge.root

    def scores(self, arms: Floats) -> Floats:
        return means(arms, self.ridge.theta) + self.width()[:, None] * lengths(arms, self.spread())


class SlidingWindowLinear(OptimisticLinear):
    """SW-LinUCB (Cheung, Simchi-Levi and Zhu 2019, algorithm 1)."""

    def __init__(self, window: int, confidence: Confidence) -> None:
        super().__init__(SlidingPages(window), confidence)
        self.window = window

    def width(self) -> Floats:
        return np.asarray(self.confidence.windowed(self.window, self.ridge.size)).reshape(1)


class DiscountedLinear(OptimisticLinear):
    """D-LinUCB (Russac, Vernade and Cappe 2019, algorithm 1): the bonus is the norm of x under V^-1 W V^-1.

    W is the precision with squared weights; the constant prior keeps its full strength in both.
    """

    def __init__(self, gamma: float, confidence: Confidence) -> None:
        super().__init__(FadingPages(gamma), confidence)

    @property
    def memory(self) -> FadingPages:
        memory = self.ridge.memory
        assert isinstance(memory, FadingPages)
        return memory

    def width(self) -> Floats:
        return self.confidence.weighted(self.memory.squares.rows, self.ridge.size)

    def squared(self) -> Floats:
        """float64 (R, d, d): W."""
        return self.memory.squares.A + self.ridge.ridge * np.eye(self.ridge.size)

    def spread(self) -> Floats:
        return discounted_root(self.ridge.root, self.squared())


class SampledLinear(LinearBandit):
    """LinTS (Agrawal and Goyal 2013, algorithm 1): one draw of theta a round, from N(theta, scale^2 V^-1)."""

    def __init__(self, memory: Memory, ridge: float, scale: float) -> None:
        super().__init__(Ridge(memory, ridge))
        self.scale = number("scale", scale, 0.0)

    def scores(self, arms: Floats) -> Floats:
        noise = self.rng.standard_normal(self.ridge.theta.shape)
        return means(arms, self.ridge.theta + self.scale * apply(self.ridge.root, noise))


def discounted_root(root: Floats, squared: Floats) -> Floats:
    """float64 (..., d, d): a root of V^-1 W V^-1, from the root of V^-1 and W = `squared`."""
    return root @ (root.mT @ np.linalg.cholesky(squared))
