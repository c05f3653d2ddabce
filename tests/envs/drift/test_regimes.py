"""Regimes come in turn, or as drawn, and come again exactly as they were."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import Regimes
from tests.envs.drift.shops import setting

BLOCKS = np.arange(-30, 300) * 10.0


def test_a_cycle_comes_again() -> None:
    shop, drift = setting(), Regimes(count=4, dwell_days=10)
    assert drift.regime(np.array([0.0, 9.99, 10.0, 39.9, 40.0, -0.1]), shop).tolist() == [0, 0, 1, 3, 0, 3]
    need = drift.change(BLOCKS, shop).need
    assert np.array_equal(need[:-4], need[4:])
    assert not np.allclose(need[0], need[1])


def test_drawn_regimes_follow_the_seed_and_stay_with_chance_one_in_k() -> None:
    drift = Regimes(count=3, dwell_days=10, order="random")
    regime = drift.regime(BLOCKS, setting())
    assert set(regime.tolist()) == {0, 1, 2}
    assert np.mean(regime[1:] == regime[:-1]) == pytest.approx(1 / 3, abs=0.1)
    assert not np.array_equal(regime, drift.regime(BLOCKS, setting(seed=6)))


def test_every_regime_has_the_declared_size() -> None:
    shop = setting()
    size = Regimes(0.5, rms=0.6).change(BLOCKS, shop).size(np.asarray(shop.preset.base_share))
    assert size == pytest.approx(0.3)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.count' must be an integer >= 2. Got 1"):
        Regimes(count=1)
    with pytest.raises(ValueError, match=r"'drift.order' must be 'cycle' or 'random'. Got 'markov'"):
        Regimes(order="markov")  # type: ignore[arg-type]
