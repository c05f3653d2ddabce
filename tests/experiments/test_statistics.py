"""Statistics against published and hand-computed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perennial.experiments import statistics

# Student (1908), "The probable error of a mean": extra hours of sleep under two drugs, ten patients.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_interval_equals_students_sleep_data() -> None:
    interval = statistics.paired_interval(SECOND, FIRST)  # R: t.test(extra ~ group, data = sleep, paired = TRUE)
    assert interval.n == 10
    assert interval.mean == pytest.approx(1.58)
    assert (interval.low, interval.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert interval.half_width == pytest.approx(0.8798858, abs=1e-7)


def test_t_interval_by_hand() -> None:
    interval = statistics.t_interval([1.0, 2.0, 3.0])  # s = 1, t_2(.975) = 4.302653
    assert interval.mean == 2.0
    assert interval.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)


def test_one_seed_has_a_mean_but_no_interval() -> None:
    interval = statistics.t_interval([0.25])
    assert (interval.mean, interval.n) == (0.25, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_interval_covers_at_its_level() -> None:
    draws = np.random.default_rng(0).normal(1.0, 2.0, (4000, 5))
    intervals = [statistics.t_interval(row) for row in draws]
    covered = np.mean([i.low <= 1.0 <= i.high for i in intervals])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 4000)


def test_uplift_is_the_mean_of_ratios_not_the_ratio_of_means() -> None:
    assert statistics.uplift([2.0, 11.0], [1.0, 10.0]) == pytest.approx([1.0, 0.1])
    assert statistics.uplift_interval([2.0, 11.0], [1.0, 10.0]).mean == pytest.approx(0.55)


def test_variance_factor_by_hand() -> None:
    # Var = 1 and 4, difference (0, 1, 2) has variance 1: (1 + 4) / 1.
    assert statistics.variance_factor([1.0, 3.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(5.0)
    assert statistics.variance_factor([1.0, 2.0], [3.0, 4.0]) == math.inf
    assert math.isnan(statistics.variance_factor([1.0], [2.0]))


def test_variance_factor_of_independent_worlds_is_one() -> None:
    rng = np.random.default_rng(1)
    assert statistics.variance_factor(rng.normal(size=20_000), rng.normal(size=20_000)) == pytest.approx(1, abs=0.03)


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    assert statistics.interquartile_mean([100.0, 3.0, 4.0, 5.0, 6.0, -50.0, 1.0, 8.0]) == 4.5
    assert statistics.interquartile_mean([1.0, 2.0, 6.0]) == 3.0


def test_refusals_name_the_argument() -> None:
    with pytest.raises(ValueError, match="same seeds. Got 2 and 3"):
        statistics.paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'control' must be positive"):
        statistics.uplift([1.0], [0.0])
    with pytest.raises(ValueError, match="'values' must be finite"):
        statistics.t_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="'confidence' must lie in"):
        statistics.t_interval([1.0, 2.0], confidence=95)


def test_the_interval_of_a_share_is_exact() -> None:
    """Clopper and Pearson for 0 of 10 and 3 of 10, from the tables: 0 to 30.85 %, 6.67 to 65.25 %."""
    none, some = statistics.share_interval(0, 10), statistics.share_interval(3, 10)
    assert (none.low, none.high) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert (some.low, some.high) == (pytest.approx(0.0667, abs=1e-4), pytest.approx(0.6525, abs=1e-4))
    with pytest.raises(ValueError, match="'hits' must lie between 0 and 'n' >= 1. Got 4 of 3"):
        statistics.share_interval(4, 3)
