"""Russac, Vernade and Cappe 2019, "Weighted linear bandits for non-stationary environments", section 5."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from perennial.agents.bandits.confidence import Confidence
from perennial.agents.bandits.linear import DiscountedLinear, LinearBandit, OptimisticLinear, SlidingWindowLinear
from perennial.agents.bandits.memory import Everything, Restarted
from perennial.experiments.published.entry import Entry, Floats
from perennial.experiments.published.play import linear_regret

ROUNDS, SIZE, ARMS, SIGMA = 6000, 2, 50, 1.0
BREAKS = (1000, 2000, 3000)
REPETITIONS = 200
CONFIDENCE = Confidence(ridge=0.1, sigma=SIGMA, delta=0.01, parameter_norm=1.0, feature_norm=1.0)
SOURCE = "Russac et al. 2019, section 5, figure {}; an independent program's mean"
VARIATION = {"abrupt": 4 + math.sqrt(2), "slow": 1.5703}
"""B_T, the total variation of theta that the policies are tuned with."""


def thetas(kind: str) -> Floats:
    """float64 (T, 2): three jumps on the unit circle, or a quarter of it in the first half."""
    rounds = np.arange(ROUNDS)
    if kind == "abrupt":
        corners = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        return corners[np.searchsorted(BREAKS, rounds, side="right")]
    angle = np.minimum(rounds / 3000, 1.0) * math.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def fresh_arms(rng: np.random.Generator, repetitions: int) -> Floats:
    """float64 (R, 50, 2): uniform in the square, scaled to norm 1 where it is longer."""
    x = rng.uniform(-1.0, 1.0, (repetitions, ARMS, SIZE))
    return x / np.maximum(1.0, np.linalg.norm(x, axis=2, keepdims=True))


def tuning(kind: str) -> tuple[float, int]:
    """(gamma, window) as the paper sets them from B_T."""
    rate = (VARIATION[kind] / (SIZE * ROUNDS)) ** (2 / 3)
    return 1 - rate, math.ceil(1 / rate)


class ReferenceCodeLinear(DiscountedLinear):
    """D-LinUCB as in the authors' program, whose curves the paper prints; not the paper's algorithm.

    There the second precision is made anew each round from the *first*: W = gamma^2 V + x x' + (1 - gamma^2) ridge I,
    with V already updated, instead of gamma^2 W + ...
    """

    def begin(self, size: int, repetitions: int, rng: np.random.Generator) -> None:
        super().begin(size, repetitions, rng)
        self._last = np.zeros((repetitions, size))

    def learn(self, chosen: Floats, reward: Floats) -> None:
        self._last = chosen
        super().learn(chosen, reward)

    def squared(self) -> Floats:
        decay = self.memory.gamma**2
        outer = self._last[:, :, None] * self._last[:, None, :]
        prior = (1 - decay) * self.ridge.ridge * np.eye(self.ridge.size)
        return decay * self.ridge.precision + outer + prior


def policy(name: str, kind: str) -> LinearBandit:
    gamma, window = tuning(kind)
    makers = {
        "D-LinUCB": lambda: DiscountedLinear(gamma, CONFIDENCE),
        "D-LinUCB, reference code": lambda: ReferenceCodeLinear(gamma, CONFIDENCE),
        "SW-LinUCB": lambda: SlidingWindowLinear(window, CONFIDENCE),
        "LinUCB": lambda: OptimisticLinear(Everything(), CONFIDENCE),
        "LinUCB, restarted": lambda: OptimisticLinear(Restarted(BREAKS), CONFIDENCE),
    }
    return makers[name]()


def regret(name: str, kind: str, rng: np.random.Generator, repetitions: int = REPETITIONS) -> Floats:
    """float64 (R,): final regret of a policy."""
    return linear_regret(policy(name, kind), thetas(kind), fresh_arms, SIGMA, repetitions, rng)


TARGETS = {
    ("D-LinUCB", "abrupt"): 1024.0,
    ("D-LinUCB", "slow"): 173.0,
    ("SW-LinUCB", "abrupt"): 743.0,
    ("SW-LinUCB", "slow"): 295.0,
    ("LinUCB", "abrupt"): 4182.0,
    ("LinUCB", "slow"): 1444.0,
    ("LinUCB, restarted", "abrupt"): 153.0,
}
CURVES = {"abrupt": (975.0, 5.0), "slow": (235.0, 2.0)}
"""Where the published curves of D-LinUCB end, read off the figures, and how closely one can read them."""


def entries() -> list[Entry]:
    curves = [
        Entry(
            "D-LinUCB, reference code",
            f"{kind} change, d = 2, T = 6000: regret",
            end,
            "Russac et al. 2019, section 5, the printed curve, read off; W as in the authors' program",
            partial(regret, "D-LinUCB, reference code", kind),
            reading,
        )
        for kind, (end, reading) in CURVES.items()
    ]
    return curves + [
        Entry(
            name,
            f"{kind} change, d = 2, T = 6000: regret",
            expected,
            SOURCE.format(1 if kind == "abrupt" else 2),
            partial(regret, name, kind),
        )
        for (name, kind), expected in TARGETS.items()
    ]
