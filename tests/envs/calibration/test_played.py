"""A played month is the world's own month: the log's orders, the clicks and the expected purchases hang together."""

from typing import Any

import numpy as np
import pytest

from perennial.envs import World
from perennial.envs.calibration.played import Clicks, Reference, paid_by_purchases, play
from perennial.envs.calibration.reference import uniform_slates
from perennial.envs.oracle import Oracle
from perennial.envs.rewards import Reward

SMALL: dict[str, Any] = {"n_users": 400, "n_items": 300, "visits_per_day": 150.0}


def test_the_log_holds_every_purchase_and_the_clicks_every_click() -> None:
    """Against the same days served by hand."""
    world = World("gift_shop", seed=2, **SMALL)
    played = play(world, Reference(world), first=330, days=6, warm_up=2)
    world = World("gift_shop", seed=2, **SMALL)
    clicks = bought = first_pages = 0
    orders = set()
    for day in range(328, 336):
        visits = world.arrivals(24 * day, 24 * day + 23)
        while len(visits):
            keys = world.keys(visits)
            answer = world.respond(visits, uniform_slates(world, len(visits)))
            if day >= 330:
                clicks, bought = clicks + int(answer.clicked.sum()), bought + int(answer.purchased.sum())
                first_pages += int((keys["page"] == 0).sum())
                orders |= set(keys["visit"][answer.purchased.any(axis=1)].tolist())
    log = played.log
    assert len(played.clicks.visit) == clicks
    assert len(log.order) == bought > 30
    assert len(log.order_day) == len(orders)
    assert played.clicks.visits == first_pages
    assert set(log.order_day.tolist()) == {visit // 2**20 // 24 for visit in orders}
    assert (np.diff(log.order_day) >= 0).all()
    assert log.baskets.sum() == bought
    np.testing.assert_array_equal(log.category, world.catalogue.category[log.item])


def test_expected_purchases_are_what_is_bought_in_the_mean() -> None:
    world = World("gift_shop", seed=3, n_users=2000, n_items=500, visits_per_day=900.0)
    played = play(world, Reference(world), 100, 20)
    total, bought = played.expected.sum(), len(played.log.order)
    assert bought == pytest.approx(total, abs=4 * np.sqrt(total))
    assert played.expected.shape == (20, 15)
    by_category = np.abs(played.log.baskets.sum(axis=0) - played.expected.sum(axis=0))
    assert (by_category < 4.5 * np.sqrt(played.expected.sum(axis=0)) + 1).all()


def test_the_purchase_side_of_a_world_shares_its_state() -> None:
    world, paid = World("gift_shop", seed=1, **SMALL), World("gift_shop", seed=1, reward=Reward(0.0, 0.0, 1.0), **SMALL)
    visits, same = world.arrivals(24 * 40), paid.arrivals(24 * 40)
    for _ in range(3):
        seen = Oracle(paid_by_purchases(world)).truth(visits)
        np.testing.assert_array_equal(seen.gain, Oracle(paid).truth(same).gain)
        world.respond(visits, uniform_slates(world, len(visits)))
        paid.respond(same, uniform_slates(paid, len(same)))


def test_figures_of_clicks_by_hand() -> None:
    clicks = Clicks(
        visit=np.array([0, 0, 0, 2, 2, 3]),
        page=np.array([0, 0, 1, 0, 1, 1]),
        category=np.array([1, 2, 2, 1, 3, 1]),
        visits=5,
    )
    assert clicks.sizes.tolist() == [3, 2, 1]
    assert clicks.bounce == pytest.approx(0.4)
    assert clicks.depth == 1.0
    assert clicks.same_category == 0.5  # 2 -> 2 and 1 -> 3; clicks of one page have no order
