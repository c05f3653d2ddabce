"""The alarm against hand-made streams, and against the published run lengths of the CUSUM chart."""

import numpy as np
import pytest

from perennial.agents.bandits.restarts import Cusum


def settled(threshold: float) -> Cusum:
    """A chart whose past is long: mean 0, standard deviation 1, so that an hour of one page has z = its value."""
    alarm = Cusum(drift=0.5, threshold=threshold, warm_up=2)
    alarm.restore(alarm.state() | {"past": np.array([1e12, 0.0, 1e12])})
    return alarm


def test_it_rings_at_the_hour_that_hand_computation_says() -> None:
    alarm = settled(threshold=2.0)
    values = np.array([1.0, 1.5, 0.0, 1.0, 2.0, 0.0])  # sums: .5, 1.5, 1.0, 1.5, 3.0 -> rings at hour 4
    assert alarm.watch(np.arange(6), values) == 5
    down = settled(threshold=2.0)
    assert down.watch(np.arange(6), -values) == 5


def test_cutting_the_stream_into_batches_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    ticks = np.sort(rng.integers(0, 300, 3000))
    values = (rng.random(3000) < np.where(ticks < 150, 0.2, 0.5)) * 1.0
    whole, parts = Cusum(warm_up=100), Cusum(warm_up=100)
    at_once = whole.watch(ticks, values)
    piecemeal = max(parts.watch(ticks[i : i + 7], values[i : i + 7]) for i in range(0, 3000, 7))
    assert at_once == piecemeal > 150
    assert all(np.allclose(array, parts.state()[name]) for name, array in whole.state().items())


@pytest.mark.parametrize(("threshold", "shift", "published"), [(5.0, 1.0, 10.4), (4.0, 0.0, 168.0)])
def test_run_lengths_are_the_published_ones(threshold: float, shift: float, published: float) -> None:
    """Montgomery, Introduction to Statistical Quality Control, table 9.3: two-sided chart with k = 1/2."""
    rng = np.random.default_rng(0)
    lengths = np.array([first_alarm(rng, threshold, shift) for _ in range(250)], dtype=float)
    assert abs(lengths.mean() - published) < 3 * lengths.std(ddof=1) / np.sqrt(len(lengths))


def first_alarm(rng: np.random.Generator, threshold: float, shift: float) -> int:
    """Hours until the first alarm of one chart."""
    alarm, hour = settled(threshold), 0
    while True:
        hour += 1
        restart = alarm.watch(np.array([hour]), rng.standard_normal(1) + shift)
        if restart >= 0:
            return hour - 1  # the hour is judged when the next one comes
