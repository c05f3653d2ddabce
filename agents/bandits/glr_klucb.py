"""GLR-klUCB (Besson, Kaufmann, Maillard and Seznec 2022): kl-UCB, restarted where a likelihood ratio sees a change."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.bandits.tabular import Ints, KlUcb, kl, kl_index
from perennial.agents.validation import number, one_of, whole


class GlrKlUcb(KlUcb):
    """GLR-klUCB, algorithm 1 of "Efficient change-point detection for tackling piecewise-stationary bandits".

    In round t (from 1) arm j is forced where ``t mod floor(K / omega)`` is j in 1..K; else kl-UCB decides, with
    ``n_j kl(mean_j, q) <= log(t - tau_j)``, tau_j the last restart. After a pull, arm j's rewards Z_1..Z_n since then
    show a change if

        sup over s of  s kl(mean(Z_1..s), mean(Z_1..n)) + (n - s) kl(mean(Z_s+1..n), mean(Z_1..n))

    reaches ``log(3 n^1.5 / delta)``, the threshold the authors recommend in practice. Then the arm ("local") or all
    arms ("global") start anew.

    Arguments
    ---------
    omega : share of forced rounds, in [0, 1); 0 forces none
    delta : probability of a false alarm, in (0, 1)
    restart : "local" or "global"
    every : the test runs at every such pull of an arm and at every such s, >= 1; the authors use 10
    c : of kl-UCB
    """

    def __init__(self, omega: float, delta: float, restart: str = "local", every: int = 1, c: float = 0.0) -> None:
        super().__init__(c)
        self.omega, self.delta = number("omega", omega, 0.0, 1.0), number("delta", delta, 0.0, 1.0, above=True)
        self.restart = one_of("restart", restart, ("local", "global"))
        self.every = whole("every", every, 1)

    def begin(self, repetitions: int, arms: int, rng: np.random.Generator) -> None:
        super().begin(repetitions, arms, rng)
        self.start = np.zeros((repetitions, arms))
        self.restarts = np.zeros(repetitions, dtype=np.int64)
        self._sums = np.zeros((repetitions, arms, 1))  # [..., n]: the sum of the first n rewards since the restart

    def index(self) -> Floats:
        return kl_index(self.means, self.pulls, self.level(self.round + 1 - self.start))

    def choose(self) -> Ints:
        repetitions, arms = self.pulls.shape
        forced = (self.round + 1) % math.floor(arms / self.omega) if self.omega > 0 else 0
        if 1 <= forced <= arms:
            return np.full(repetitions, forced - 1)
        return super().choose()

    def learn(self, arms: Ints, rewards: Floats) -> None:
        super().learn(arms, rewards)
        n = self.pulls[self.rows, arms].astype(np.int64)
        self._make_room(int(n.max()))
        self._sums[self.rows, arms, n] = self.total[self.rows, arms]
        changed = self.changed(arms, n)
        if changed.any():
            self._start_anew(np.flatnonzero(changed), arms)

    def _make_room(self, pulls: int) -> None:
        room = self._sums.shape[2]
        if pulls >= room:
            grown = np.zeros((*self._sums.shape[:2], max(64, 2 * room, pulls + 1)))
            grown[..., :room] = self._sums
            self._sums = grown

    def changed(self, arms: Ints, n: Ints) -> NDArray[np.bool_]:
        """bool (R,): whether the arm just pulled, for the n-th time, shows a change."""
        found = np.zeros(len(arms), dtype=np.bool_)
        tested = np.flatnonzero((n > 1) & (n % self.every == 0))
        if len(tested) == 0:
            return found
        last = n[tested, None].astype(float)
        s = np.arange(self.every, n[tested].max(), self.every)
        sums = self._sums[tested[:, None], arms[tested, None], s]
        whole_sum = self.total[tested, arms[tested]][:, None]
        inside, rest = s < last, np.maximum(last - s, 1.0)
        mean = whole_sum / last
        ratio = s * kl(sums / s, mean) + rest * kl(np.clip((whole_sum - sums) / rest, 0.0, 1.0), mean)
        best = np.where(inside, ratio, -np.inf).max(axis=1, initial=-np.inf)
        found[tested] = best >= np.log(3.0 * last[:, 0] ** 1.5 / self.delta)
        return found

    def _start_anew(self, rows: Ints, arms: Ints) -> None:
        places = (rows, arms[rows]) if self.restart == "local" else (rows,)
        self.pulls[places] = 0.0
        self.total[places] = 0.0
        self.start[places] = self.round
        self.restarts[rows] += 1
