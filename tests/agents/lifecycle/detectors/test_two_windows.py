import numpy as np
import pytest

from perennial.agents.lifecycle.detectors import KsWindows, PsiWindows
from tests.agents.lifecycle.detectors.streams import ZIGZAG_DOWN, alarms


def test_exact_indices():
    # looks after 250, 300, 350, ... values; the first with a changed value is the one at index 349
    assert alarms(KsWindows("down", 0.01, 200, 50), ZIGZAG_DOWN) == [349]
    assert alarms(PsiWindows([0.3, 0.5], "down", 0.01, 200, 50), ZIGZAG_DOWN) == [349]
    # a watch that begins with the change knows nothing else
    assert alarms(KsWindows("down", 0.01, 300, 50), np.r_[ZIGZAG_DOWN, ZIGZAG_DOWN[300:]]) == [349]


def test_psi_sees_a_change_of_shape_that_leaves_the_mean():
    narrow, wide = np.tile([0.4, 0.6], 200), np.tile([0.2, 0.8], 200)
    stream = np.r_[narrow, wide]
    assert alarms(PsiWindows([0.3, 0.5, 0.7], "both", 0.01, 300, 100), stream)[0] == 499
    assert alarms(PsiWindows([0.3, 0.5, 0.7], "down", 0.01, 300, 100), stream) == []


def test_categories_are_told_apart_by_edges_between_their_numbers():
    rng = np.random.default_rng(0)
    before, after = rng.choice(3, 3000, p=[0.5, 0.3, 0.2]), rng.choice(3, 1000, p=[0.3, 0.5, 0.2])
    detector = PsiWindows([0.5, 1.5], "both", 0.001, 2000, 500)
    assert detector.first_alarm(np.r_[before, after]) == 3499
    assert detector.score >= detector.threshold


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"'edges' must be one or more rising numbers. Got \[0.5, 0.5\]"):
        PsiWindows([0.5, 0.5])
    with pytest.raises(ValueError, match=r"'draws' must be at least 1 / alpha - 1 = 999. Got 99"):
        KsWindows(alpha=0.001, draws=99)
