"""Tabular bandits, R repetitions side by side: the published policies, for checking ours against their papers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.validation import number, whole

Ints = NDArray[np.int64]


class TabularBandit(ABC):
    """Pulls one of K arms a round; every repetition has its own statistics, and all share one generator.

    Ties go to the lowest arm; an arm without statistics has an infinite index. ``round`` counts the pulls so far.
    ``pulls`` and ``total`` float64 (R, K): weighted number of pulls and sum of rewards of each arm.
    """

    def begin(self, repetitions: int, arms: int, rng: np.random.Generator) -> None:
        """Forget everything."""
        self.rng, self.round = rng, 0
        self.pulls = np.zeros((repetitions, arms))
        self.total = np.zeros((repetitions, arms))
        self.rows = np.arange(repetitions)

    @abstractmethod
    def index(self) -> Floats:
        """float64 (R, K): the arm with the largest is pulled."""

    def choose(self) -> Ints:
        """int64 (R,): the arm of each repetition."""
        return self.index().argmax(axis=1)

    def learn(self, arms: Ints, rewards: Floats) -> None:
        """Take the arms pulled (R,) and their rewards (R,), in [0, 1] unless the policy says otherwise."""
        self.pulls[self.rows, arms] += 1.0
        self.total[self.rows, arms] += rewards
        self.round += 1

    @property
    def means(self) -> Floats:
        """float64 (R, K): weighted mean reward, 0 for an arm without pulls."""
        return np.divide(self.total, self.pulls, out=np.zeros_like(self.total), where=self.pulls > 0)

    def _optimistic(self, bonus: float | Floats) -> Floats:
        """float64 (R, K): mean + sqrt(bonus / pulls), infinite without pulls."""
        squared = np.divide(bonus, self.pulls, out=np.full_like(self.pulls, np.inf), where=self.pulls > 0)
        return self.means + np.sqrt(squared)


class Ucb1(TabularBandit):
    """UCB1: mean + sqrt(2 ln n / n_j) after n pulls (Auer, Cesa-Bianchi and Fischer 2002, figure 1)."""

    def index(self) -> Floats:
        return self._optimistic(2.0 * np.log(max(self.round, 1)))


class KlUcb(TabularBandit):
    """kl-UCB (Garivier and Cappe 2011, algorithm 1): the largest q with n_j kl(mean, q) <= log t + c log log t.

    t is the number of the round to come; the authors recommend c = 0 in practice.
    """

    def __init__(self, c: float = 0.0) -> None:
        self.c = number("c", c, 0.0)

    def index(self) -> Floats:
        return kl_index(self.means, self.pulls, self.level(np.float64(self.round + 1)))

    def level(self, t: Floats | np.float64) -> Floats:
        """What n_j kl(mean, q) may come to in round t."""
        log = np.log(np.maximum(t, 1.0))
        return np.asarray(log + (self.c * np.log(np.maximum(log, 1.0)) if self.c else 0.0))


class BetaThompson(TabularBandit):
    """Thompson sampling with prior Beta(a, b) (Agrawal and Goyal 2012, algorithm 1; rewards 0 or 1)."""

    def __init__(self, a: float = 1.0, b: float = 1.0) -> None:
        self.a, self.b = number("a", a, 0.0, above=True), number("b", b, 0.0, above=True)

    def index(self) -> Floats:
        return self.rng.beta(self.a + self.total, self.b + self.pulls - self.total)


class GaussianThompson(TabularBandit):
    """Thompson sampling with Gaussian priors (Agrawal and Goyal 2013, algorithm 2): any real rewards.

    theta_j ~ N(S_j / (n_j + 1), scale^2 / (n_j + 1)); scale is 1 in the paper.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = number("scale", scale, 0.0)

    def index(self) -> Floats:
        noise = self.rng.standard_normal(self.pulls.shape)
        return self.total / (self.pulls + 1) + self.scale * noise / np.sqrt(self.pulls + 1)


