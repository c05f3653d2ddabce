"""Compositions: changes add, hooks are handed on, the twin is what the drift rests on."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs.drift import (
    Behaviour,
    CatalogueChurn,
    Composed,
    NoDrift,
    PopulationShift,
    Seasonal,
    ShiftingSeasons,
    Shock,
    TasteDrift,
)
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


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"'drift.parts' may hold one drift of tastes"):
        Composed([TasteDrift(), TasteDrift()])
    with pytest.raises(ValueError, match=r"'drift.parts' must hold at least one drift"):
        Composed([])
