import math

import numpy as np
import pytest
from river.drift import binary

from perennial.agents.lifecycle.detectors import Ddm, Eddm, Fhddm, HddmA, HddmW
from tests.agents.lifecycle.detectors.streams import CROWDING, ERRORS, OFTEN, RARE, alarms

RANDOM = (np.random.default_rng(9).random(2000) < np.r_[np.full(1000, 0.1), np.full(1000, 0.5)]).astype(int)


def ddm_by_hand(errors, threshold=3.0, warmup=30):
    """Gama et al. (2004): p + s against the lowest p + s so far."""
    total, p_min, s_min = 0, math.inf, math.inf
    for n, error in enumerate(errors, 1):
        total += error
        p = total / n
        s = math.sqrt(p * (1 - p) / n)
        if n <= warmup:
            continue
        if p + s <= p_min + s_min:
            p_min, s_min = p, s
        if p + s > p_min + threshold * s_min:
            return n - 1
    return None


def fhddm_by_hand(errors, confidence, window):
    """Pesaranghader and Viktor (2016): the best success rate of a sliding window so far, less the newest."""
    bound, best = math.sqrt(math.log(1 / confidence) / (2 * window)), 0.0
    for n in range(window, len(errors) + 1):
        rate = 1 - np.mean(errors[n - window : n])
        best = max(best, rate)
        if best - rate > bound:
            return n - 1
    return None


def test_ddm_fires_where_the_paper_says():
    for stream in (ERRORS, CROWDING, RANDOM):
        assert alarms(Ddm(), stream)[0] == ddm_by_hand(stream)
    assert alarms(Ddm(), ERRORS) == [1031]


def test_fhddm_fires_when_errors_rise_whatever_rivers_polarity():
    for stream in (ERRORS, CROWDING, RANDOM):
        assert alarms(Fhddm(1e-6, 100), stream)[0] == fhddm_by_hand(stream, 1e-6, 100)
    assert alarms(Fhddm(), ERRORS)[0] == 1032
    detector = Fhddm()
    assert detector.first_alarm(ERRORS) == 1032
    assert detector.score == pytest.approx(0.27)  # 80 of 100 successes at best; 53 now, with 33 errors in a row
    assert detector.score > detector.threshold == pytest.approx(math.sqrt(math.log(1e6) / 200))


@pytest.mark.parametrize(
    ("ours", "rivers", "stream", "first"),
    [
        (Ddm(), binary.DDM(), CROWDING, 1527),
        (Eddm(), binary.EDDM(), CROWDING, 1779),
        (HddmA(), binary.HDDMA(), ERRORS, 1004),
        (HddmA(), binary.HDDMA(), CROWDING, 1471),
        (HddmW(), binary.HDDMW(), ERRORS, 1012),
    ],
)
def test_the_others_fire_where_rivers_do(ours, rivers, stream, first):
    reference = []
    for index, x in enumerate(stream):
        rivers.update(int(x))
        if rivers.drift_detected:
            reference.append(index)
    assert alarms(ours, stream) == reference
    assert reference[0] == first


@pytest.mark.parametrize("detector", [Ddm(), Eddm(), HddmA(), HddmW(), Fhddm()], ids=lambda d: type(d).__name__)
def test_the_score_passes_the_threshold_exactly_at_an_alarm(detector):
    seen = 0
    for error in np.r_[CROWDING, RANDOM]:
        detector.update(error)
        assert (detector.score > detector.threshold) == detector.drift_detected or math.isclose(
            detector.score, detector.threshold
        )
        seen += detector.drift_detected
    assert seen


def test_fewer_errors_are_no_reason_and_other_values_are_refused():
    for make in (Ddm, HddmA, HddmW, Fhddm):
        assert alarms(make(), np.r_[OFTEN, np.zeros(400)]) == []
        assert alarms(make(), RARE) == []
    with pytest.raises(ValueError, match=r"Values must be 0 or 1 for Ddm. Got \[0.3\]"):
        Ddm().update(0.3)
