import doctest

import numpy as np
import pytest
import river.drift

from perennial.agents.lifecycle import detectors
from perennial.agents.lifecycle.detectors import Adwin, NoDetector, PageHinkley


def alarms(detector, stream):
    fired = []
    for index, x in enumerate(stream):
        detector.update(float(x))
        if detector.drift_detected:
            fired.append(index)
    return fired


def page_hinkley_by_hand(stream, delta, threshold, min_instances, forgetting):
    """Falls only, as in Page (1954) with the mean estimated: first index at which max S - S passes the threshold."""
    mean, total, highest = 0.0, 0.0, -np.inf
    for index, x in enumerate(stream):
        mean += (x - mean) / (index + 1)
        total = forgetting * total + x - mean + delta
        highest = max(highest, total)
        if index + 1 >= min_instances and highest - total > threshold:
            return index
    return None


STEP_DOWN = np.r_[np.full(300, 0.5), np.full(300, 0.3)]


def test_page_hinkley_fires_at_the_index_worked_out_by_hand():
    rng = np.random.default_rng(3)
    for stream in (STEP_DOWN, STEP_DOWN + rng.normal(0, 0.1, 600)):
        detector = PageHinkley("down", delta=0.01, threshold=2.0, min_instances=50, forgetting=0.999)
        assert alarms(detector, stream)[0] == page_hinkley_by_hand(stream, 0.01, 2.0, 50, 0.999)


def test_page_hinkley_exact_indices_on_a_plain_step():
    assert alarms(PageHinkley("down", 0.005, 2.0, 50), STEP_DOWN)[0] == 310
    assert alarms(PageHinkley("both", 0.005, 2.0, 50), STEP_DOWN)[0] == 310


@pytest.mark.parametrize("make", [lambda d: PageHinkley(d, 0.005, 2.0, 50), lambda d: Adwin(d, 0.002)])
def test_the_direction_decides_which_change_counts(make):
    up = 1.0 - STEP_DOWN
    assert alarms(make("down"), STEP_DOWN)
    assert not alarms(make("down"), up)
    assert alarms(make("up"), up)
    assert not alarms(make("up"), STEP_DOWN)
    assert alarms(make("both"), up)
    assert alarms(make("both"), STEP_DOWN)


def test_adwin_fires_where_rivers_does_and_shows_how_far_the_mean_fell():
    reference = river.drift.ADWIN(delta=0.002, min_window_length=100)
    first = None
    for index, x in enumerate(STEP_DOWN):
        reference.update(x)
        if reference.drift_detected:
            first = index
            break
    detector = Adwin("down", delta=0.002)
    fired = [(i, detector.score) for i, x in enumerate(STEP_DOWN) if detector.update(x) or detector.drift_detected]
    assert fired[0][0] == first == 447
    assert 0.0 < fired[0][1] < 0.2


def test_a_reset_forgets_and_the_null_object_never_fires():
    detector = PageHinkley("down", 0.0, 2.0, 50)
    assert alarms(detector, STEP_DOWN[:305]) == []
    detector.reset()
    assert alarms(detector, STEP_DOWN[305:]) == []  # the new level is all it knows
    assert alarms(NoDetector(), STEP_DOWN) == []


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="'direction' must be 'down', 'up' or 'both'. Got 'left'"):
        PageHinkley("left")  # type: ignore[arg-type]


def test_examples():
    assert doctest.testmod(detectors).failed == 0
