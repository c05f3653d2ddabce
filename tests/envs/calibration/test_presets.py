"""The committed presets are what the committed code fits to the real logs, parameter by parameter."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from perennial.envs.calibration.fit import Grid, fit_log, fit_main
from perennial.envs.calibration.recipes import CLOTHING_VISITS, SHOPS
from perennial.envs.calibration.seasons import drift_size, shares, weekly
from perennial.envs.calibration.sessions import session_facts
from perennial.envs.calibration.simulate import Effort, fit_season, order_rate, simulate, taste_of
from perennial.envs.calibration.visits import fit_visits
from perennial.envs.preset import Preset, load_preset, load_visit_model

FOLDERS = {"gift_shop": "online_retail_ii", "marketplace": "amazon_open_ecommerce"}
SIMULATED = {"season", "visits_per_day", "world_taste_concentration", "goodness_of_fit"}
SIMULATION_TOLERANCE = 1e-6
"""Of a refit by simulation on the processor that made the presets; another may turn single draws."""


def refit(name: str, data: Path) -> Preset:
    recipe = SHOPS[name]
    return fit_log(recipe.read(data / FOLDERS[name]), recipe.name, recipe.title, recipe.source)


@pytest.mark.parametrize("name", SHOPS)
def test_the_log_part_is_refitted_parameter_by_parameter(name: str, data: Path) -> None:
    again, committed = asdict(refit(name, data)), asdict(load_preset(name))
    for parameter in set(committed) - SIMULATED:
        if parameter in {"name", "title", "source", "categories"}:
            assert again[parameter] == committed[parameter], parameter
        else:
            np.testing.assert_allclose(
                again[parameter], committed[parameter], rtol=1e-6, atol=1e-9, err_msg=f"{name}.{parameter}"
            )


@pytest.mark.parametrize("name", SHOPS)
def test_visits_a_day_are_refitted_from_the_committed_season(name: str, data: Path) -> None:
    committed = load_preset(name)
    orders = simulate(committed, committed.season_fit(1.0, 1.0), load_visit_model(), Effort())
    again = refit(name, data).visits_per_day / order_rate(orders)
    assert again == pytest.approx(committed.visits_per_day, rel=1e-4)


@pytest.mark.parametrize("name", SHOPS)
def test_the_committed_season_is_a_fixed_point(name: str) -> None:
    committed = load_preset(name)
    kept = committed.season_fit(1.0, 1.0)
    fit = fit_season(committed, load_visit_model(), 1.0, 1.0, Effort(rounds=1), kept)
    assert np.abs(np.subtract(fit.category, kept.category)).max() < 0.1
    assert np.abs(np.subtract(fit.category, kept.category)).mean() < 0.01
    np.testing.assert_allclose(fit.level, kept.level, atol=0.01)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHOPS)
def test_the_simulated_part_is_refitted_from_the_log(name: str, data: Path) -> None:
    committed = load_preset(name)
    again, fit = fit_main(refit(name, data), load_visit_model(), Effort())
    assert again.world_taste_concentration == pytest.approx(committed.world_taste_concentration, SIMULATION_TOLERANCE)
    assert again.visits_per_day == pytest.approx(committed.visits_per_day, SIMULATION_TOLERANCE)
    kept = committed.season_fit(1.0, 1.0)
    np.testing.assert_allclose(fit.category, kept.category, atol=SIMULATION_TOLERANCE)
    np.testing.assert_allclose(fit.level, kept.level, atol=SIMULATION_TOLERANCE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHOPS)
@pytest.mark.parametrize(("ctr_level", "channel"), [s for s in Grid().settings() if s != (1.0, 1.0)])
def test_every_other_season_is_refitted(name: str, ctr_level: float, channel: float) -> None:
    committed = load_preset(name)
    fit = fit_season(committed, load_visit_model(), ctr_level, channel, Effort())
    kept = committed.season_fit(ctr_level, channel)
    np.testing.assert_allclose(fit.category, kept.category, atol=SIMULATION_TOLERANCE)
    np.testing.assert_allclose(fit.level, kept.level, atol=SIMULATION_TOLERANCE)


@pytest.mark.timeout(300)
def test_the_visit_model_is_refitted(data: Path) -> None:
    again, _ = fit_visits(session_facts(CLOTHING_VISITS.read(data / "eshop_clothing_2008")), CLOTHING_VISITS.source)
    committed = asdict(load_visit_model())
    assert committed.pop("source") == asdict(CLOTHING_VISITS.source)
    for parameter, value in committed.items():
        assert getattr(again, parameter) == pytest.approx(value, rel=SIMULATION_TOLERANCE), parameter


@pytest.mark.parametrize(("name", "expected"), [("gift_shop", 0.052), ("marketplace", 0.0135)])
def test_the_drift_in_the_log_is_as_published_and_the_fit_holds_it(name: str, expected: float, data: Path) -> None:
    log = SHOPS[name].read(data / FOLDERS[name])
    raw, noise = drift_size(log)
    assert raw - noise == pytest.approx(expected, rel=0.15)
    assert load_preset(name).goodness_of_fit["drift_log"] == pytest.approx(raw - noise)
    assert load_preset(name).goodness_of_fit["drift_fit"] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("category", "swing"), [("christmas", 44), ("winter_warmth", 8.5), ("kitchen_food", 1.3)])
def test_the_gift_shops_seasons_swing_as_its_months_do(category: str, swing: float) -> None:
    preset = load_preset("gift_shop")
    days = np.arange(365) + 0.5
    month = np.repeat(np.arange(12), 31)[:365]
    curve = shares(np.asarray(preset.log_share), days)[:, preset.categories.index(category)]
    monthly = np.bincount(month, curve) / np.bincount(month)
    assert abs(np.log(monthly.max() / monthly.min() / swing)) < 0.35


def test_weekly_counts_hold_every_purchase(data: Path) -> None:
    log = SHOPS["gift_shop"].read(data / "online_retail_ii")
    weeks = weekly(log)
    assert weeks.counts.sum() == len(log.order)
    assert np.ptp(weeks.day) < 366


@pytest.mark.parametrize("name", SHOPS)
def test_presets_name_source_licence_citation_and_a_command_without_local_paths(name: str) -> None:
    source = load_preset(name).source
    assert source.command == SHOPS[name].source.command
    assert source.command.startswith(f"perennial-calibrate {name} --data ")
    assert "/" not in source.command
    assert "doi:" in source.citation
    assert source.licence.startswith("C")


def test_the_simulated_orders_show_the_logs_taste_in_another_shop() -> None:
    preset = load_preset("gift_shop")
    found = taste_of(preset, preset.season_fit(1.0, 1.0), load_visit_model(), Effort(users=3000, days=2, seed=3))
    assert found == pytest.approx(preset.taste_concentration, rel=0.2)
