import numpy as np
import pytest

from perennial.agents.lifecycle.detectors import Cusum
from tests.agents.lifecycle.detectors.streams import STEP_DOWN, ZIGZAG_DOWN, alarms


def test_exact_indices_where_the_reference_is_given():
    # two standard deviations lower, half of one tolerated: 1.5 a value, so the seventh, 10.5, passes 10
    assert alarms(Cusum("down", 0.5, 10.0, mean=0.5, sd=0.1), STEP_DOWN)[0] == 306
    assert alarms(Cusum("both", 0.5, 10.0, mean=0.5, sd=0.1), STEP_DOWN)[0] == 306
    assert alarms(Cusum("up", 0.5, 10.0, mean=0.5, sd=0.1), STEP_DOWN) == []


def test_exact_indices_where_the_reference_is_learned():
    # the zigzag's sd over 300 values is .1 x root(300 / 299): again 1.5 a value, give or take one
    assert alarms(Cusum("down", 0.5, 10.0, warmup=300), ZIGZAG_DOWN) == [306]
    # an alarm ends the watch: 300 values are learned anew, and the lower level is the reference then
    assert alarms(Cusum("down", 0.5, 10.0, warmup=50), np.r_[ZIGZAG_DOWN, ZIGZAG_DOWN[300:] - 0.2]) == [306, 606]


@pytest.mark.parametrize(
    ("shift", "runs", "published"), [(0.0, 1500, 168.0), (1.0, 6000, 8.38), (2.0, 6000, 3.34)], ids=str
)
def test_average_run_lengths_are_the_published_ones(shift, runs, published):
    """Montgomery, Introduction to Statistical Quality Control, table 9.3: two-sided, k = 1/2, h = 4, normal values."""
    rng, detector, lengths = np.random.default_rng(11), Cusum("both", 0.5, 4.0, mean=0.0, sd=1.0), []
    for _ in range(runs):
        detector.reset()
        found = None
        while found is None:
            held = detector._state[0]
            found = detector.first_alarm(rng.normal(shift, 1.0, 400))
        lengths.append(held + found + 1)
    error = np.std(lengths) / np.sqrt(runs)
    assert abs(np.mean(lengths) - published) < 3 * error + 0.005  # the table is rounded


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="'mean' and 'sd' must be given both or neither. Got mean=1.0, sd=None"):
        Cusum(mean=1.0)
    with pytest.raises(ValueError, match="'threshold' must be a number in"):
        Cusum(threshold=0.0)
