import doctest
import importlib
import pkgutil

import numpy as np
import pytest

from perennial.agents.lifecycle import detectors
from perennial.agents.lifecycle.detectors import (
    Adwin,
    AlwaysDetector,
    Batched,
    Cusum,
    Ddm,
    Eddm,
    Fhddm,
    Glr,
    HddmA,
    HddmW,
    Kswin,
    KsWindows,
    NoDetector,
    PageHinkley,
    PsiWindows,
)
from tests.agents.lifecycle.detectors.streams import CROWDING, ERRORS, STEP_DOWN, ZIGZAG_DOWN, alarms

OF_MEANS = {
    "adwin": lambda d: Adwin(d, 0.002),
    "batched": lambda d: Batched(Cusum(d, 0.5, 10.0, 20), 3),
    "cusum": lambda d: Cusum(d, 0.5, 10.0, 100),
    "glr_bernoulli": lambda d: Glr(d, "bernoulli", 6.0, 10),
    "glr_gaussian": lambda d: Glr(d, "gaussian", 10.0, 10),
    "kswin": lambda d: Kswin(d, 1e-4),
    "ks": lambda d: KsWindows(d, 0.01, 200, 50),
    "page_hinkley": lambda d: PageHinkley(d, 0.005, 2.0, 50),
    "psi": lambda d: PsiWindows([0.3, 0.5, 0.7], d, 0.01, 200, 50),
}
OF_ERRORS = {"ddm": Ddm, "eddm": Eddm, "hddm_a": HddmA, "hddm_w": HddmW, "fhddm": Fhddm}


@pytest.mark.parametrize("make", OF_MEANS.values(), ids=OF_MEANS)
def test_the_direction_decides_which_change_counts(make):
    down, up = ZIGZAG_DOWN, 1.0 - ZIGZAG_DOWN
    assert alarms(make("down"), down)
    assert not alarms(make("down"), up)
    assert alarms(make("up"), up)
    assert not alarms(make("up"), down)
    assert alarms(make("both"), up)
    assert alarms(make("both"), down)
    with pytest.raises(ValueError, match="'direction' must be 'down', 'up' or 'both'. Got 'left'"):
        make("left")


@pytest.mark.parametrize("make", OF_ERRORS.values(), ids=OF_ERRORS)
def test_error_detectors_see_errors_become_more_frequent_only(make):
    assert alarms(make(), CROWDING) or alarms(make(), ERRORS)
    assert not alarms(make(), np.r_[np.tile([0, 1], 300), np.zeros(600)])


@pytest.mark.parametrize(
    ("make", "stream"),
    [
        *((lambda make=make: make("down"), ZIGZAG_DOWN) for make in OF_MEANS.values()),
        *((make, CROWDING) for make in OF_ERRORS.values()),
    ],
    ids=[*OF_MEANS, *OF_ERRORS],
)
def test_many_values_at_once_are_the_same_values_one_by_one(make, stream):
    noisy = np.random.default_rng(5).permutation(np.r_[stream, stream])
    for values in (stream, noisy):
        one, many, found, start = make(), make(), [], 0
        while (index := many.first_alarm(values[start:])) is not None:
            found.append(start + index)
            assert many.drift_detected
            start = found[-1] + 1
        assert found == alarms(one, values)
        assert one.score == many.score


@pytest.mark.parametrize("make", [*(lambda m=m: m("down") for m in OF_MEANS.values())], ids=OF_MEANS)
def test_a_reset_forgets(make):
    detector = make()
    detector.first_alarm(ZIGZAG_DOWN)
    detector.reset()
    assert not detector.drift_detected
    assert detector.first_alarm(ZIGZAG_DOWN[300:]) is None  # the new level is all it knows
    detector.reset()
    assert detector.first_alarm(ZIGZAG_DOWN) == make().first_alarm(ZIGZAG_DOWN)


def test_the_null_object_never_fires_and_its_opposite_always_does():
    assert alarms(NoDetector(), STEP_DOWN) == []
    assert alarms(AlwaysDetector(), STEP_DOWN) == list(range(600))


def test_examples():
    for module in pkgutil.iter_modules(detectors.__path__):
        assert doctest.testmod(importlib.import_module(f"{detectors.__name__}.{module.name}")).failed == 0
