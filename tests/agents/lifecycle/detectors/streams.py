"""Hand-made streams, and the indices at which a detector fires on them."""

import numpy as np

STEP_DOWN = np.r_[np.full(300, 0.5), np.full(300, 0.3)]
"""A plain step of the mean, without noise."""

ZIGZAG_DOWN = np.tile([0.4, 0.6], 300) - np.r_[np.zeros(300), np.full(300, 0.2)]
"""The same step, the values .1 to either side of the mean."""

RARE, OFTEN = np.tile([0, 0, 0, 0, 1], 200), np.ones(200)
ERRORS = np.r_[RARE, OFTEN]
"""Every fifth page an error; from index 1,000 on, every page."""

CROWDING = np.r_[np.tile([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], 120), np.tile([0, 1], 300)]
"""Errors four and eight pages apart; from index 1,440 on, two."""


def alarms(detector, stream):
    fired = []
    for index, x in enumerate(stream):
        detector.update(float(x))
        if detector.drift_detected:
            fired.append(index)
    return fired
