"""A season that is there shows in purchases held out; one that is not, costs."""

from pathlib import Path

import numpy as np
import pytest

from perennial.envs.calibration import holdout
from perennial.envs.calibration.holdout import Gain, Holdout
from perennial.envs.calibration.logs import PurchaseLog, part
from perennial.envs.calibration.recipes import SHOPS
from perennial.envs.calibration.simulate import Effort


def made_up(swing: float, days: int, seed: int = 0, orders: int = 12_000) -> PurchaseLog:
    """Orders of two products of four categories, the first two of which turn with the year by `swing` logits."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days, orders))
    turn = swing * np.cos(2 * np.pi * day / 365.25)
    share = np.exp(np.stack([turn, -turn, 0 * turn, 0 * turn], axis=1))
    bounds = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    category = (rng.random((orders, 2, 1)) > bounds[:, None, :-1]).sum(axis=2).ravel()
    order = np.repeat(np.arange(orders), 2)
    return PurchaseLog(
        categories=list("abcd"), category=category, item=category, price=np.ones(len(order)), order=order,
        order_day=day, order_hour=np.zeros(orders, np.int64), order_user=rng.integers(0, 400, orders), dropped=0,
    )  # fmt: skip


def gains(found: Holdout) -> dict[str, Gain]:
    return {gain.model: gain for gain in found.gains}


def mean_drift(swing: float) -> float:
    """Mean over the year of KL(day's shares || year's): what knowing the season is worth."""
    turn = swing * np.cos(2 * np.pi * np.arange(365) / 365.25)
    share = np.exp(np.stack([turn, -turn, 0 * turn, 0 * turn], axis=1))
    share /= share.sum(axis=1, keepdims=True)
    return float((share * np.log(share / share.mean(axis=0))).sum(axis=1).mean())


@pytest.mark.parametrize(("days", "names"), [(730, 1), (365, 2)])
def test_the_fitted_season_gains_what_the_season_is_worth(days: int, names: int) -> None:
    found = holdout.holdouts(made_up(0.6, days))
    assert len(found) == names
    for way in found:
        two = gains(way)["2 harmonics"]
        assert two.value == pytest.approx(mean_drift(0.6), abs=4 * two.error)
        assert way.ceiling == pytest.approx(mean_drift(0.6), rel=0.15)
        assert two.value > gains(way)["raw week shares"].value, "raw weeks carry their noise along"
        assert two.value > gains(way)["8 harmonics"].value, "more harmonics than there are do not help"


def test_a_world_fitted_to_the_first_year_sells_the_seconds_season() -> None:
    way = holdout.by_time(made_up(0.6, 730), Effort(users=800, items=1500, days=8, rounds=4))
    world = gains(way)[holdout.A_WORLD]
    assert world.value == pytest.approx(gains(way)["3 harmonics"].value, rel=0.15), "a curve like its own"
    assert world.value == pytest.approx(mean_drift(0.6), abs=4 * world.error)


def test_where_there_is_no_season_nothing_is_gained() -> None:
    way = holdout.by_time(made_up(0.0, 730))
    assert abs(way.ceiling) < 0.002
    assert all(gain.value < 2 * gain.error for gain in way.gains)
    assert gains(way)["raw week shares"].value < -0.005


def test_a_part_of_a_log_keeps_orders_whole() -> None:
    log = made_up(0.3, 365, orders=500)
    chosen = log.order_user % 3 == 0
    kept = part(log, chosen)
    np.testing.assert_array_equal(kept.baskets, log.baskets[chosen])
    np.testing.assert_array_equal(kept.order_user, log.order_user[chosen])
    assert len(kept.price) == 2 * chosen.sum()


def test_the_marketplaces_second_year_knows_the_season_of_the_first(data: Path) -> None:
    found = gains(holdout.by_time(SHOPS["marketplace"].read(data / "amazon_open_ecommerce")))
    assert found["3 harmonics"].value > 4 * found["3 harmonics"].error
    assert found["3 harmonics"].value > found["8 harmonics"].value > 0 > found["raw week shares"].value
