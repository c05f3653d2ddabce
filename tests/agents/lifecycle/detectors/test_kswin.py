import pytest
import river.drift
import scipy.stats

from perennial.agents.lifecycle.detectors import Kswin
from tests.agents.lifecycle.detectors.streams import STEP_DOWN, ZIGZAG_DOWN, alarms


def test_it_fires_where_rivers_does():
    reference, first = river.drift.KSWIN(alpha=1e-4, seed=0), None
    for index, x in enumerate(ZIGZAG_DOWN):
        reference.update(x)
        if reference.drift_detected:
            first = index
            break
    assert alarms(Kswin("down", 1e-4), ZIGZAG_DOWN) == [first] == [316]


def test_exact_index_on_a_plain_step():
    # 30 newest values against 30 of the 70 before, r of the newest changed: the distance is r / 30
    assert scipy.stats.ks_2samp([0.5] * 30, [0.5] * 17 + [0.3] * 13).pvalue > 0.005
    assert scipy.stats.ks_2samp([0.5] * 30, [0.5] * 16 + [0.3] * 14).pvalue < 0.005
    assert alarms(Kswin("down", 0.005), STEP_DOWN) == [313]


def test_the_score_is_one_minus_the_p_value():
    detector = Kswin("down", 1e-4)
    assert detector.first_alarm(ZIGZAG_DOWN) == 316
    assert detector.score >= detector.threshold == 1 - 1e-4
    with pytest.raises(ValueError, match="'window' must hold at least twice the 'newest' values, 60. Got 50"):
        Kswin(window=50)
