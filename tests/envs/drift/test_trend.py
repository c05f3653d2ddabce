"""A trend reaches its declared total in its declared time and stays."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import Trend
from tests.envs.drift.shops import day, setting


def test_a_trend_is_linear_to_its_total() -> None:
    shop = setting()
    drift = Trend(0.5, start="2010-03-01", days=100, sizes={"bags": -0.8})
    path = drift.change(day("2010-03-01") + np.array([-5, 0, 25, 100, 1000]), shop)
    bags = shop.preset.categories.index("bags")
    assert path.need[:, 0, bags] == pytest.approx([0, 0, -0.1, -0.4, -0.4])
    assert drift.budget(shop, 0, 365)["attraction and purchase"] == pytest.approx(
        0.4 * np.sqrt(shop.preset.base_share[bags] / sum(shop.preset.base_share))
    )


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'schedule.days' must be > 0"):
        Trend(days=0)
