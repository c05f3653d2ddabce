"""Tabular and two-armed linear bandits against exact expected regrets, computed over all that can happen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from perennial.agents.bandits.confidence import Confidence
from perennial.agents.bandits.glr_klucb import GlrKlUcb
from perennial.agents.bandits.linear import LinearBandit, OptimisticLinear, SampledLinear
from perennial.agents.bandits.memory import Everything
from perennial.agents.bandits.tabular import (
    BetaThompson,
    DiscountedThompson,
    DiscountedUcb,
    GaussianThompson,
    KlUcb,
    SlidingWindowUcb,
    TabularBandit,
    Ucb1,
)
from perennial.experiments.published import exact
from perennial.experiments.published.entry import Entry, Floats
from perennial.experiments.published.play import bernoulli_regret, linear_regret

CHAIN = "exact: Markov chain over pulls and successes"
TREE = "exact: sum over all histories"
TURN = ((0.9, 0.3),) * 7 + ((0.2, 0.8),) * 7
LATE_TURN = ((0.05, 0.5),) * 8 + ((0.95, 0.5),) * 5
X = np.array([[0.9, 0.1], [0.6, 0.6]])
THETA = np.array([0.7, 0.1])


def _chain(
    algorithm: str,
    make: Callable[[], TabularBandit],
    chance: exact.Chance,
    means: tuple[float, float],
    rounds: int,
    repetitions: int = 20_000,
    fast: bool = False,
) -> Entry:
    def measure(rng: np.random.Generator) -> Floats:
        return bernoulli_regret(make(), np.tile(means, (rounds, 1)), repetitions, rng)

    setting = f"arms {means[0]:g} and {means[1]:g}, T = {rounds}: regret"
    expected = partial(exact.chain_regret, chance, means, rounds)
    return Entry(algorithm, setting, expected, CHAIN, measure, fast=fast)


def _tree(
    algorithm: str,
    make: Callable[[], TabularBandit],
    chance: Callable[[exact.History], float],
    means: tuple[tuple[float, float], ...],
    repetitions: int = 100_000,
    fast: bool = False,
) -> Entry:
    def measure(rng: np.random.Generator) -> Floats:
        return bernoulli_regret(make(), np.array(means), repetitions, rng)

    before, after = means[0], means[-1]
    setting = f"arms {before[0]:g}, {before[1]:g}, then {after[0]:g}, {after[1]:g}, T = {len(means)}: regret"
    return Entry(algorithm, setting, partial(exact.tree_regret, chance, means), TREE, measure, fast=fast)


def _linear(algorithm: str, make: Callable[[], LinearBandit], chance: exact.Chance) -> Entry:
    rounds, repetitions = 60, 10_000

    def both(rng: np.random.Generator, repetitions: int) -> Floats:
        return np.broadcast_to(X, (repetitions, *X.shape))

    def measure(rng: np.random.Generator) -> Floats:
        return linear_regret(make(), np.tile(THETA, (rounds, 1)), both, np.nan, repetitions, rng)

    first, second = (X @ THETA).tolist()
    setting = f"two fixed arms, d = 2, 0/1 rewards, T = {rounds}: regret"
    return Entry(algorithm, setting, partial(exact.chain_regret, chance, (first, second), rounds), CHAIN, measure)


def entries() -> list[Entry]:
    ucb1, klucb = exact.larger(exact.ucb1_index), exact.larger(exact.klucb_index)
    confidence = Confidence(ridge=1.0, sigma=0.5, delta=0.1)
    return [
        _chain("UCB1", Ucb1, ucb1, (0.6, 0.4), 100, fast=True),
        _chain("UCB1", Ucb1, ucb1, (0.1, 0.9), 60),
        _chain("kl-UCB", KlUcb, klucb, (0.6, 0.4), 50, repetitions=5000),
        _chain("kl-UCB", KlUcb, klucb, (0.05, 0.15), 50, repetitions=5000),
        _chain("Thompson, Beta", BetaThompson, exact.beta_thompson, (0.4, 0.6), 40, fast=True),
        _chain("Thompson, Beta", BetaThompson, exact.beta_thompson, (0.9, 0.8), 50),
        _chain("Thompson, Gaussian", GaussianThompson, exact.gaussian_thompson, (0.4, 0.6), 60, fast=True),
        _tree("SW-UCB, window 5", partial(SlidingWindowUcb, 5), exact.sw_ucb(5, 0.6), TURN, fast=True),
        _tree("SW-UCB, window 3", partial(SlidingWindowUcb, 3, 1.0), exact.sw_ucb(3, 1.0), LATE_TURN),
        _tree("D-UCB, gamma .9", partial(DiscountedUcb, 0.9), exact.d_ucb(0.9, 0.6), TURN, fast=True),
        _tree("D-UCB, gamma .7", partial(DiscountedUcb, 0.7, 0.1), exact.d_ucb(0.7, 0.1), LATE_TURN),
        _tree("Discounted Thompson", partial(DiscountedThompson, 0.8), exact.discounted_thompson(0.8), TURN[3:10]),
        _tree(
            "GLR-klUCB, local", partial(GlrKlUcb, 0.3, 0.9, "local"), exact.glr_klucb(0.3, 0.9, True), LATE_TURN, 50_000
        ),
        _tree(
            "GLR-klUCB, global",
            partial(GlrKlUcb, 0.3, 0.9, "global"),
            exact.glr_klucb(0.3, 0.9, False),
            LATE_TURN,
            50_000,
        ),
        _linear("LinTS", lambda: SampledLinear(Everything(), 1.0, 0.5), exact.linear_thompson(X, 1.0, 0.5)),
        _linear("LinUCB", lambda: OptimisticLinear(Everything(), confidence), exact.linear_optimism(X, 1.0, 0.5, 0.1)),
    ]
