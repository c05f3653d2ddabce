"""Besson 2019, "Multi-players bandit algorithms for internet of things networks", PhD thesis, chapter 6.

Its tables give mean and standard deviation over 1000 runs of policies that are not made for change, on problems that
change: Bernoulli arms, five equal parts in 5000 rounds. Two more rows of theirs are not comparable: "DTS" comes from a
program that lets only the pulled arm's statistics fade, unlike the paper of Raj and Kalyani; and for GLR-klUCB the text
leaves threshold and exploration function open. Both are held against exact computations in `tables` instead.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from perennial.agents.bandits.tabular import BetaThompson, KlUcb
from perennial.experiments.published.entry import Entry, Floats
from perennial.experiments.published.play import bernoulli_regret

ROUNDS, RUNS = 5000, 1000
REPETITIONS = {"kl-UCB": 200, "Thompson": 1000}
PROBLEMS = {
    1: ((0.3, 0.5, 0.9), (0.3, 0.2, 0.9), (0.3, 0.2, 0.1), (0.7, 0.2, 0.1), (0.7, 0.5, 0.1)),
    2: ((0.4, 0.5, 0.9), (0.5, 0.4, 0.7), (0.6, 0.3, 0.5), (0.7, 0.2, 0.3), (0.8, 0.1, 0.1)),
}
TABLE = {("kl-UCB", 1): (270, 76), ("kl-UCB", 2): (162, 59), ("Thompson", 1): (493, 175), ("Thompson", 2): (388, 147)}
"""Policy and problem: mean regret and its standard deviation."""


def means(problem: int) -> Floats:
    """float64 (T, K)."""
    parts = np.array(PROBLEMS[problem])
    return np.repeat(parts, ROUNDS // len(parts), axis=0)


def regret(policy: str, problem: int, rng: np.random.Generator) -> Floats:
    """float64 (R,): final regret."""
    bandit = KlUcb() if policy == "kl-UCB" else BetaThompson()
    return bernoulli_regret(bandit, means(problem), REPETITIONS[policy], rng)


def entries() -> list[Entry]:
    return [
        Entry(
            policy,
            f"problem {problem}, K = 3, 4 breaks, T = 5000: regret",
            float(mean),
            f"Besson 2019 (thesis), chapter 6, table of problems 1 to 3: {mean} ± {spread}, 1000 runs",
            partial(regret, policy, problem),
            math.hypot(spread / math.sqrt(RUNS), 0.5 / math.sqrt(3)),
        )
        for (policy, problem), (mean, spread) in TABLE.items()
    ]
