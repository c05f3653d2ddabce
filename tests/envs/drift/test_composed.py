"""Compositions: changes add, hooks are handed on, the twin is what the drift rests on."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import (
    Behaviour,
    CatalogueChurn,
    Composed,
    Drift,
    NoDrift,
    Offsets,
    PopulationShift,
    Seasonal,
    Setting,
    ShiftingSeasons,
    Shock,
    TasteDrift,
)
from perennial.envs.drift.base import Floats
from tests.envs.drift.shops import setting
from tests.envs.drift.test_declared import DAYS, assert_same


def test_changes_add() -> None:
    shop = setting(channel=0.5)
    parts = [Seasonal(), Shock(), PopulationShift(), Behaviour()]
    season, shock, people, behaviour = (part.change(DAYS, shop) for part in parts)
    assert_same(Composed(parts).change(DAYS, shop), season + shock + people + behaviour)


def test_hooks_are_handed_on() -> None:
    shop, category = setting(), np.zeros(60, np.int32)
    both = Composed([Seasonal(), TasteDrift(0.5, share=0.5), CatalogueChurn()])
    assert both.turnover().share == 0.25
    lives, alone = both.lifetimes(category, shop), CatalogueChurn().lifetimes(category, shop)
    assert lives is not None
    assert alone is not None
    assert all(np.array_equal(a, b) for a, b in zip(lives, alone, strict=True))


def test_twins() -> None:
    season = Seasonal(0.7)
    assert Composed([season, Shock()]).twin() is season
    assert isinstance(Composed([ShiftingSeasons(), Shock(), TasteDrift()]).twin(), Seasonal)
    assert isinstance(Composed([Shock(), TasteDrift()]).twin(), NoDrift)
    assert isinstance(Composed([Seasonal()]).twin(), NoDrift)
    assert isinstance(Shock().twin(), NoDrift)


def test_strength_multiplies_that_of_every_part_but_the_season_they_rest_on() -> None:
    shop = setting()
    season, shock, tastes, churn = Seasonal(0.7), Shock(0.5, rms=0.4), TasteDrift(share=0.2), CatalogueChurn(share=0.3)
    both = Composed([season, shock, tastes, churn], strength=2.0)
    assert_same(both.change(DAYS, shop), season.change(DAYS, shop) + Shock(1.0, rms=0.4).change(DAYS, shop))
    assert both.turnover().share == 0.4
    lives, wanted = (d.lifetimes(np.zeros(60, np.int32), shop) for d in (both, CatalogueChurn(2.0, share=0.3)))
    assert lives is not None
    assert wanted is not None
    assert np.array_equal(lives[0], wanted[0])
    assert both.twin() is season
    assert (shock.strength, tastes.strength) == (0.5, 1.0)  # the parts that were handed in stay as they are


def test_strength_of_a_composition_in_a_composition_multiplies() -> None:
    shop = setting()
    outer = Composed([Composed([Shock(rms=0.4)], strength=0.5), NoDrift()], strength=3.0)
    assert_same(outer.change(DAYS, shop), Shock(1.5, rms=0.4).change(DAYS, shop))
    still = Composed([ShiftingSeasons(), Shock()], strength=0.0)
    assert_same(still.change(DAYS, shop), still.twin().change(DAYS, shop))
    assert_same(Composed([Seasonal(0.6)], strength=0.5).change(DAYS, shop), Seasonal(0.3).change(DAYS, shop))


class SuddenSummer(Drift):
    """A drift without a strength."""

    def change(self, days: Floats, setting: Setting) -> Offsets:
        return setting.season.swing(np.where(days < 100, 75.0, 180.0))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.strength' must be a finite number >= 0.0. Got -1"):
        Composed([Shock()], strength=-1)
    with pytest.raises(ValueError, match=r"Got SuddenSummer, which has none: give it an attribute 'strength'"):
        Composed([SuddenSummer()], strength=2.0)
    with pytest.raises(ValueError, match=r"'drift.strength' x 'drift.share' must lie in \[0, 1\]"):
        Composed([TasteDrift(share=0.6)], strength=2.0)
    with pytest.raises(ValueError, match=r"'drift.parts' may hold one drift of tastes"):
        Composed([TasteDrift(), TasteDrift()])
    with pytest.raises(ValueError, match=r"'drift.parts' must hold at least one drift"):
        Composed([])
