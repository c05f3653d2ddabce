"""The named scenarios and their twins are worlds that run."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.drift import Seasonal
from perennial.envs.scenarios import SCENARIOS, Scenario, scenario
from perennial.envs.shop import ShopEnv

SMALL = {"n_users": 200, "n_items": 150, "visits_per_day": 200.0}


def test_names_are_ids_and_differ() -> None:
    names = [s.name for s in SCENARIOS]
    assert len(set(names)) == len(names) >= 12
    assert all(name.isalnum() and not name.endswith("Twin") for name in names)
    assert {s.preset for s in SCENARIOS} == {"gift_shop", "marketplace"}
    assert all(str(World.date_of(s.start_day)) == "2010-09-02" for s in SCENARIOS if s.preset == "gift_shop")


@pytest.mark.parametrize("entry", SCENARIOS, ids=lambda s: s.name)
def test_scenario_and_twin_run_and_differ(entry: Scenario) -> None:
    drifting, twin = (ShopEnv(**{**entry.arguments(is_twin), **SMALL}) for is_twin in (False, True))
    for env in (drifting, twin):
        env.reset(seed=1)
        env.step(np.arange(10))
    world, still = drifting.world, twin.world
    ticks = np.arange(entry.start_day, entry.start_day + 90) * 24
    gap = world.conditions(ticks) - still.conditions(ticks)
    moved = np.abs(np.concatenate([gap.packed(), gap.population[:, None]], axis=1)).max()
    assert moved > 0.1 or world.drift.turnover().share > 0 or world.catalogue.churns
    assert still.drift.turnover().share == 0
    assert not still.catalogue.churns


def test_what_is_on_the_season_keeps_the_season_in_its_twin() -> None:
    assert isinstance(scenario("GiftShopShock").twin, Seasonal)
    with pytest.raises(ValueError, match=r"Got 'GiftShopShocks'. Did you mean 'GiftShopShock'\?"):
        scenario("GiftShopShocks")
