"""Churn: every category keeps its number of items on sale while the declared share is replaced."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import CatalogueChurn
from tests.envs.drift.shops import SMALL, setting

CATEGORY = np.repeat(np.arange(15, dtype=np.int32), 20)


def test_items_hand_over_within_their_category() -> None:
    lives = CatalogueChurn(share=0.5, start="2010-02-01", days=100).lifetimes(CATEGORY, setting())
    assert lives is not None
    launch, retire = lives
    counts = []
    for moment in (-1000.0, 31.0, 60.0, 99.9, 131.0, 5000.0, *retire[np.isfinite(retire)]):
        live = (launch <= moment) & (moment < retire)
        counts.append(np.bincount(CATEGORY[live], minlength=15).tolist())
    assert all(count == [14] * 15 for count in counts)  # of 20, a third is hidden at first: 6
    assert np.array_equal(np.sort(launch[np.isfinite(launch)]), np.sort(retire[np.isfinite(retire)]))
    assert retire.min() >= 31
    assert retire[np.isfinite(retire)].max() < 131
    assert not (np.isfinite(launch) & np.isfinite(retire)).any()


def test_the_declared_share_of_what_is_on_sale_is_replaced() -> None:
    world = World(drift=CatalogueChurn(share=0.4), seed=5, **SMALL | {"n_items": 1400})
    there = world.catalogue.launch == -np.inf
    assert np.isfinite(world.catalogue.retire[there]).mean() == pytest.approx(0.4, abs=0.01)
    assert np.isfinite(world.catalogue.launch).sum() == pytest.approx(400, abs=8)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.strength' x 'drift.share' must lie in \[0, 1\].* 'drift.days'"):
        CatalogueChurn(3.0)
    with pytest.raises(ValueError, match=r"'drift.start' must be a date"):
        CatalogueChurn(start="now")
