"""Playing bandits in the settings of papers, all repetitions side by side; what comes back is pseudo-regret."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from perennial.agents.bandits.linear import LinearBandit
from perennial.agents.bandits.tabular import TabularBandit
from perennial.experiments.published.entry import Floats


class Arms(Protocol):
    """The arms of a round: float64 (R, K, d)."""

    def __call__(self, rng: np.random.Generator, repetitions: int) -> Floats: ...


def bernoulli_regret(bandit: TabularBandit, means: Floats, repetitions: int, rng: np.random.Generator) -> Floats:
    """float64 (R,): regret of arms whose rewards are 0 or 1, with means (T, K) by round: sum of best less pulled."""
    bandit.begin(repetitions, means.shape[1], rng)
    regret = np.zeros(repetitions)
    for mean in means:
        pulled = bandit.choose()
        chance = mean[pulled]
        regret += mean.max() - chance
        bandit.learn(pulled, (rng.random(repetitions) < chance).astype(np.float64))
    return regret


def linear_regret(
    bandit: LinearBandit, thetas: Floats, arms: Arms, sigma: float, repetitions: int, rng: np.random.Generator
) -> Floats:
    """float64 (R,): regret where arm x pays x . theta_t + N(0, sigma^2), with theta (T, d) by round.

    With sigma = NaN an arm pays 1 with probability x . theta_t, else 0.
    """
    bandit.begin(thetas.shape[1], repetitions, rng)
    regret, rows = np.zeros(repetitions), np.arange(repetitions)
    for theta in thetas:
        x = arms(rng, repetitions)
        means = x @ theta
        pulled = bandit.choose(x)
        mean = means[rows, pulled]
        regret += means.max(axis=1) - mean
        bernoulli = np.isnan(sigma)
        noise = rng.random(repetitions) if bernoulli else rng.standard_normal(repetitions)
        bandit.learn(x[rows, pulled], (noise < mean) * 1.0 if bernoulli else mean + sigma * noise)
    return regret
