"""Every drift of conf/drift: the realised path is the declared path, a pure function of the day; 0 is the twin."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.attraction import persistence_of, taste_now
from perennial.envs.drift import Composed, Drift, Offsets
from perennial.experiments import configuration
from perennial.experiments.drift import names
from perennial.experiments.run import WORLD_GETS
from tests.envs.drift.shops import SMALL, day, setting

NAMES = names()
DAYS = np.array([day("2010-01-01"), *(day("2010-09-25") + np.arange(0, 40, 0.25)), day("2011-04-01")])


def declared(name: str, *overrides: str) -> Drift:
    node = configuration.compose("config", [f"drift={name}", *overrides], WORLD_GETS).node
    drift: Drift = configuration.build(node["drift"], "drift")
    return drift


def at_strength_0(drift: Drift) -> Drift:
    """The same drift with its strength at 0."""
    return type(drift)(**{**arguments_of(drift), "strength": 0.0})  # type: ignore[call-arg]


def arguments_of(drift: Drift) -> dict[str, Any]:
    if isinstance(drift, Composed):
        return {"parts": drift.parts}
    needed = {"Shock2020": "sizes"}.get(type(drift).__name__)
    return {needed: drift.sizes.sizes} if needed else {}  # type: ignore[attr-defined]


def shop_of(name: str) -> str:
    return "marketplace" if name == "shock_2020" else "gift_shop"


def assert_same(a: Offsets, b: Offsets) -> None:
    for f in fields(Offsets):
        assert np.array_equal(getattr(a, f.name), getattr(b, f.name)), f.name


@pytest.mark.parametrize("name", NAMES)
def test_any_day_is_the_same_alone_and_in_any_company(name: str) -> None:
    drift, shop = declared(name), setting(shop_of(name))
    path = drift.at(DAYS, shop)
    assert all(np.isfinite(getattr(path, f.name)).all() for f in fields(Offsets))
    for n in (0, 3, 50, len(DAYS) - 1):
        assert_same(path.take(slice(n, n + 1)), drift.at(DAYS[n : n + 1], shop))
    assert_same(path.take(slice(None, None, -1)), declared(name).at(DAYS[::-1], shop))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "none"])
def test_strength_0_is_the_twin_bit_for_bit(name: str) -> None:
    drift, shop = declared(name), setting(shop_of(name))
    still, twin = at_strength_0(drift), drift.twin()
    if drift.backdrop:
        assert_same(twin.at(DAYS, shop), shop.season.mean().take(np.zeros(len(DAYS), np.int64)))
    assert_same(still.at(DAYS, shop), twin.at(DAYS, shop))
    assert still.turnover().share == twin.turnover().share == 0
    assert still.lifetimes(np.zeros(50, np.int32), shop) is None
    assert twin.lifetimes(np.zeros(50, np.int32), shop) is None


@pytest.mark.parametrize("name", [n for n in NAMES if n != "none"])
def test_it_moves_something_and_says_so(name: str) -> None:
    drift, shop = declared(name), setting(shop_of(name))
    words = drift.describe()
    assert all(getattr(words, f.name) for f in fields(words))
    budget = sum(drift.budget(shop, DAYS[0], DAYS[-1]).values())
    lives = drift.lifetimes(np.zeros(50, np.int32), shop)
    assert budget > 0.1 or drift.turnover().share > 0 or (lives is not None and np.isfinite(lives[0]).any())


@pytest.mark.parametrize("channel", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_the_realised_path_is_the_declared_path(name: str, channel: float) -> None:
    world = World(shop_of(name), declared(name), seed=5, channel=channel, **SMALL)
    for start in ("2010-10-05", "2011-03-30", "2010-10-05"):  # jumping to and fro
        world.reset()
        realised(world, int(day(start)) * 24 + 11, int(day(start)) * 24 + 13)


def realised(world: World, first: int, last: int) -> None:
    """Compare what visitors want as their visits begin with the numbers that the declaration gives."""
    visits = world.arrivals(first, last)
    lanes, people, rules = visits.lanes, world.visitors, world._rules
    assert len(visits) > 10
    now = world.drift.at(lanes.tick / 24.0, world.setting)
    everyone, sensitivity = np.arange(len(visits)), people.sensitivity[lanes.user].astype(np.float64)
    segment = people.segment[lanes.user]
    taste = tastes(world, lanes.user, lanes.tick / 24.0)
    need = taste + sensitivity[:, None] * now.need[everyone, segment] + now.level[:, None]
    cart = sensitivity[:, None] * now.purchase[everyone, segment]
    assert np.array_equal(lanes.need, need.astype(np.float32))
    assert np.array_equal(lanes.cart, cart.astype(np.float32))
    price = people.price_sensitivity[lanes.user] * np.exp(now.price)
    assert np.allclose(lanes.price, price, rtol=1e-7, atol=0)  # within one rounding: exp is not NumPy's
    seen = [persistence_of(rules, z, e) for z, e in zip(lanes.patience, now.examination, strict=True)]
    assert np.array_equal(lanes.persistence, seen)
    goods, moment = world.catalogue, lanes.tick[:, None] / 24.0
    assert ((goods.launch[lanes.candidates] <= moment) & (moment < goods.retire[lanes.candidates])).all()


def tastes(world: World, users: Any, days: Any) -> Any:
    """float64 (n, C): the visitors' log-tastes by the closed form."""
    tables, turnover = world._tables, world.drift.turnover()
    found = np.empty((len(users), len(world.preset.categories)))
    for row, user, moment in zip(found, users, days, strict=True):
        moved = turnover.share, turnover.knot_days
        taste_now(tables.key, tables.taste, tables.taste_mean, tables.taste_spread, *moved, user, moment, row)
    return found
