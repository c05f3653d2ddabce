"""Season, volume, activity and taste: known truths are found again, in logs drawn from them."""

import numpy as np
import pytest

from perennial.envs.calibration import seasons, tastes, volumes
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.preset import harmonics

TRUTH = np.array([[1.0, 0.8, 0.0], [0.0, 0.0, -0.6], [-1.0, -0.8, 0.6]])


def drawn_log(
    orders: int = 30_000, size: int = 3, days: int = 365, clumped: bool = False, seed: int = 0
) -> PurchaseLog:
    """Orders of `size` products drawn from TRUTH's shares, all of one category where `clumped`; 400 users."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days, orders))
    share = seasons.shares(TRUTH, day + 0.5)
    draws = 1 if clumped else size
    category = (rng.random((orders, draws, 1)) > share.cumsum(1)[:, None]).sum(2)
    category = np.repeat(category, size // draws, axis=1).ravel()
    return PurchaseLog(
        categories=["a", "b", "c"], category=category, item=category, price=np.full(category.size, 2.0),
        order=np.repeat(np.arange(orders), size), order_day=day, order_hour=np.zeros(orders, np.int64),
        order_user=rng.integers(0, 400, orders), dropped=0,
    )  # fmt: skip


def test_the_season_that_made_a_log_is_found_again() -> None:
    log = drawn_log()
    found = seasons.fit_log_share(seasons.weekly(log), 1, seasons.design_effect(log.baskets))
    np.testing.assert_allclose(found, TRUTH, atol=0.05)
    np.testing.assert_allclose(found.sum(0), 0, atol=1e-9)


def test_newtons_method_ends_where_the_gradient_is_zero() -> None:
    weeks, penalty = seasons.weekly(drawn_log(3000)), 1.0
    found = seasons.fit_log_share(weeks, 2, 1.0, penalty)
    waves = harmonics(weeks.day, 2)
    gradient = (weeks.counts - weeks.counts.sum(1, keepdims=True) * seasons.softmax(waves @ found.T)).T @ waves
    gradient -= penalty * np.array([0, 1, 1, 4, 4]) * found
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_the_design_effect_is_one_for_single_draws_and_the_size_for_clumps() -> None:
    assert seasons.design_effect(drawn_log(days=1).baskets) == pytest.approx(1.0, abs=0.03)
    assert seasons.design_effect(drawn_log(days=1, clumped=True).baskets) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("clumped", [False, True])
def test_the_drift_size_is_free_of_the_noise_of_baskets(clumped: bool) -> None:
    raw, noise = seasons.drift_size(drawn_log(clumped=clumped))
    curve = seasons.shares(TRUTH, np.arange(365) + 0.5)
    true = seasons.divergence(curve, curve.mean(0)).mean()
    assert raw - noise == pytest.approx(true, rel=0.1)


def test_a_log_without_a_season_has_no_drift() -> None:
    log = drawn_log()
    still = PurchaseLog(**{**vars(log), "category": np.random.default_rng(1).permutation(log.category)})
    raw, noise = seasons.drift_size(still)
    assert abs(raw - noise) < 3 * noise / np.sqrt(52)  # a week's KL is chi-square with 2 degrees of freedom


@pytest.mark.parametrize("days", [730, 365])
def test_what_is_held_out_chooses_the_true_number_of_harmonics(days: int) -> None:
    scores = seasons.cross_validate(drawn_log(days=days))
    assert max(scores, key=lambda h: scores[h]) == 1


def test_year_share_is_the_mean_of_the_curve() -> None:
    curve = seasons.shares(TRUTH, np.linspace(0, 365.25, 5000, endpoint=False))
    np.testing.assert_allclose(seasons.year_share(TRUTH), curve.mean(0), atol=1e-4)


def test_volume_weekday_and_hour_are_found_again() -> None:
    rng = np.random.default_rng(0)
    day = np.arange(730)
    truth = np.array([0.0, 0.5, -0.2])
    rate = 60 * np.exp(harmonics(day + 0.5, 1) @ truth) * np.array([1, 1, 1, 1, 2, 0, 1])[(day + volumes.MONDAY) % 7]
    days = np.repeat(day, rng.poisson(rate))
    log = drawn_log(len(days), size=1)
    log = PurchaseLog(**{**vars(log), "order_day": days, "order_hour": np.full(len(days), 13)})
    np.testing.assert_allclose(volumes.fit_volume(log, 1), truth, atol=0.03)
    np.testing.assert_allclose(volumes.fit_weekday(log), np.array([1, 1, 1, 1, 2, 0, 1]) / 7, atol=0.01)
    assert volumes.fit_hour(log)[13] == 1.0
    assert volumes.fit_hour(drawn_log(10))[0] == pytest.approx(1 / 24)


@pytest.mark.parametrize("shape", [0.5, 2.0])
def test_the_gamma_shape_of_activity_is_found_again(shape: float) -> None:
    rng = np.random.default_rng(0)
    orders = rng.poisson(rng.gamma(shape, 20 / shape, 20_000))
    assert volumes.fit_activity(orders) == pytest.approx(shape, rel=0.05)


def test_prices_are_means_over_products_of_log_price() -> None:
    log = drawn_log(2, size=2)
    log = PurchaseLog(
        **{**vars(log), "category": np.array([0, 0, 0, 1]), "item": np.array([0, 0, 1, 2]),
           "price": np.exp([1.0, 3.0, 4.0, 5.0])}
    )  # fmt: skip
    mean, std = volumes.fit_prices(log)
    every = np.array([2.0, 4.0, 5.0])
    np.testing.assert_allclose(mean, [3.0, 5.0, every.mean()])
    np.testing.assert_allclose(std[0] ** 2, (1.0 + 1.0 + every.var()) / 3)


@pytest.mark.parametrize("clumped", [False, True])
@pytest.mark.parametrize("concentration", [5.0, 20.0])
def test_the_concentration_of_tastes_is_found_whatever_the_baskets(concentration: float, clumped: bool) -> None:
    rng = np.random.default_rng(0)
    base = np.array([0.5, 0.3, 0.2])
    taste = rng.dirichlet(concentration * base, 6000)
    user = np.repeat(np.arange(6000), rng.integers(1, 9, 6000))
    draws = rng.multinomial(1 if clumped else 4, taste[user]) * (4 if clumped else 1)
    found = tastes.fit_concentration(draws.astype(float), np.tile(base, (len(user), 1)), user)
    assert found == pytest.approx(concentration, rel=0.15)
