"""Confidence sequences: intervals for the difference of two arms that hold at all times, however often one looks.

A 95 % interval of the usual kind is right at one look planned beforehand; looked at daily for a month, the zero of two
equal arms falls out of it at some time in about three months of ten. With probability 1 - alpha a confidence sequence
never loses the truth, so that a rollout may look whenever it likes and stop when it has seen enough.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle.evidence import FIRSTS, METRICS, Moments, UserLedger
from perennial.agents.validation import number, one_of, whole

Floats = NDArray[np.float64]
GRID = 401
TRUNCATION = 0.5


@dataclass(frozen=True)
class Estimate:
    """Candidate minus champion: the difference, its interval [low, high], both means, users of both arms.

    Both bounds are excluded: the difference is judged to be more than `low` and less than `high`.
    """

    difference: float
    low: float
    high: float
    candidate: float
    champion: float
    users: tuple[int, int]

    def better_by(self, margin: float) -> bool:
        """Whether it is shown to be better by more than `margin` (may be < 0) of the champion's mean."""
        return self.low >= margin * abs(self.champion)

    def worse_by(self, margin: float) -> bool:
        """Whether it is shown to be worse by more than `margin` of the champion's mean."""
        return self.high <= -margin * abs(self.champion)


def mixture_boundary(v: Floats | float, alpha: float, rho: float) -> Any:
    """Robbins' two-sided normal-mixture boundary of a sum of unit normals after intrinsic time `v`.

    ``u(v) = sqrt((v + rho) log((v + rho) / (rho alpha^2)))``: the sum leaves [-u, u] at any time with probability at
    most alpha (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", equation 14).
    """
    return np.sqrt((v + rho) * (np.log1p(np.asarray(v) / rho) - 2 * math.log(alpha)))


def tightest_rho(v: float, alpha: float) -> float:
    """The rho at which `mixture_boundary` is about narrowest at time `v`.

    ``v / (-2 log alpha + log(1 - 2 log alpha))``, the expansion of Lambert's W in Howard et al. 2021, proposition 3
    (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory", section B.2).
    """
    return v / (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))


def standard_errors(clock: Floats | float, horizon: float, alpha: float) -> Any:
    """How many standard errors the asymptotic confidence sequence reaches to either side at time `clock`.

    Waudby-Smith et al. 2024, theorem 2.2, with their rho^2 = 1 / `tightest_rho`: ``u(t) / sqrt(t)``.
    """
    with np.errstate(divide="ignore"):
        return mixture_boundary(clock, alpha, tightest_rho(horizon, alpha)) / np.sqrt(clock)


def dealt(share: float) -> bool:
    """Whether users are dealt to two arms by lot, so that both grow side by side: some, not all, meet the candidate."""
    return 0.0 < share < 1.0


def clock(candidate: Floats, champion: Floats, together: bool = True) -> Floats:
    """How far the evidence on the difference has come, from what each arm has come to, in units of both arms' sum.

    Time must run as the information does, 1 / (1 / n1 + 1 / n0) (Jennison and Turnbull 2000, "Group sequential
    methods", section 3.1, the canonical joint distribution). Arms that grow side by side (`together`) have it in
    proportion to n1 + n0. Where the champion's n0 was gathered before the candidate's first visitor, the sum would
    stand almost still while all is learned; it is 4 n1 n0 / (n1 + n0) there, the sum of two equal arms that know as
    much, between two and four times the smaller arm.
    """
    if together:
        return candidate + champion
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(4.0 * candidate * champion / (candidate + champion))


def mixture_interval(
    candidate: Moments, champion: Moments, alpha: float, horizon: float, min_users: int, together: bool = True
) -> tuple[Floats, Floats, Floats]:
    """(difference, low, high) of two arms' ratios; infinite while an arm has fewer than `min_users` users.

    `together`: the arms grow side by side, see `clock`.
    """
    mean1, variance1 = candidate.ratio()
    mean0, variance0 = champion.ratio()
    few = np.minimum(candidate.users, champion.users) < max(2, min_users)
    with np.errstate(invalid="ignore"):
        time = clock(candidate.w, champion.w, together)
        reach = np.sqrt(variance1 + variance0) * standard_errors(time, horizon, alpha)
    low, high = np.where(few, -np.inf, mean1 - mean0 - reach), np.where(few, np.inf, mean1 - mean0 + reach)
    return mean1 - mean0, low, high


class ConfidenceSequence(ABC):
    """Reads a ledger as often as one likes; a fresh one is needed for each ledger.

    ``by_lot``: it says nothing unless users are dealt to both arms by lot.
    """

    alpha: float
    by_lot: bool = False

    def begin(self, share: float, alpha: float | None = None) -> None:  # noqa: B027 - most have nothing to prepare
        """A new ledger begins, whose users join the candidate's arm with chance `share`; `alpha` replaces the own."""

    @abstractmethod
    def estimate(self, ledger: UserLedger) -> Estimate:
        """The difference as it stands."""


