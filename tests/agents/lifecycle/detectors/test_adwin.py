import river.drift

from perennial.agents.lifecycle.detectors import Adwin
from tests.agents.lifecycle.detectors.streams import STEP_DOWN


def test_it_fires_where_rivers_does_and_shows_how_far_the_mean_fell():
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
