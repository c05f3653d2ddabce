"""The world's dynamics: hand-built state -> exact next state, and arrivals, thinning, saving, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.envs import Reward, World
from perennial.envs.drift import CatalogueChurn, NoDrift, Seasonal
from perennial.envs.dynamics import Dynamics
from perennial.envs.world import Visits

ASSUMED = Dynamics()
SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "visits_per_day": 400.0}


def opened(world: World, tick: int = 12) -> Visits:
    """The visits of the first tick from `tick` on that has any."""
    while not len(visits := world.arrivals(tick)):
        tick += 1
    return visits


def first_ten(visits: Visits) -> np.ndarray[Any, Any]:
    return np.tile(np.arange(10), (len(visits), 1))


def test_a_page_moves_satiation_focus_history_and_pleasure_exactly() -> None:
    world = World(seed=1, **SMALL)
    visits = opened(world)
    lanes, state, goods = visits.lanes, world._state, world.catalogue
    before = {u: state.satiation[u].copy() for u in lanes.user}
    response = world.respond(visits, slates := first_ten(visits))
    assert response.clicked.any()
    for lane, user in enumerate(lanes.user):
        clicked = np.flatnonzero(response.clicked[lane])
        # Candidates of lanes that go on are those of the next page already: ask a twin for those of the first.
        twin = World(seed=1, **SMALL)
        items = twin.observe(opened(twin))["candidates"][lane][slates[lane]]
        wanted = before[user] * np.float32(ASSUMED.satiation_keep)
        for slot in clicked:
            extra = ASSUMED.satiation_purchase if response.purchased[lane, slot] else 0.0
            wanted[goods.category[items[slot]]] += np.float32(ASSUMED.satiation_click + extra)
        assert state.satiation[user] == pytest.approx(wanted, abs=1e-6)
        assert lanes.focus[lane] == (goods.category[items[clicked[-1]]] if len(clicked) else -1)
        assert lanes.pleasure[lane] == pytest.approx(goods.quality[items[clicked]].sum(), abs=1e-5)
        assert lanes.clicks[lane] == len(clicked)
        kept = items[clicked][-20:]
        assert state.history[user].tolist() == [-1] * (20 - len(kept)) + kept.tolist()


def test_the_end_of_a_visit_moves_loyalty_exactly() -> None:
    world = World(seed=2, page_limit=1, **SMALL)
    visits = opened(world)
    users = visits.lanes.user.copy()
    response = world.respond(visits, first_ten(visits))
    assert (response.terminated ^ response.truncated).all()
    assert len(visits) == 0
    clicks = visits.lanes.clicks
    mean_quality = visits.lanes.pleasure.astype(float) / np.maximum(clicks, 1)
    pleased = mean_quality * (1 - np.exp(-ASSUMED.pleasure_scale * clicks))
    wanted = ASSUMED.start_loyalty + ASSUMED.loyalty_rate * (pleased - ASSUMED.start_loyalty)
    assert world._state.loyalty[users] == pytest.approx(wanted, abs=1e-6)
    assert (world._state.visits[users] == 1).all()
    assert not world._state.open.any()


def test_satiation_fades_between_visits() -> None:
    world = World(seed=3, **SMALL)
    world._state.satiation[:] = 1.0
    world._state.left_day[:] = 10.0
    visits = opened(world, 24 * 13)
    day = visits.lanes.tick[0] / 24.0
    assert world._state.satiation[visits.lanes.user] == pytest.approx(
        np.exp((10.0 - day) / ASSUMED.satiation_days), rel=1e-6
    )


def test_repeats_earn_nothing_and_every_response_is_consistent() -> None:
    world = World(seed=4, reward=Reward(1.0, 2.0, 5.0, 0.5), **SMALL)
    visits = opened(world)
    slates = np.tile([3, 3, 1, 3, 1, 2, 2, 2, 0, 0], (len(visits), 1))
    r = world.respond(visits, slates)
    repeated = [1, 3, 4, 6, 7, 9]
    assert not (r.clicked | r.not_interested)[:, repeated].any()
    assert (r.carted <= r.clicked).all()
    assert (r.purchased <= r.carted).all()
    assert not (r.not_interested & r.clicked).any()
    earned = r.clicked.sum(1) + 2.0 * r.carted.sum(1) + 5.0 * r.purchased.sum(1) - 0.5 * r.not_interested.sum(1)
    assert r.reward.tolist() == earned.tolist()


def test_the_rows_of_items_to_come_tell_nothing() -> None:
    world = World(seed=1, drift=CatalogueChurn(share=0.5), **SMALL)
    launched = world.catalogue.launch <= 200.0
    table, all_of_it = world.items_on(200.0), world.items_on(np.inf)
    assert 0 < launched.sum() < len(launched)
    for name, column in table.items():
        assert np.array_equal(column[launched], all_of_it[name][launched])
        assert len(np.unique(column[~launched])) == 1


def test_loyalty_thins_the_stream_and_never_shifts_it() -> None:
    loyal, fickle = World(seed=5, **SMALL), World(seed=5, **SMALL)
    loyal._state.loyalty[:], fickle._state.loyalty[:] = 1.0, 0.0
    for tick in range(24):
        a, b = loyal.arrivals(tick), fickle.arrivals(tick)
        assert a.potential == b.potential == len(a)
        loyal._state.open[:] = fickle._state.open[:] = False  # send them home unserved
        assert set(b.lanes.visit) <= set(a.lanes.visit)


def test_arrivals_follow_the_declared_rate() -> None:
    world = World(seed=6, n_users=100_000)
    ticks = range(24 * 300, 24 * 321)
    rate = world.arrival_rates(np.array(ticks)).sum()
    found = sum(len(world.potential(tick)[1]) for tick in ticks)
    assert abs(found - rate) < 4 * np.sqrt(rate) + 0.01 * rate  # a user drawn twice in an hour comes once


def test_jumping_meets_the_visits_that_walking_meets() -> None:
    walked, jumped = World(seed=7, **SMALL), World(seed=7, **SMALL)
    for tick in range(48):
        walked.potential(tick)
    for one, two in zip(walked.potential(48), jumped.potential(48), strict=True):
        assert np.array_equal(one, two)


def test_candidates_are_distinct_and_differ_from_page_to_page() -> None:
    world = World(seed=8, **SMALL)
    visits = opened(world)
    first = world.observe(visits)["candidates"]
    assert all(len(set(row)) == 50 for row in first.tolist())
    rows = visits.rows
    world.respond(visits, first_ten(visits))
    again = world.observe(visits)["candidates"]
    assert len(visits)
    assert not any(np.array_equal(first[list(rows).index(r)], again[n]) for n, r in enumerate(visits.rows))


def test_restore_refuses_a_foreign_state_and_changes_nothing() -> None:
    world, other = World(seed=1, **SMALL), World(seed=1, **(SMALL | {"n_users": 200}))
    before = world.save()
    with pytest.raises(ValueError, match="'saved' must hold 'loyalty' as float32 of shape"):
        world.restore(other.save())
    assert all(np.array_equal(before[name], array) for name, array in world.save().items())


@pytest.mark.parametrize("drift", [NoDrift(), Seasonal(), Seasonal(0.5), Seasonal(0.0)])
def test_the_realised_season_is_the_declared_one(drift: Any) -> None:
    world = World(seed=10, drift=drift, **SMALL)
    visits = opened(world, 24 * 300)
    declared = drift.at(visits.lanes.tick[:1] / 24.0, world.setting)
    people = world.visitors
    user = visits.lanes.user
    wanted = declared.need[0, people.segment[user]]
    need = people.taste[user] + people.sensitivity[user, None] * wanted + declared.level
    assert np.array_equal(visits.lanes.need, need.astype(np.float32))


def test_the_twin_does_not_move_and_strength_zero_is_the_twin() -> None:
    setting = World(seed=1, **SMALL).setting
    january, june = (NoDrift().at(np.array([day]), setting) for day in (5.0, 160.0))
    still = Seasonal(0.0).at(np.array([160.0]), setting)
    for one, two, three in zip(*(vars(o).values() for o in (january, june, still)), strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)
    moved = Seasonal().at(np.array([5.0, 160.0]), setting).need
    assert not np.array_equal(moved[0], moved[1])


@pytest.mark.parametrize(
    ("slates", "error", "message"),
    [
        (np.zeros((1, 10)), TypeError, "made of integers"),
        (np.full((1, 10), np.nan), TypeError, "made of integers"),
        (np.zeros((1, 9), int), ValueError, r"must have shape \(\d+, 10\)"),
        (np.full((1, 10), 50), ValueError, r"in \[0, 50\). Got 50 at page 0, slot 0"),
        (np.full((1, 10), -1), ValueError, r"Got -1"),
        (np.zeros((1, 10), bool), TypeError, "made of integers"),
    ],
)
def test_a_refused_slate_changes_nothing(slates: Any, error: type[Exception], message: str) -> None:
    world = World(seed=1, **SMALL)
    visits = opened(world)
    before = {name: array.copy() for name, array in world._state._asdict().items()}
    lanes = {name: array.copy() for name, array in visits.lanes._asdict().items()}
    with pytest.raises(error, match=message):
        world.respond(visits, np.repeat(slates, len(visits), axis=0))
    assert all(np.array_equal(array, getattr(world._state, name)) for name, array in before.items())
    assert all(np.array_equal(array, getattr(visits.lanes, name)) for name, array in lanes.items())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "giftshop"}, ValueError, "'preset' must be one of .*Got 'giftshop'. Did you mean 'gift_shop'"),
        ({"n_users": 0}, ValueError, "'n_users' must be an integer >= 1. Got 0"),
        ({"n_items": 3}, ValueError, "'n_items' must be an integer >= 50"),
        ({"n_users": 2.5}, ValueError, "'n_users' must be an integer"),
        ({"n_candidates": 4}, ValueError, "'n_candidates' must be an integer >= 10"),
        ({"ctr_level": 3.0}, ValueError, "'ctr_level' must be one of"),
        ({"channel": 2.0}, ValueError, r"'channel' must lie in \["),
        ({"drift": "none"}, TypeError, "'drift' must be a Drift"),
        ({"visits_per_day": float("nan")}, ValueError, "'visits_per_day' must be a finite number >= 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        World(**arguments)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "1"])
def test_reward_weights_are_checked(value: Any) -> None:
    with pytest.raises(ValueError, match=r"'reward.cart' must be a finite number >= 0"):
        Reward(cart=value)
