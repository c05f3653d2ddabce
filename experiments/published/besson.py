"""Besson 2019, "Multi-players bandit algorithms for internet of things networks", PhD thesis, chapter 6.

Its tables give mean and standard deviation over 1000 runs on problems that change: Bernoulli arms, five equal parts in
5000 rounds. The row of discounted Thompson sampling comes from a program that departs from the paper (see
`ReferenceCodeThompson`); ours follows the paper and is held against an exact computation in `tables`, as is GLR-klUCB,
for which the text leaves threshold and exploration function open.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from perennial.agents.bandits.tabular import BetaThompson, Ints, KlUcb, TabularBandit
from perennial.experiments.published.entry import Entry, Floats
from perennial.experiments.published.play import bernoulli_regret

ROUNDS, RUNS = 5000, 1000
REPETITIONS = {"kl-UCB": 200, "Thompson": 1000, "Discounted Thompson, reference code": 400}
PROBLEMS = {
    1: ((0.3, 0.5, 0.9), (0.3, 0.2, 0.9), (0.3, 0.2, 0.1), (0.7, 0.2, 0.1), (0.7, 0.5, 0.1)),
    2: ((0.4, 0.5, 0.9), (0.5, 0.4, 0.7), (0.6, 0.3, 0.5), (0.7, 0.2, 0.3), (0.8, 0.1, 0.1)),
}
TABLE = {
    ("kl-UCB", 1): (270, 76),
    ("kl-UCB", 2): (162, 59),
    ("Thompson", 1): (493, 175),
    ("Thompson", 2): (388, 147),
    ("Discounted Thompson, reference code", 1): (209, 38),
    ("Discounted Thompson, reference code", 2): (249, 39),
}
"""Policy and problem: mean regret and its standard deviation."""


class ReferenceCodeThompson(BetaThompson):
    """Discounted Thompson sampling as in SMPyBandits, which made the table; not the algorithm of Raj and Kalyani 2017.

    Its loop over the other arms fades the *pulled* arm once for each of them, and never those others.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def learn(self, arms: Ints, rewards: Floats) -> None:
        self._fade(arms, self.gamma)
        super().learn(arms, rewards)
        self._fade(arms, self.gamma ** (self.pulls.shape[1] - 1))

    def _fade(self, arms: Ints, factor: float) -> None:
        self.pulls[self.rows, arms] *= factor
        self.total[self.rows, arms] *= factor


POLICIES: dict[str, Callable[[], TabularBandit]] = {
    "kl-UCB": KlUcb,
    "Thompson": BetaThompson,
    "Discounted Thompson, reference code": partial(ReferenceCodeThompson, 0.95),
}


def means(problem: int) -> Floats:
    """float64 (T, K)."""
    parts = np.array(PROBLEMS[problem])
    return np.repeat(parts, ROUNDS // len(parts), axis=0)


def regret(policy: str, problem: int, rng: np.random.Generator) -> Floats:
    """float64 (R,): final regret."""
    return bernoulli_regret(POLICIES[policy](), means(problem), REPETITIONS[policy], rng)


def entries() -> list[Entry]:
    return [
        Entry(
            policy,
            f"problem {problem}, K = 3, 4 breaks, T = 5000: regret",
            float(mean),
            f"Besson 2019 (thesis), chapter 6, table of problems 1 to 3: {mean} ± {spread}, 1000 runs",
            partial(regret, policy, problem),
            math.hypot(spread / math.sqrt(RUNS), 0.5 / math.sqrt(3)),  # the second is what rounding leaves open
            fast=policy.startswith("Discounted"),
        )
        for (policy, problem), (mean, spread) in TABLE.items()
    ]
