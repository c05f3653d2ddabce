import numpy as np

from perennial.agents.lifecycle.detectors import PageHinkley
from tests.agents.lifecycle.detectors.streams import STEP_DOWN, alarms


def by_hand(stream, delta, threshold, min_instances, forgetting):
    """Falls only, as in Page (1954) with the mean estimated: first index at which max S - S passes the threshold."""
    mean, total, highest = 0.0, 0.0, -np.inf
    for index, x in enumerate(stream):
        mean += (x - mean) / (index + 1)
        total = forgetting * total + x - mean + delta
        highest = max(highest, total)
        if index + 1 >= min_instances and highest - total > threshold:
            return index
    return None


def test_it_fires_at_the_index_worked_out_by_hand():
    rng = np.random.default_rng(3)
    for stream in (STEP_DOWN, STEP_DOWN + rng.normal(0, 0.1, 600)):
        detector = PageHinkley("down", delta=0.01, threshold=2.0, min_instances=50, forgetting=0.999)
        assert alarms(detector, stream)[0] == by_hand(stream, 0.01, 2.0, 50, 0.999)


def test_exact_indices_on_a_plain_step():
    assert alarms(PageHinkley("down", 0.005, 2.0, 50), STEP_DOWN)[0] == 310
    assert alarms(PageHinkley("both", 0.005, 2.0, 50), STEP_DOWN)[0] == 310
