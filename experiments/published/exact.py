"""Exact expected regrets of small problems, by formulas of their own: nothing here calls the bandits it judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import betaln, ndtr, rel_entr, xlogy
from scipy.stats import beta as beta_distribution

from perennial.experiments.published.entry import Floats

Chance = Callable[[int, int], Floats]
"""Probability that arm 0 is pulled next, given its n1 pulls and arm 1's n2: float64 (n1 + 1, n2 + 1), by successes."""
History = Sequence[tuple[int, int]]
"""(arm, reward) of each round so far, oldest first; rewards are 0 or 1."""


def chain_regret(chance: Chance, means: tuple[float, float], rounds: int) -> float:
    """Expected regret of two Bernoulli arms under a policy that looks at pulls and successes alone.

    They are a Markov chain: after t rounds its state is (n1, s1, s2), and `held` [n1][s1, s2] its exact distribution.
    """
    gaps = max(means) - np.array(means)
    held, regret = [np.ones((1, 1))], 0.0
    for t in range(rounds):
        following = [np.zeros((n1 + 1, t + 2 - n1)) for n1 in range(t + 2)]
        for n1, mass in enumerate(held):
            first = mass * chance(n1, t - n1)
            second = mass - first
            regret += gaps[0] * first.sum() + gaps[1] * second.sum()
            following[n1 + 1][1:, :] += means[0] * first
            following[n1 + 1][:-1, :] += (1 - means[0]) * first
            following[n1][:, 1:] += means[1] * second
            following[n1][:, :-1] += (1 - means[1]) * second
        held = following
    return float(regret)


def larger(index: Callable[[int, int], Floats]) -> Chance:
    """The policy that pulls arm 0 where its index is at least arm 1's; index(n, t) float64 (n + 1,), by successes."""

    known = lru_cache(maxsize=None)(index)

    def chance(n1: int, n2: int) -> Floats:
        return (known(n1, n1 + n2)[:, None] >= known(n2, n1 + n2)[None, :]).astype(np.float64)

    return chance


def ucb1_index(n: int, t: int) -> Floats:
    """Auer et al. 2002, figure 1, after t pulls, n of them of this arm."""
    return np.full(1, np.inf) if n == 0 else np.arange(n + 1) / n + math.sqrt(2 * math.log(t) / n)


def klucb_index(n: int, t: int) -> Floats:
    """Garivier and Cappe 2011, algorithm 1 with c = 0: n d(s / n, q) = log(t + 1), solved by sixty halvings."""
    if n == 0:
        return np.full(1, np.inf)
    p = np.arange(n + 1) / n
    low, high = p.copy(), np.ones(n + 1)
    for _ in range(60):
        q = (low + high) / 2
        inside = n * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)) <= math.log(t + 1)
        low, high = np.where(inside, q, low), np.where(inside, high, q)
    return np.where(p == 1, 1.0, low)