class Mixture(ConfidenceSequence):
    """The asymptotic normal-mixture sequence for the difference of two ratios, with all of every user's data.

    Users are the independent units: the standard error is that of per-user totals (`Moments.ratio`), and the `clock`,
    which only says how wide the boundary is at which time, counts the visits (or pages) of both arms. A user who
    comes back adds to the own total. Totals of users alike from day to day make neighbouring looks *more* alike than
    the independent steps of the theorem would, and one-sided crossings of a Gaussian process the rarer (Slepian 1962).
    `experiments/rollouts.py` measures it with the users of the simulated shop. Asymptotic: right as users become
    many, hence `min_users`.

    Arguments
    ---------
    metric : one of `evidence.METRICS`
    alpha : chance that the truth is ever outside, both sides together
    horizon : visits (or pages) of both arms after which the sequence is narrowest, > 0
    min_users : users each arm must have before anything is said, >= 2
    """

    def __init__(
        self, metric: str = "clicks_per_visit", alpha: float = 0.05, horizon: float = 5000.0, min_users: int = 50
    ) -> None:
        self.metric = one_of("metric", metric, tuple(METRICS))
        self.alpha = number("alpha", alpha, 0.0, 0.5, above=True)
        self.horizon = number("horizon", horizon, 0.0, above=True)
        self.min_users = whole("min_users", min_users, 2)
        self._level, self._together = self.alpha, True

    def begin(self, share: float, alpha: float | None = None) -> None:
        self._level, self._together = self.alpha if alpha is None else alpha, dealt(share)

    def estimate(self, ledger: UserLedger) -> Estimate:
        candidate, champion = ledger.moments(self.metric)
        found = mixture_interval(candidate, champion, self._level, self.horizon, self.min_users, self._together)
        difference, low, high = (float(part) for part in found)
        means = float(candidate.ratio()[0]), float(champion.ratio()[0])
        return Estimate(difference, low, high, *means, (int(candidate.users), int(champion.users)))


def assigned(values: Floats, candidate: NDArray[np.bool_], share: Floats | float) -> Floats:
    """The difference of the arms as a mean: float64 like `values` in [0, 1], itself in [0, 1].

    Each user, in the candidate's arm with chance `share` p, gives Z = (x - 1/2) (A / p - (1 - A) / (1 - p)), whose mean
    is the difference (Horvitz and Thompson 1952), |Z| <= h = 1 / (2 min(p, 1 - p)); returned is (Z + h) / 2h.
    """
    z = (values - 0.5) * np.where(candidate, 1.0 / share, -1.0 / (1.0 - share))
    return 0.5 + z * np.minimum(share, 1.0 - share)


def bets(values: Floats, alpha: float) -> Floats:
    """float64, the shape of `values` (..., n): what is staked on each, known before it is seen.

    The predictable plug-in of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
    equation 26: ``sqrt(2 log(2 / alpha) / (s_{t-1}^2 t log(1 + t)))``, with their regularised mean and variance.
    """
    t = np.arange(1, values.shape[-1] + 1)
    mean = (0.5 + np.cumsum(values, axis=-1)) / (t + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*values.shape[:-1], 1), 0.25), variance[..., :-1]], axis=-1)
    return np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log1p(t)))


def log_gains(values: Floats, stakes: Floats, mean: Floats | float) -> tuple[Floats, Floats]:
    """Log growth of the two bettors' capitals by each value if its mean is `mean`: (that it is more, that it is less).

    Waudby-Smith and Ramdas 2024, theorem 3, stakes cut to c / m and c / (1 - m) with c = 1/2.
    """
    with np.errstate(divide="ignore"):
        up = np.minimum(stakes, TRUNCATION / np.asarray(mean))
        down = np.minimum(stakes, TRUNCATION / (1.0 - np.asarray(mean)))
    return np.log1p(up * (values - mean)), np.log1p(-down * (values - mean))


class Betting(ConfidenceSequence):
    """The hedged betting sequence for the difference of one bounded value a user: right for any number of users.

    A mean is refuted once one of two bettors against it, each with half the money, holds 1 / alpha times the stake.
    Each user counts once, in the order the values came to be known, so nothing is assumed of how users behave; the
    price is that later visits do not count. Bounds are rounded outwards to a grid of 1/200.

    Arguments
    ---------
    metric : one of `evidence.FIRSTS`
    alpha : chance that the truth is ever outside, both sides together
    """

    by_lot = True

    def __init__(self, metric: str = "first_bounce", alpha: float = 0.05) -> None:
        self.metric = one_of("metric", metric, FIRSTS)
        self.alpha = number("alpha", alpha, 0.0, 0.5, above=True)
        self.begin(0.5)

    def begin(self, share: float, alpha: float | None = None) -> None:
        self._share, self._level = number("share", share, 0.0, 1.0), self.alpha if alpha is None else alpha
        self._differences = np.linspace(-1.0, 1.0, GRID)
        self._capital = np.zeros((2, GRID))
        self._most = np.zeros((2, GRID))
        self._used = 0

    def estimate(self, ledger: UserLedger) -> Estimate:
        candidate, values = ledger.firsts(self.metric)
        users = (int(candidate.sum()), int((~candidate).sum()))
        means = [float(part.mean()) if len(part) else math.nan for part in (values[candidate], values[~candidate])]
        if dealt(self._share):
            self._bet(assigned(values, candidate, self._share))
        low, high = self._bounds()
        return Estimate(means[0] - means[1], low, high, means[0], means[1], users)

    def _bet(self, values: Floats) -> None:
        """Let both bettors play the values that are new, one after the other; what they once held at most counts."""
        new = slice(self._used, len(values))
        stakes = bets(values, self._level)[new, None]
        mean = 0.5 + self._differences * min(self._share, 1.0 - self._share)
        for side, gains in enumerate(log_gains(values[new, None], stakes, mean)):
            path = self._capital[side] + np.cumsum(gains, axis=0)
            if len(path):
                self._most[side] = np.maximum(self._most[side], path.max(axis=0))
                self._capital[side] = path[-1]
        self._used = len(values)

    def _bounds(self) -> tuple[float, float]:
        refuted = self._most >= math.log(2 / self._level)
        low = np.flatnonzero(~refuted[0])[0] - 1 if not refuted[0].all() else GRID - 1
        high = np.flatnonzero(~refuted[1])[-1] + 1 if not refuted[1].all() else 0
        return float(self._differences[max(low, 0)]), float(self._differences[min(high, GRID - 1)])
