"""Shocks: whom they meet, how far, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import Shock, Shock2020
from tests.envs.drift.shops import day, setting

START = day("2010-10-01")


def test_a_named_shock_moves_what_it_names_by_what_it_says() -> None:
    shop = setting(channel=0.25)
    drift = Shock(2.0, sizes={"bags": 0.5, "rain": -1}, rise_days=0, hold_days=10, half_life_days=0, segment=1)
    moved = drift.change(START + np.array([-0.1, 0.0, 9.9, 10.0]), shop)
    bags, rain = shop.preset.categories.index("bags"), shop.preset.categories.index("rain")
    assert moved.need[:, 1, bags].tolist() == [0, 0.25, 0.25, 0]
    assert moved.purchase[:, 1, bags].tolist() == [0, 0.75, 0.75, 0]
    assert moved.need[1, 1, rain] == -0.5
    assert np.count_nonzero(moved.need) == np.count_nonzero(moved.purchase) == 4
    assert not moved.need[:, 0].any()


def test_a_drawn_shock_has_the_declared_size_and_makes_no_demand() -> None:
    shop = setting()
    share = np.asarray(shop.preset.base_share) / sum(shop.preset.base_share)
    table = Shock(rms=0.8).sizes.table(shop)[0]
    assert np.sqrt((share * table**2).sum()) == pytest.approx(0.8)
    assert (share * table).sum() == pytest.approx(0, abs=1e-12)
    assert not np.allclose(table, Shock(rms=0.8, draw=1).sizes.table(shop)[0])
    assert not np.allclose(table, Shock(rms=0.8).sizes.table(setting(seed=6))[0])
    some = Shock(rms=0.8, categories=["bags", "rain"]).sizes.table(shop)[0]
    assert np.flatnonzero(some).tolist() == sorted(shop.preset.categories.index(c) for c in ("bags", "rain"))


def test_the_budget_is_the_way_there_and_back() -> None:
    shop = setting()
    there = Shock(rms=0.8, half_life_days=None).budget(shop, START - 10, START + 200)
    back = Shock(rms=0.8, half_life_days=1).budget(shop, START - 10, START + 200)
    assert there["attraction and purchase"] == pytest.approx(0.8)
    assert back["attraction and purchase"] == pytest.approx(1.6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.sizes' must name categories .* Got 'bag'. Did you mean 'bags'\?"):
        Shock(sizes={"bag": 1.0}).change(np.zeros(1), setting())
    with pytest.raises(ValueError, match=r"'drift.categories' must name categories of the preset 'gift_shop'"):
        Shock(categories=["pet"]).change(np.zeros(1), setting())
    with pytest.raises(ValueError, match=r"'drift.sizes' names the categories already"):
        Shock(sizes={"bags": 1.0}, categories=["bags"])
    with pytest.raises(ValueError, match=r"'drift.segment' must be 0 .* Got 2"):
        Shock(segment=2)
    with pytest.raises(ValueError, match=r"'drift.strength' must be a finite number >= 0"):
        Shock(-1.0)


def test_2020_goes_by_names_and_refuses_a_shop_without_them() -> None:
    given = {"winter_warmth": -0.4, "grocery": 0.5}
    drift, peak = Shock2020(given), np.array([day("2020-05-01")])
    for preset, count in (("marketplace", 2), ("gift_shop", 1)):
        shop = setting(preset)
        need = drift.change(peak, shop).need[0, 0]
        assert np.count_nonzero(need) == count
        assert need[shop.preset.categories.index("winter_warmth")] == pytest.approx(-0.4)
    with pytest.raises(ValueError, match=r"'drift.sizes' must name some category .* Use the drift 'shock' here"):
        Shock2020({"grocery": 0.5}).change(peak, setting())
