"""Tabular bandits: indices against hand computation, and what each forgets. Their regrets are in the pack's tests."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import rel_entr

from perennial.agents.bandits.glr_klucb import GlrKlUcb
from perennial.agents.bandits.tabular import (
    BetaThompson,
    DiscountedThompson,
    DiscountedUcb,
    GaussianThompson,
    KlUcb,
    SlidingWindowUcb,
    TabularBandit,
    Ucb1,
    kl,
    kl_index,
)


def told(bandit: TabularBandit, history: list[tuple[int, float]], arms: int = 2, repetitions: int = 1) -> TabularBandit:
    """The bandit after these pulls (arm, reward), in every repetition alike."""
    bandit.begin(repetitions, arms, np.random.default_rng(0))
    for arm, reward in history:
        bandit.learn(np.full(repetitions, arm), np.full(repetitions, reward))
    return bandit


def test_kl_and_its_index_agree_with_a_root_finder() -> None:
    p, pulls, level = np.array([0.0, 0.2, 0.5, 0.97, 1.0]), np.array([3.0, 10.0, 2.0, 40.0, 5.0]), 2.5
    found = kl_index(p, pulls, np.float64(level))
    for mean, n, q in zip(p, pulls, found):
        if mean == 1.0:
            assert q == 1.0
            continue
        root = brentq(lambda x, m=mean, k=n: k * (rel_entr(m, x) + rel_entr(1 - m, 1 - x)) - level, mean, 1 - 1e-12)
        assert q == pytest.approx(root, abs=1e-9)
    assert kl(np.array([0.0, 1.0, 0.3]), np.array([0.0, 1.0, 0.3])).tolist() == [0.0, 0.0, 0.0]
    assert np.isinf(kl(np.array([0.3]), np.array([1.0])))
    assert kl(np.array([0.0]), np.array([0.5]))[0] == pytest.approx(math.log(2))


def test_indices_are_those_of_the_papers() -> None:
    history = [(0, 1.0), (1, 0.0), (0, 0.0), (0, 1.0)]
    assert told(Ucb1(), history).index()[0] == pytest.approx(
        [2 / 3 + math.sqrt(2 * math.log(4) / 3), math.sqrt(2 * math.log(4) / 1)]
    )
    window = told(SlidingWindowUcb(2, xi=0.6), history).index()[0]
    assert window[0] == pytest.approx(0.5 + math.sqrt(0.6 * math.log(2) / 2))
    assert window[1] == np.inf
    g = 0.9
    pulls, total = np.array([1 + g + g**3, g**2]), np.array([1 + g**3, 0.0])
    bonus = 2 * np.sqrt(0.6 * math.log(pulls.sum()) / pulls)
    assert told(DiscountedUcb(g, xi=0.6), history).index()[0] == pytest.approx(total / pulls + bonus)
    assert told(KlUcb(c=3.0), history).level(np.float64(5)) == pytest.approx(
        math.log(5) + 3 * math.log(math.log(5)), rel=1e-12
    )


def test_arms_without_pulls_come_first_and_ties_go_to_the_lowest() -> None:
    for bandit in (Ucb1(), KlUcb(), SlidingWindowUcb(5), DiscountedUcb(0.9)):
        assert told(bandit, [], arms=3).choose().tolist() == [0]
        assert told(bandit, [(0, 1.0)], arms=3).choose().tolist() == [1]
        assert told(bandit, [(0, 1.0), (1, 1.0), (2, 1.0)], arms=3).choose().tolist() == [0]


def test_discounting_fades_all_arms_but_not_the_prior() -> None:
    bandit = told(DiscountedThompson(0.5, a=2.0, b=3.0), [(0, 1.0), (1, 0.0), (1, 1.0)], repetitions=20_000)
    assert bandit.total[0].tolist() == [0.25, 1.0]  # successes of arm 0 faded twice
    assert (bandit.pulls - bandit.total)[0].tolist() == [0.0, 0.5]
    assert bandit.index().mean(axis=0) == pytest.approx([2.25 / 5.25, 3.0 / 6.5], abs=0.005)


def test_thompson_draws_are_from_the_posterior() -> None:
    beta = told(BetaThompson(), [(0, 1.0), (0, 1.0), (1, 0.0)], repetitions=20_000)
    assert beta.index().mean(axis=0) == pytest.approx([3 / 4, 1 / 3], abs=0.01)
    gaussian = told(GaussianThompson(), [(0, 5.0), (0, 4.0), (1, -1.0)], repetitions=20_000)
    draws = gaussian.index()
    assert draws.mean(axis=0) == pytest.approx([3.0, -0.5], abs=0.03)
    assert draws.std(axis=0) == pytest.approx([math.sqrt(1 / 3), math.sqrt(1 / 2)], abs=0.02)


def first_alarm(rewards: list[float], delta: float, every: int = 1) -> int:
    """Pull of arm 0 at which GLR-klUCB restarts, 0 if it never does."""
    bandit = told(GlrKlUcb(0.0, delta, "local", every), [])
    for n, reward in enumerate(rewards, 1):
        bandit.learn(np.array([0]), np.array([reward]))
        if bandit.restarts[0]:
            assert bandit.pulls[0, 0] == 0.0
            assert bandit.start[0, 0] == n
            return n
    return 0


def test_the_likelihood_ratio_rings_at_the_pull_that_hand_computation_says() -> None:
    """Zeros, then ones: with s zeros of n, the ratio at the change is n times the entropy of s / n."""
    delta, zeros = 0.1, 8

    def ratio(ones: int) -> float:
        n = zeros + ones
        return -zeros * math.log(zeros / n) - ones * math.log(ones / n)

    expected = next(zeros + ones for ones in range(1, 40) if ratio(ones) >= math.log(3 * (zeros + ones) ** 1.5 / delta))
    assert first_alarm([0.0] * zeros + [1.0] * 30, delta) == expected == 12
    assert first_alarm([0.0] * 200, delta) == 0
    assert first_alarm([0.0] * zeros + [1.0] * 40, delta, every=4) == 12


def test_restarts_are_local_or_global() -> None:
    for restart, kept in (("local", 5.0), ("global", 0.0)):
        bandit = told(GlrKlUcb(0.0, 0.1, restart), [(1, 1.0)] * 5 + [(0, 0.0)] * 8 + [(0, 1.0)] * 4)
        assert bandit.restarts.tolist() == [1]
        assert bandit.pulls[0].tolist() == [0.0, kept]


def test_false_alarms_are_as_rare_as_delta_says() -> None:
    """Stationary arms, 600 rounds: at most a share delta of repetitions restarts on either arm."""
    bandit, rng = GlrKlUcb(0.1, 0.05, "local", every=5), np.random.default_rng(0)
    bandit.begin(200, 2, rng)
    for _ in range(600):
        arms = bandit.choose()
        bandit.learn(arms, (rng.random(200) < np.array([0.3, 0.5])[arms]) * 1.0)
    assert (bandit.restarts > 0).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_forced_rounds_visit_every_arm_in_turn() -> None:
    bandit = told(GlrKlUcb(0.3, 0.1), [], arms=3)  # every ten rounds the first three are forced
    chosen = []
    for _ in range(30):
        arm = bandit.choose()
        chosen.append(int(arm[0]))
        bandit.learn(arm, np.array([1.0 if arm[0] == 2 else 0.0]))
    assert chosen[0:3] == chosen[10:13] == chosen[20:23] == [0, 1, 2]
    assert chosen[15:20] == [2] * 5


def test_repetitions_do_not_touch_each_other() -> None:
    together, alone = SlidingWindowUcb(4), SlidingWindowUcb(4)
    together.begin(3, 2, np.random.default_rng(0))
    alone.begin(1, 2, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _ in range(20):
        rewards = rng.random(3)
        arms = together.choose()
        assert arms[1] == alone.choose()[0]
        together.learn(arms, rewards)
        alone.learn(arms[1:2], rewards[1:2])
