"""Fits by simulation: in another shop than that of the fit, the reference policy sells what the log says."""

from dataclasses import replace

import numpy as np
import pytest

from perennial.envs.calibration.reference import open_visits, run_reference, uniform_slates
from perennial.envs.calibration.seasons import divergence, shares
from perennial.envs.calibration.simulate import Effort, build, fit_season, mean_attraction, order_rate, simulate
from perennial.envs.preset import load_preset, load_visit_model

OTHER = Effort(users=1500, items=3000, days=9, seed=7)


@pytest.mark.parametrize("name", ["gift_shop", "marketplace"])
@pytest.mark.parametrize(("ctr_level", "channel"), [(1.0, 1.0), (0.5, 0.0), (2.0, 0.75)])
def test_reference_shares_are_the_logs_at_every_level_and_channel(name: str, ctr_level: float, channel: float) -> None:
    preset, model = load_preset(name), load_visit_model()
    runs = simulate(preset, preset.season_fit(ctr_level, channel), model, OTHER)
    wanted = shares(np.asarray(preset.log_share), OTHER.moments())
    sold = np.stack([r.purchases.sum(0) for r in runs])
    share = sold / sold.sum(1, keepdims=True)
    assert divergence(wanted.mean(0), share.mean(0)) < 0.01  # which visitors and items were drawn
    swing = share * wanted.mean(0) / share.mean(0)
    season = divergence(wanted, wanted.mean(0)).mean()
    assert divergence(wanted, swing / swing.sum(1, keepdims=True)).mean() < 0.05 * season
    np.testing.assert_allclose(mean_attraction(runs), preset.ctr * ctr_level, rtol=0.06)
    conversion = sold.sum(1) / np.array([r.clicks.sum() for r in runs])
    paid = preset.cart_given_click * preset.purchase_given_cart
    np.testing.assert_allclose(conversion, paid, rtol=0.1 if channel == 0.75 else 0.06)  # 0.75 lies between two fits


def test_visits_a_day_give_the_logs_orders() -> None:
    preset = load_preset("gift_shop")
    runs = simulate(preset, preset.season_fit(1.0, 1.0), load_visit_model(), OTHER)
    assert order_rate(runs) * preset.visits_per_day == pytest.approx(54.1, rel=0.08)


def test_expected_purchases_are_the_mean_of_sampled_ones() -> None:
    preset, model = load_preset("gift_shop"), load_visit_model()
    world = build(preset, preset.season_fit(1.0, 1.0), model, Effort(users=10_000, items=2000))
    expected = run_reference(world, 100.0)
    visits, bought, clicked = open_visits(world, 100.0), 0, 0
    while len(visits):
        response = world.respond(visits, uniform_slates(world, len(visits)))
        bought += int(response.purchased.sum())
        clicked += int(response.clicked.sum())
    assert abs(bought - expected.purchases.sum()) < 3.5 * np.sqrt(bought)
    assert abs(clicked - expected.clicks.sum()) < 3.5 * np.sqrt(clicked)


def test_a_fit_is_the_same_twice() -> None:
    preset, model, little = load_preset("gift_shop"), load_visit_model(), Effort(200, 500, 9, 2)
    assert fit_season(preset, model, 1.0, 0.5, little) == fit_season(preset, model, 1.0, 0.5, little)


def test_the_fixed_point_comes_closer_round_by_round() -> None:
    preset, model = load_preset("gift_shop"), load_visit_model()
    little = Effort(600, 2000, 9, 1)
    wanted = shares(np.asarray(preset.log_share), little.moments())
    fit, misses = None, []
    for _ in range(4):
        fit = fit_season(preset, model, 1.0, 1.0, replace(little, rounds=1), fit)
        sold = np.stack([r.purchases.sum(0) for r in simulate(preset, fit, model, little)])
        misses.append(divergence(wanted, sold / sold.sum(1, keepdims=True)).mean())
    assert misses[3] < misses[2] < misses[1] < misses[0]
    assert misses[3] < 0.2 * misses[0]