class DiscountedUcb(TabularBandit):
    """D-UCB (Garivier and Moulines 2011, section 2.1): weights gamma^age, bonus 2 B sqrt(xi log n / n_j).

    n is the sum of the weighted pulls n_j; its logarithm is taken as 0 where it is below 1. Arms 0 to K - 1 come first.
    """

    def __init__(self, gamma: float, xi: float = 0.6, bound: float = 1.0) -> None:
        self.gamma, self.xi = number("gamma", gamma, 0.0, 1.0, above=True), number("xi", xi, 0.0)
        self.bound = number("bound", bound, 0.0)

    def index(self) -> Floats:
        weight = np.maximum(np.log(np.maximum(self.pulls.sum(axis=1, keepdims=True), 1.0)), 0.0)
        return self._optimistic(4.0 * self.bound**2 * self.xi * weight)

    def learn(self, arms: Ints, rewards: Floats) -> None:
        self.pulls *= self.gamma
        self.total *= self.gamma
        super().learn(arms, rewards)


class SlidingWindowUcb(TabularBandit):
    """SW-UCB (Garivier and Moulines 2011, section 2.2): the last `window` pulls, bonus B sqrt(xi log(min(t, w)) / n_j).

    t counts the pulls so far. An arm without a pull in the window is pulled next.
    """

    def __init__(self, window: int, xi: float = 0.6, bound: float = 1.0) -> None:
        self.window, self.xi = whole("window", window, 1), number("xi", xi, 0.0)
        self.bound = number("bound", bound, 0.0)

    def begin(self, repetitions: int, arms: int, rng: np.random.Generator) -> None:
        super().begin(repetitions, arms, rng)
        self._arms = np.zeros((self.window, repetitions), dtype=np.int64)
        self._rewards = np.zeros((self.window, repetitions))

    def index(self) -> Floats:
        return self._optimistic(self.bound**2 * self.xi * np.log(max(1, min(self.round, self.window))))

    def learn(self, arms: Ints, rewards: Floats) -> None:
        place = self.round % self.window
        if self.round >= self.window:
            self.pulls[self.rows, self._arms[place]] -= 1.0
            self.total[self.rows, self._arms[place]] -= self._rewards[place]
        self._arms[place], self._rewards[place] = arms, rewards
        super().learn(arms, rewards)


class DiscountedThompson(BetaThompson):
    """Discounted Thompson sampling (Raj and Kalyani 2017, algorithm 1; rewards 0 or 1).

    Successes and failures of *all* arms fade by gamma a round, the prior does not: theta_j ~ Beta(S_j + a, F_j + b).
    """

    def __init__(self, gamma: float, a: float = 1.0, b: float = 1.0) -> None:
        super().__init__(a, b)
        self.gamma = number("gamma", gamma, 0.0, 1.0, above=True)

    def learn(self, arms: Ints, rewards: Floats) -> None:
        self.pulls *= self.gamma
        self.total *= self.gamma
        super().learn(arms, rewards)


def kl(p: Floats, q: Floats) -> Floats:
    """float64: relative entropy of Bernoulli distributions, with 0 log 0 = 0; infinite where q excludes p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
        second = np.where(p < 1, (1 - p) * (np.log1p(-p) - np.log1p(-q)), 0.0)
    return np.asarray(first + second)


def kl_index(means: Floats, pulls: Floats, level: Floats, steps: int = 32) -> Floats:
    """float64, shape of `means`: the largest q in [mean, 1] with ``pulls kl(mean, q) <= level``, by bisection.

    Infinite without pulls. The bracket starts at Pinsker's mean + sqrt(level / (2 pulls)); 32 halvings leave 1e-10.
    """
    room = np.divide(level, pulls, out=np.full(np.broadcast(level, pulls).shape, np.inf), where=pulls > 0)
    low, high = means.copy(), np.minimum(1.0, means + np.sqrt(room / 2))
    for _ in range(steps):
        middle = (low + high) / 2
        inside = kl(means, middle) <= room
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(pulls > 0, low, np.inf)
