"""Behaviour: price sensitivity and examination decay become the declared multiples of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import Behaviour, NoDrift, Step
from tests.envs.drift.shops import SMALL


def test_the_factors_are_those_declared() -> None:
    drift = Behaviour(0.5, price_factor=9.0, examination_factor=4.0, schedule=Step("2010-05-01"))
    moved, still = (World(drift=d, seed=5, **SMALL).arrivals(24 * 130 + 12).lanes for d in (drift, NoDrift()))
    assert moved.visit.tolist() == still.visit.tolist()
    assert moved.price == pytest.approx(3 * still.price, rel=1e-6)
    assert np.log(moved.persistence) == pytest.approx(2 * np.log(still.persistence), rel=1e-9)
    assert np.array_equal(moved.need, still.need)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.price_factor' must be > 0"):
        Behaviour(price_factor=0.0)
