"""What seasons shift by between two years is found again in made-up logs, and nothing is found where nothing moved."""

from dataclasses import dataclass

import numpy as np
import pytest

from perennial.envs.calibration.two_years import fit_two_years


@dataclass
class Orders:
    """What `fit_two_years` asks of a log."""

    order_day: np.ndarray
    baskets: np.ndarray
    categories: tuple[int, ...]


def made_up(amplitude: float, delay: float, common: float, seed: int, orders: int = 60_000, size: int = 40) -> Orders:
    """Two years of orders whose departments' swings are stronger and later by a year's own draw."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, 730, orders))
    stronger = amplitude * rng.standard_normal((2, size))
    later = delay * rng.standard_normal((2, size)) + common * np.array([[1.0], [-1.0]])
    phase, swing = rng.uniform(0, 2 * np.pi, size), rng.uniform(0.2, 0.8, size)
    turn = 2 * np.pi * (day[:, None] - later[day // 365]) / 365.25 - phase
    share = np.exp((1 + stronger[day // 365]) * swing * np.cos(turn))
    share /= share.sum(axis=1, keepdims=True)
    return Orders(day, rng.multinomial(3, share).astype(np.float64), tuple(range(size)))


def test_known_shifts_are_found_again() -> None:
    found = np.array([fit_two_years(made_up(0.25, 9.0, 0.0, seed), 2).values for seed in range(3)])
    own, _, days, _ = np.sqrt((found**2).mean(axis=0))
    assert own == pytest.approx(0.25, rel=0.25)
    assert days == pytest.approx(9.0, rel=0.25)


def test_a_delay_of_all_departments_is_common() -> None:
    """The two years lie 12 days apart, so that half their squared difference is 72 = 8.5^2."""
    found = fit_two_years(made_up(0.0, 0.0, 6.0, 1), 2)
    assert found.values[3] == pytest.approx(8.5, rel=0.15)
    assert found.values[2] < 2.5
    assert found.errors[3] > 0.7 * found.values[3] * np.sqrt(2) / 2  # one pair of years says little


def test_where_nothing_moved_next_to_nothing_is_found() -> None:
    found = np.array([fit_two_years(made_up(0.0, 0.0, 0.0, seed), 2).values for seed in range(3)])
    own, common, days, common_days = np.sqrt((found**2).mean(axis=0))
    assert max(own, common) < 0.05
    assert max(days, common_days) < 2.0