def beta_thompson(n1: int, n2: int) -> Floats:
    """P(Beta(1 + s1, 1 + f1) > Beta(1 + s2, 1 + f2)): the integral of a polynomial, exact by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss((n1 + n2) // 2 + 2)
    x, w = (nodes + 1) / 2, weights / 2
    s1, s2 = np.arange(n1 + 1)[:, None], np.arange(n2 + 1)[:, None]
    density = np.exp(xlogy(s1, x) + xlogy(n1 - s1, 1 - x) - betaln(1 + s1, 1 + n1 - s1))
    return (density * w) @ beta_distribution.cdf(x, 1 + s2, 1 + n2 - s2).T


def gaussian_thompson(n1: int, n2: int) -> Floats:
    """P(theta1 > theta2) for theta_j ~ N(s_j / (n_j + 1), 1 / (n_j + 1)): Agrawal and Goyal 2013, algorithm 2."""
    difference = np.arange(n1 + 1)[:, None] / (n1 + 1) - np.arange(n2 + 1)[None, :] / (n2 + 1)
    return ndtr(difference / math.sqrt(1 / (n1 + 1) + 1 / (n2 + 1)))


def two_arm_ridge(x: Floats, ridge: float, n1: int, n2: int) -> tuple[Floats, Floats]:
    """Ridge regression for two fixed arms x (2, 2) by Cramer's rule.

    theta float64 (n1 + 1, n2 + 1, 2), by successes; V^-1 (2, 2).
    """
    (a, b), (c, d) = x
    v11, v12, v22 = ridge + n1 * a * a + n2 * c * c, n1 * a * b + n2 * c * d, ridge + n1 * b * b + n2 * d * d
    inverse = np.array([[v22, -v12], [-v12, v11]]) / (v11 * v22 - v12 * v12)
    s1, s2 = np.arange(n1 + 1)[:, None], np.arange(n2 + 1)[None, :]
    sums = np.stack([s1 * a + s2 * c, s1 * b + s2 * d], axis=-1).astype(np.float64)
    return sums @ inverse, inverse


def linear_thompson(x: Floats, ridge: float, scale: float) -> Chance:
    """P((x1 - x2) . w > 0) for w ~ N(theta, scale^2 V^-1): Agrawal and Goyal 2013 (contextual), algorithm 1."""
    difference = x[0] - x[1]

    def chance(n1: int, n2: int) -> Floats:
        theta, inverse = two_arm_ridge(x, ridge, n1, n2)
        return ndtr(theta @ difference / (scale * math.sqrt(difference @ inverse @ difference)))

    return chance


def linear_optimism(x: Floats, ridge: float, sigma: float, delta: float) -> Chance:
    """LinUCB with the width of Abbasi-Yadkori et al. 2011, theorem 2, S = L = 1; arm 0 wins ties."""

    def chance(n1: int, n2: int) -> Floats:
        theta, inverse = two_arm_ridge(x, ridge, n1, n2)
        width = math.sqrt(ridge)
        width += sigma * math.sqrt(2 * math.log(1 / delta) + 2 * math.log(1 + (n1 + n2) / (2 * ridge)))
        first, second = (theta @ arm + width * math.sqrt(arm @ inverse @ arm) for arm in x)
        return (first >= second).astype(np.float64)

    return chance


def tree_regret(chance: Callable[[History], float], means: Sequence[tuple[float, float]]) -> float:
    """Expected regret of any policy over two Bernoulli arms whose means may change by round: all histories in turn.

    `chance` is the probability that arm 0 is pulled after a history.
    """

    def follow(history: tuple[tuple[int, int], ...], mass: float) -> float:
        if len(history) == len(means):
            return 0.0
        mean, first = means[len(history)], chance(history)
        total = 0.0
        for arm, pulled in ((0, mass * first), (1, mass * (1 - first))):
            if pulled > 0.0:
                total += pulled * (max(mean) - mean[arm])
                for reward, share in ((1, mean[arm]), (0, 1 - mean[arm])):
                    if share > 0.0:
                        total += follow((*history, (arm, reward)), pulled * share)
        return total

    return follow((), 1.0)


def _first_is_best(indices: Sequence[float]) -> float:
    return 1.0 if indices[0] >= indices[1] else 0.0


def sw_ucb(window: int, xi: float) -> Callable[[History], float]:
    """Garivier and Moulines 2011, section 2.2, by its definition as sums over the last `window` rounds; B = 1."""

    def chance(history: History) -> float:
        recent = history[-window:]
        indices = []
        for arm in (0, 1):
            rewards = [reward for pulled, reward in recent if pulled == arm]
            bonus = xi * math.log(max(1, len(recent)))
            indices.append(sum(rewards) / len(rewards) + math.sqrt(bonus / len(rewards)) if rewards else math.inf)
        return _first_is_best(indices)

    return chance


def d_ucb(gamma: float, xi: float) -> Callable[[History], float]:
    """Garivier and Moulines 2011, section 2.1, by its definition as sums over all rounds; B = 1."""

    def chance(history: History) -> float:
        t = len(history)
        weights = [[gamma ** (t - 1 - s) for s in range(t) if history[s][0] == arm] for arm in (0, 1)]
        sums = [sum(gamma ** (t - 1 - s) * r for s, (a, r) in enumerate(history) if a == arm) for arm in (0, 1)]
        total = sum(map(sum, weights))
        indices = [
            sums[arm] / sum(weights[arm]) + 2 * math.sqrt(xi * max(0.0, math.log(total)) / sum(weights[arm]))
            if weights[arm]
            else math.inf
            for arm in (0, 1)
        ]
        return _first_is_best(indices)

    return chance


def discounted_thompson(gamma: float, nodes: int = 400) -> Callable[[History], float]:
    """Raj and Kalyani 2017, algorithm 1, prior Beta(1, 1): P(theta1 > theta2) by quadrature of its density."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    x, w = (points + 1) / 2, weights / 2

    def chance(history: History) -> float:
        t = len(history)
        a, b = [1.0, 1.0], [1.0, 1.0]
        for s, (arm, reward) in enumerate(history):
            a[arm] += gamma ** (t - 1 - s) * reward
            b[arm] += gamma ** (t - 1 - s) * (1 - reward)
        density = beta_distribution.pdf(x, a[0], b[0])
        return float(w @ (density * beta_distribution.cdf(x, a[1], b[1])))

    return chance


def glr_klucb(omega: float, delta: float, local: bool) -> Callable[[History], float]:
    """Besson et al. 2022, algorithm 1, told again from the start of the history; threshold log(3 n^1.5 / delta)."""

    def kl(p: float, q: float) -> float:
        return float(rel_entr(p, q) + rel_entr(1 - p, 1 - q))

    def mean(rewards: Sequence[int]) -> float:
        return sum(rewards) / len(rewards)

    def changed(z: Sequence[int]) -> bool:
        n, overall = len(z), mean(z)
        ratios = [s * kl(mean(z[:s]), overall) + (n - s) * kl(mean(z[s:]), overall) for s in range(1, n)]
        return n > 1 and max(ratios) >= math.log(3 * n**1.5 / delta)

    def upper(z: Sequence[int], level: float) -> float:
        if not z:
            return math.inf
        p, low, high = mean(z), mean(z), 1.0
        for _ in range(50):
            q = (low + high) / 2
            low, high = (q, high) if len(z) * kl(p, q) <= level else (low, q)
        return 1.0 if p == 1.0 else low

    def chance(history: History) -> float:
        kept: tuple[list[int], list[int]] = ([], [])
        start = [0, 0]
        for t, (arm, reward) in enumerate(history, 1):
            kept[arm].append(reward)
            if changed(kept[arm]):
                for other in (arm,) if local else (0, 1):
                    kept[other].clear()
                    start[other] = t
        t = len(history) + 1
        forced = t % math.floor(2 / omega)
        if forced in (1, 2):
            return 1.0 if forced == 1 else 0.0
        return _first_is_best([upper(kept[arm], math.log(t - start[arm])) for arm in (0, 1)])

    return chance
