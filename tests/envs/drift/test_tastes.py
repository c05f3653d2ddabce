"""Tastes turn over by the declared share, and keep their spread."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import NoDrift, TasteDrift
from tests.envs.drift.shops import SMALL
from tests.envs.drift.test_declared import tastes


def test_what_moves_is_forgotten_and_the_rest_stays() -> None:
    world = World(drift=TasteDrift(share=0.6, knot_days=50), seed=5, **SMALL | {"n_users": 2000})
    users = np.arange(2000)
    early, later, late = (tastes(world, users, np.full(2000, moment)) for moment in (0.0, 25.0, 150.0))
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in ((early, later), (early, late))]
    still = World(drift=NoDrift(), seed=5, **SMALL | {"n_users": 2000}).visitors.taste
    spread = early.std(axis=0)
    assert spread == pytest.approx(still.std(axis=0), rel=0.1)
    assert late.std(axis=0) == pytest.approx(spread, rel=0.1)
    centred = [(t - t.mean(axis=0)) / t.std(axis=0) for t in (early, later, late)]
    assert (centred[0] * centred[2]).mean() == pytest.approx(0.4, abs=0.05)
    assert (centred[0] * centred[1]).mean() == pytest.approx(0.4 + 0.6 * np.sqrt(0.5), abs=0.05)
    assert likeness[0] > likeness[1]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.strength' x 'drift.share' must lie in \[0, 1\].* Got 2.5 x 0.5"):
        TasteDrift(2.5, 0.5)
    with pytest.raises(ValueError, match=r"'drift.knot_days' must be > 0"):
        TasteDrift(knot_days=0)
