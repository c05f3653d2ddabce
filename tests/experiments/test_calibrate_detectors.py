"""Calibration of detectors: knobs meet their budget on fresh streams, and what is written is what was found."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from perennial.agents.lifecycle.detectors import AlwaysDetector, Cusum
from perennial.agents.lifecycle.triggers import Drift, Performance
from perennial.envs.drift import Seasonal
from perennial.experiments import calibrate_detectors as calibrate
from perennial.experiments import configuration
from perennial.experiments.calibrate_detectors import (
    Setting,
    calibrated,
    delays,
    false_alarms,
    judge,
    rates,
    settings,
    write,
)
from perennial.experiments.false_alarms import first_pages, retrains, season_row, trigger_rows
from perennial.experiments.recordings import Recording, record, recorded
from perennial.experiments.statistics import t_interval

SMALL = {"n_users": 200, "n_items": 120, "visits_per_day": 40.0}


def stationary(seed: int, days: int = 900, per_day: int = 40, rate: float = 0.18) -> Recording:
    """A shop of independent visitors."""
    rng = np.random.default_rng(seed)
    clicks = rng.binomial(10, rate, days * per_day).astype(np.int8)
    return Recording(np.repeat(np.arange(days), per_day), clicks, days, 10, 0)


def chart() -> Setting:
    return next(each for each in settings() if each.name == "cusum")


def test_every_detector_with_a_knob_is_found_and_builds() -> None:
    found = {each.name: each for each in settings()}
    assert len(found) >= 10
    assert not {"always", "never"} & set(found)
    assert found["kswin"].knob == ("detector", "alpha")
    assert found["deseasonalised"].at(7.5).build().threshold == 7.5
    assert {found[name].metric for name in ("ddm", "fhddm", "glr_bernoulli")} == {"no_click"}
    assert {found[name].metric for name in ("adwin", "cusum", "kswin", "psi")} == {"first_page_ctr"}


@pytest.mark.parametrize("name", ["cusum", "psi"])
def test_a_knob_set_on_some_streams_keeps_its_budget_on_others(name: str) -> None:
    setting = next(each for each in settings() if each.name == name)
    tuned, judged = [stationary(seed) for seed in range(10)], [stationary(seed) for seed in range(50, 65)]
    chosen = calibrated(setting.at({"cusum": 30.0, "psi": 0.6}[name]), lambda s: float(np.mean(rates(s, tuned))))
    found = t_interval(rates(chosen, judged))
    assert found.low <= 1.2
    assert found.high >= 0.8


def test_a_knob_without_reach_ends_below_the_budget() -> None:
    setting = Setting("made", {"_target_": "Made", "threshold": 3.0}, ("threshold",))
    coarse = calibrated(setting, lambda s: 1.6 if s.value < 2.0 else 0.3)
    assert coarse.value >= 2.0
    smooth = calibrated(setting, lambda s: math.exp(5.0 - s.value))
    assert smooth.value == pytest.approx(5.0, abs=0.05)


def test_false_alarms_are_counted_with_a_fresh_start_after_each() -> None:
    recording = stationary(1, days=30, per_day=4)
    assert false_alarms(AlwaysDetector(), recording, "first_page_ctr") == 120
    assert false_alarms(AlwaysDetector(), recording, "first_page_ctr", from_day=20) == 40
    assert rates(
        Setting("never", {"_target_": "perennial.agents.lifecycle.detectors.NoDetector"}, ()), [recording]
    ) == [0.0]
    chart = Cusum(drift=0.0, threshold=1.0, mean=1.0, sd=0.5)  # every visit lies 1.6 below
    assert false_alarms(chart, Recording(np.arange(9), np.full(9, 2, np.int8), 9, 10, 0), "first_page_ctr") == 9


def test_delays_are_visits_from_the_declared_loss_to_the_alarm() -> None:
    recordings = [stationary(seed, days=1400) for seed in range(10)]
    sd = math.sqrt(0.018 * 0.82)
    found = delays(Setting("cusum", {**chart().node, "mean": 0.18, "sd": sd}, ("threshold",)).at(30.0), recordings)
    assert 70 <= len(found) <= 100  # ten spans each, but for those with a false alarm before
    # the same chart written out for 2,000 such streams at once, 2,000 visits before the loss of a tenth
    rng, sums, delay = np.random.default_rng(1), np.zeros(2000), np.full(2000, math.inf)
    alive = np.ones(2000, np.bool_)
    for visit in range(-2000, 2000):
        clicks = rng.binomial(10, 0.18 if visit < 0 else 0.162, 2000) / 10
        sums = np.maximum(0.0, sums - (clicks - 0.18) / sd - 0.067)
        alive &= (sums <= 30.0) | (visit >= 0)
        delay = np.where((sums > 30.0) & np.isinf(delay) & (visit >= 0), visit + 1, delay)
    error = 1.25 * np.std(found) / math.sqrt(len(found))
    assert abs(np.median(found) - np.median(delay[alive])) < 3 * error


def test_a_judged_detector_says_all(capsys: pytest.CaptureFixture[str]) -> None:
    judged = judge(chart(), [stationary(1), stationary(2)], [stationary(3), stationary(4), stationary(5)])
    (row,) = calibrate.table([judged], 40.0).rows
    assert row["detector"] == "cusum"
    assert str(row["knob"]).startswith("threshold = ")
    assert "days" in str(row["delay"])
    assert judged.alarms == pytest.approx(judged.rate.mean * 30)


def test_a_value_is_written_beside_its_comment_and_nothing_else_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(calibrate.CONF / "detector", tmp_path / "detector")
    before = {path.stem: path.read_text() for path in (tmp_path / "detector").glob("*.yaml")}
    monkeypatch.setattr(calibrate, "CONF", tmp_path)
    for setting in settings():
        path = write(setting.at(0.012345 if setting.knob[-1] != "threshold" else 7.125))
        old, new = before[setting.name].splitlines(), path.read_text().splitlines()
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(changed) == 1
        assert changed[0][0].split("#")[1] == changed[0][1].split("#")[1]
        written = next(each for each in settings() if each.name == setting.name)
        assert written.value == (0.012345 if setting.knob[-1] != "threshold" else 7.125)


def test_a_recording_repeats_bit_for_bit_and_is_kept(tmp_path: Path) -> None:
    first, again = record(5, 12, shop=SMALL), recorded([5], 12, folder=tmp_path, shop=SMALL)[0]
    kept = recorded([5], 12, folder=tmp_path, shop=SMALL)[0]
    for other in (again, kept):
        assert np.array_equal(first.day, other.day)
        assert np.array_equal(first.clicks, other.clicks)
        assert (first.days, first.slots, first.first_tick) == (other.days, other.slots, other.first_tick)
    assert len(list(tmp_path.iterdir())) == 1
    assert first.bounds()[-1] == len(first.clicks) > 100
    assert 0 < first.stream("no_click").mean() < 1
    assert first.stream("first_page_ctr").max() <= 1
    fewer = first.with_fewer_clicks(0.5, np.random.default_rng(0))
    assert (fewer.clicks <= first.clicks).all()
    season = recorded([5], 12, Seasonal(), folder=tmp_path, shop=SMALL)[0]
    assert not np.array_equal(season.clicks, first.clicks)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_trigger_hears_of_a_recording_what_a_monitor_tells_it() -> None:
    recording = stationary(1, days=30, per_day=4)
    eager, lazy = (Drift(AlwaysDetector(), cooldown_days=days) for days in (0, 2.5))
    assert retrains([eager, lazy], recording) == [30, 10]
    _, pages = next(first_pages(recording))
    assert pages.clicked.sum(axis=1).tolist() == recording.clicks[:4].tolist()
    (row,) = trigger_rows(lambda: {"performance": Performance()}, [stationary(1, 300), stationary(2, 300)])
    assert (row["strategy"], row["verdict"]) == ("performance", "yes")


def test_an_unknown_detector_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(["cusumm"]) == 2
    assert "unknown ['cusumm']. Allowed: adwin, cusum" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_the_shop_triggers_keep_their_budget_and_a_pure_season_does_not_alarm_the_deseasonalised() -> None:
    """The claims of the two tables, on fewer worlds; the commands print them in full."""
    seeds, days = range(4000, 4006), 3 * 365
    twin, season = recorded(seeds, days), recorded(seeds, days, Seasonal())
    nodes = {name: configuration.load(calibrate.CONF / "detector" / f"{name}.yaml") for name in ("cusum", "psi", "ks")}
    rows = trigger_rows(
        lambda: {name: Drift(configuration.build(node, name), cooldown_days=3) for name, node in nodes.items()}, twin
    )
    assert [row["verdict"] for row in rows] == ["yes"] * 3
    row = season_row(chart(), twin, season)
    assert row["verdict"] == "yes"
