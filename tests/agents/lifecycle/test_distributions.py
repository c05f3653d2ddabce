"""PSI, KL and KS against numbers worked out by hand, published laws, and their own nulls."""

import doctest
import math

import numpy as np
import pytest
from scipy import stats

from perennial.agents.lifecycle import distributions
from perennial.agents.lifecycle.distributions import (
    expected,
    kl,
    ks,
    ks_p_value,
    psi,
    psi_p_value,
    smallest_distance,
    smallest_index,
    smallest_shift,
)

TEN = np.array([4, 7, 9, 10, 11, 12, 12, 12, 12, 11]) / 100
"""Shares of ten cells, the smallest 4 %."""


def test_psi_and_kl_by_hand():
    p, q = [0.25, 0.25, 0.5], [0.4, 0.2, 0.4]
    by_hand = 0.15 * math.log(1.6) - 0.05 * math.log(0.8) - 0.1 * math.log(0.8)
    assert psi([25, 25, 50], [40, 20, 40]) == pytest.approx(by_hand, rel=1e-12)
    divergences = stats.entropy(q, p), stats.entropy(p, q)
    assert kl([25, 25, 50], [40, 20, 40]) == pytest.approx(divergences[0], rel=1e-12)
    assert psi([25, 25, 50], [40, 20, 40]) == pytest.approx(sum(divergences), rel=1e-12)
    assert psi([10, 20, 30], [100, 200, 300]) == pytest.approx(0.0, abs=1e-15)


def test_an_empty_cell_adds_half_a_count_everywhere_and_one_empty_in_both_is_none():
    p, q = np.array([10.5, 0.5, 20.5]) / 31.5, np.array([8.5, 2.5, 20.5]) / 31.5
    assert psi([10, 0, 20], [8, 2, 20]) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert psi([10, 0, 20], [8, 0, 22]) == psi([10, 20], [8, 22])
    with pytest.raises(ValueError, match="must be counts >= 0 in the same cells, not all 0"):
        psi([0, 0], [1, 2])


def test_the_chi_square_null_is_that_of_yurdakul_and_naranjo():
    reference, current = np.array([1000, 2000, 3000]), np.array([540, 960, 1500])
    scale = 1 / 6000 + 1 / 3000
    rng = np.random.default_rng(0)
    assert psi_p_value(reference, current, rng) == stats.chi2.sf(psi(reference, current) / scale, 2)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state  # nothing was drawn


def test_the_usual_point_one_would_err_at_85_percent():
    """What the fixed bar does under no drift at all at n = 100 with ten cells."""
    rng, over = np.random.default_rng(1), 0
    for _ in range(2000):
        over += psi(rng.multinomial(100, np.full(10, 0.1)), rng.multinomial(100, np.full(10, 0.1))) > 0.1
    assert over / 2000 > 0.75


@pytest.mark.parametrize(("n", "reference"), [(100, 100), (100, 10_000), (1000, 1000), (50_000, 50_000)])
def test_psi_errs_as_often_as_it_says(n, reference):
    """False alarms within one point of nominal."""
    rng, runs = np.random.default_rng([n, reference]), 4000
    found = []
    for _ in range(runs):
        a, b = rng.multinomial(reference, TEN), rng.multinomial(n, TEN)
        found.append(psi_p_value(a, b, rng, draws=199))
    for nominal in (0.01, 0.05):
        assert abs(np.mean(np.array(found) <= nominal) - nominal) <= 0.01
    assert (expected(TEN * reference, TEN * n).min() < 50) == (n <= 1000)  # simulated below, chi-square above


def test_ks_by_hand_and_as_scipy_where_nothing_ties():
    assert ks([1, 1, 2], [2, 1, 1]) == ks([1, 1, 2], [2, 1, 1], "down") == 0.25
    assert ks([1, 1, 2], [2, 1, 1], "up") == 0.0
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=80), rng.normal(0.4, 1.0, size=50)
    cells = np.argsort(np.argsort(np.r_[x, y]))
    a, b = np.bincount(cells[:80], minlength=130), np.bincount(cells[80:], minlength=130)
    for side, theirs in (("both", "two-sided"), ("up", "greater"), ("down", "less")):
        reference = stats.ks_2samp(x, y, alternative=theirs, method="exact")
        assert ks(a, b, side) == pytest.approx(reference.statistic)
        assert ks_p_value(a, b, rng, 9999, side) == pytest.approx(reference.pvalue, abs=0.015)


def test_ks_errs_as_often_as_it_says_whatever_the_ties():
    """Clicks on a page of ten take a few values; the law without ties would alarm at a fraction of its level."""
    rng, runs, ours, textbook = np.random.default_rng(6), 1500, 0, 0
    shares = stats.binom.pmf(np.arange(11), 10, 0.16)
    shares /= shares.sum()
    for _ in range(runs):
        a, b = rng.multinomial(500, shares), rng.multinomial(200, shares)
        ours += ks_p_value(a, b, rng, 199) <= 0.05
        textbook += stats.kstwo.sf(ks(a, b), round(500 * 200 / 700)) <= 0.05
    assert abs(ours / runs - 0.05) <= 0.015
    assert textbook / runs < 0.02


def test_what_could_have_been_seen_is_seen_as_often_as_promised():
    rng, runs = np.random.default_rng(7), 1500
    # a mean: the standard error of a difference of .1
    shift = smallest_shift(0.1, 0.05)
    assert shift == pytest.approx(0.1 * (1.959964 + 0.841621), abs=1e-6)
    # an index: two distributions that far apart
    target, p = smallest_index(4, 2000, 1000, 0.05), np.array([0.4, 0.3, 0.2, 0.1])
    step = np.array([1, -1, 1, -1]) / 100
    scale = next(s for s in np.linspace(0, 8, 4001) if psi(1e6 * p, 1e6 * (p + s * step)) >= target)
    seen = sum(
        psi_p_value(rng.multinomial(2000, p), rng.multinomial(1000, p + scale * step), rng) <= 0.05 for _ in range(runs)
    )
    assert seen / runs == pytest.approx(0.8, abs=0.035)
    # a distance: 80 % or more
    gap = smallest_distance(2000, 1000, 0.05)
    half = np.array([0.5, 0.5])
    seen = sum(
        ks_p_value(rng.multinomial(2000, half), rng.multinomial(1000, [0.5 + gap, 0.5 - gap]), rng, 199) <= 0.05
        for _ in range(runs)
    )
    assert seen / runs >= 0.8


def test_examples():
    assert doctest.testmod(distributions).failed == 0
