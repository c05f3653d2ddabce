"""Figures of a log's year, on logs made so that the right answer is known."""

import numpy as np
import pytest

from perennial.envs.calibration import realism
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.preset import EPOCH

YEAR_2010 = np.datetime64(EPOCH, "D")


def log_of(day: np.ndarray, user: np.ndarray, category: np.ndarray, size: int, categories: int) -> PurchaseLog:
    """Orders of `size` products each; `category` (orders * size,)."""
    order = np.repeat(np.arange(len(day)), size)
    return PurchaseLog(
        categories=[str(c) for c in range(categories)], category=category, item=category, price=np.ones(len(order)),
        order=order, order_day=day, order_hour=np.zeros(len(day), np.int64), order_user=user, dropped=0,
    )  # fmt: skip


def drawn(share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 (R,): a category from each row of `share` (R, C)."""
    return np.asarray((rng.random((len(share), 1)) > np.cumsum(share, axis=1)[:, :-1]).sum(axis=1))


def test_months_are_those_of_the_calendar() -> None:
    days = (np.array(["2009-12-31", "2010-01-01", "2012-02-29", "2019-12-01"], "datetime64[D]") - YEAR_2010).astype(int)
    assert realism.month_of(days).tolist() == [11, 0, 1, 11]


def test_month_indices_by_hand() -> None:
    counts = np.ones((12, 2))
    counts[11] = [3.0, 1.0]  # share .75 against .5 in the other eleven
    index = realism.month_index(counts)
    mean = (11 * 0.5 + 0.75) / 12
    np.testing.assert_allclose(index[:, 0], [0.5 / mean] * 11 + [0.75 / mean])
    np.testing.assert_allclose(realism.month_index(np.zeros((12, 2))), 1.0)


def test_the_bootstrap_holds_the_truth_as_often_as_it_says() -> None:
    """Twelve logs without a season: of their 12 x 4 cells, all 1 in truth, 95 % lie inside, whoever is drawn."""
    truth, inside = np.ones((12, 4)), []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        day, user = np.sort(rng.integers(0, 365, 3000)), rng.integers(-1, 300, 3000)
        log = log_of(day, user, rng.integers(0, 4, 6000), 2, 4)
        inside.append(realism.month_facts(log, "customer", seed).inside(truth).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_intervals_are_wider_where_customers_differ() -> None:
    """Each customer buys all its forty products in one month and one category: orders look independent and are not."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 20)
    month, taste = rng.integers(0, 12, 200)[user], rng.integers(0, 4, 200)[user]
    log = log_of(30 * month, user, np.repeat(taste, 2), 2, 4)
    by = {unit: realism.month_facts(log, unit) for unit in ("customer", "order")}
    assert (by["customer"].high - by["customer"].low).mean() > 2 * (by["order"].high - by["order"].low).mean()


def test_an_unknown_customer_is_one_of_its_own() -> None:
    log = log_of(np.arange(4), np.array([-1, 0, -1, 0]), np.zeros(4, np.int64), 1, 1)
    who = realism.customers(log)
    assert who[1] == who[3]
    assert len(set(who.tolist())) == 3


def test_the_lag_curve_follows_a_season_and_is_flat_at_zero_without_one() -> None:
    rng, day = np.random.default_rng(3), np.sort(np.random.default_rng(4).integers(0, 730, 30_000))
    user = rng.integers(0, 500, len(day))
    turn = np.cos(2 * np.pi * day / 365)
    share = np.exp(np.stack([0.5 * turn, -0.5 * turn, 0 * turn], axis=1))
    share /= share.sum(axis=1, keepdims=True)
    curve = realism.lag_curve(log_of(day, user, drawn(np.repeat(share, 2, axis=0), rng), 2, 3), 10)
    assert curve[26] > 0.02
    assert abs(curve[52]) < 0.05 * curve[26]
    assert abs(curve[1]) < 0.05 * curve[26]
    still = realism.lag_curve(log_of(day, user, rng.integers(0, 3, 2 * len(day)), 2, 3), 10)
    assert np.abs(still[1:90]).max() < 0.002


def test_two_weeks_apart_by_hand() -> None:
    """One week of one category and one of another: the divergence is log 2, less what dealing the orders anew gives."""
    day = np.array([0] * 50 + [7] * 50)
    log = log_of(day, np.zeros(100, np.int64), np.repeat([0, 1], 50), 1, 2)
    assert realism.lag_curve(log, 50)[1] == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.parametrize(("kept", "wanted"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_the_correlation_of_tastes_is_found_through_the_noise(kept: float, wanted: float) -> None:
    """Persons like one of four categories more; each half-year a share `1 - kept` of them likes another one."""
    rng, persons, orders = np.random.default_rng(5), 1500, 12
    first = rng.integers(0, 4, persons)
    second = np.where(rng.random(persons) < kept, first, rng.integers(0, 4, persons))
    likes = np.concatenate([np.repeat(first, orders), np.repeat(second, orders)])
    share = np.where(np.arange(4) == likes[:, None], 0.55, 0.15)
    user = np.tile(np.repeat(np.arange(persons), orders), 2)
    day = np.repeat([10, 200], persons * orders)
    log = log_of(day, user, drawn(share, rng), 1, 4)
    found = realism.taste_correlation(log, np.zeros((4, 1)))
    assert found.value == pytest.approx(wanted, abs=3 * found.error)
    assert found.error < 0.06


def test_without_a_second_half_year_there_is_no_correlation() -> None:
    log = log_of(np.arange(20), np.zeros(20, np.int64), np.zeros(20, np.int64), 1, 2)
    assert np.isnan(realism.taste_correlation(log, np.zeros((2, 1))).value)


def test_orders_and_products_of_a_user_and_year() -> None:
    day, user = np.array([0, 5, 364, 365, 400, 400]), np.array([0, 0, 0, 0, 2, -1])
    log = log_of(day, user, np.zeros(12, np.int64), 2, 1)
    assert sorted(realism.per_user_year(log)) == [1, 1, 3]
    assert sorted(realism.per_user_year(log, products=True)) == [2, 2, 6]
    assert realism.spread(np.arange(11.0)) == {"p10": 1.0, "median": 5.0, "p90": 9.0, "mean": 5.0}


def test_the_hazard_by_hand() -> None:
    """Of a thousand visits 200 end with one click, 400 with two; the rest go on to twenty-one."""
    sizes = np.repeat([1, 2, 21], [200, 400, 400])
    found = realism.click_figures(sizes)
    assert found["single_click_share"] == pytest.approx(0.2)
    assert [found[f"go_on_{k}"] for k in (1, 2, 5, 10, 20)] == pytest.approx([0.8, 0.5, 1.0, 1.0, 1.0])
    assert found["least_rise"] == pytest.approx(-0.3)
    assert "go_on_20" not in realism.click_figures(sizes[:650]), "fifty visits are too few to tell"
