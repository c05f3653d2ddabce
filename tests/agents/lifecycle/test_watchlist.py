import copy
import json

import numpy as np
import pytest

from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.watchlist import Watchlist
from tests.agents.lifecycle.hand import SPACES, wave

ITEMS = {
    "category": (np.arange(SPACES.n_items) % SPACES.n_categories).astype(np.int32),
    "price": np.linspace(1, 30, SPACES.n_items, dtype=np.float32),
    "features": np.zeros((SPACES.n_items, 2), np.float32),
}


def declared(pages):
    """Version 1 takes 1.7 ms a page, each later one 0.3 ms more; what served before it, nobody knows."""
    return np.where(pages.version > 0, 1.4 + 0.3 * pages.version, np.nan)


def living(watchlist, days, change_from=10_000, seed=0, chance=0.3, lower=0.3, version=lambda day: 1, foretold=True):
    """(day, alert) of all alerts; two steps a day, sixty visits each, clicked with `chance`, from a day on `lower`."""
    monitor, found = Monitor(watchlist=watchlist), []
    rng = np.random.default_rng(seed)
    for tick in range(11, 24 * days, 12):
        level = chance if tick // 24 < change_from else lower
        clicked = rng.random((60, SPACES.slate_size)) < level
        reward = clicked.sum(axis=1).astype(np.float32)
        visits = list(range(60 * tick, 60 * tick + 60))
        served = np.full(60, version(tick // 24), np.int32)
        pages = wave(tick, visits, clicked=clicked, reward=reward, seed=seed, version=served)
        if foretold:
            pages.extras["predicted_clicks"] = np.full(clicked.shape, chance)
        monitor.update(pages, tick)
        found += [(tick // 24, alert) for alert in monitor.alerts]
    return found, monitor


def test_a_fall_of_clicks_raises_alerts_with_what_they_rest_on():
    found, monitor = living(Watchlist(ITEMS, SPACES, declared), 56, change_from=42, lower=0.2)
    raised = {alert.metric for _, alert in found}
    assert {"ctr", "first_page_ctr", "bounce_rate", "reward", "calibration", "first_page_clicks"} <= raised
    assert not raised & {"latency_ms", "hour", "shown_category", "coverage"}
    day, ctr = next((day, alert) for day, alert in found if alert.metric == "ctr")
    assert day == 48  # the first week that is all after the change
    assert (ctr.reference_values, ctr.current_values) == (28 * 240, 7 * 240)
    assert ctr.reference == pytest.approx(0.3, abs=0.02)
    assert ctr.current == pytest.approx(0.2, abs=0.03)
    assert ctr.p_value < ctr.alpha == pytest.approx(0.05 / len(monitor.watchlist.watches))
    assert 0 < ctr.smallest < ctr.reference - ctr.current
    figures = monitor.figures()
    assert figures["latency_ms"] == pytest.approx(1.7)
    assert {"coverage", "concentration", "expected_calibration_error", "psi/clicked_category", "ks/user_0"} <= set(
        figures
    )


def test_without_a_change_alerts_are_as_rare_as_budgeted():
    weeks, raised = 0, 0
    for seed in range(3):
        found, _ = living(Watchlist(ITEMS, SPACES, budget=0.05), 105, seed=seed)
        weeks += (105 - 35) // 7 + 1
        raised += len({day for day, _ in found})
    assert raised <= 5  # 33 weeks at 5 %: more than 5 with chance 1 %


def test_a_rise_of_clicks_is_no_reason_to_panic():
    found, _ = living(Watchlist(ITEMS, SPACES), 56, change_from=42, lower=0.5)
    assert not {alert.metric for _, alert in found} & {"ctr", "first_page_ctr", "bounce_rate", "reward"}


@pytest.mark.parametrize(("change", "alerts"), [(42, [48]), (45, [55]), (10_000, [])])
def test_a_slower_version_shows(change, alerts):
    """Declared costs have no noise: where the spans part at the change, there is no scatter to test by."""
    found, monitor = living(Watchlist(ITEMS, SPACES, declared), 63, version=lambda day: 1 + (day >= change))
    slower = [(day, alert) for day, alert in found if alert.metric == "latency_ms"]
    assert [day for day, _ in slower][:1] == alerts
    for _, alert in slower:
        assert alert.reference < alert.current <= 2.0 + 1e-9
    assert monitor.figures()["latency_ms"] == pytest.approx(2.0 if change < 63 else 1.7)


def test_a_quicker_version_and_one_that_nobody_knows_raise_no_alert():
    for version in (lambda day: 2 - (day >= 42), lambda day: int(day >= 42)):
        found, _ = living(Watchlist(ITEMS, SPACES, declared), 63, version=version)
        assert "latency_ms" not in {alert.metric for _, alert in found}


def test_the_days_record_names_what_nothing_is_known_of(tmp_path):
    for foretold, latency, unwatched in (
        (True, declared, []),
        (False, declared, ["calibration"]),
        (False, lambda pages: np.full(len(pages), np.nan), ["latency_ms", "calibration"]),
    ):
        _, monitor = living(Watchlist(ITEMS, SPACES, latency), 6, foretold=foretold)
        assert monitor.unwatched == unwatched
    audit = Audit(tmp_path / "decisions.jsonl")
    audit.end_day(5, 143, monitor.figures(), 1, unwatched=monitor.unwatched)
    assert json.loads(audit.path.read_text())["unwatched"] == ["latency_ms", "calibration"]


def test_alerts_enter_the_audit_trail(tmp_path):
    found, _ = living(Watchlist(ITEMS, SPACES), 49, change_from=42, lower=0.2)
    audit = Audit(tmp_path / "decisions.jsonl")
    audit.write(found[0][1], version=2)
    audit.end_day(48, 48 * 24 + 23, {}, version=2)
    line = json.loads(audit.path.read_text().splitlines()[0])
    assert line["decision"] == "alert"
    assert line["model_version"] == 2
    assert {"metric", "test", "reference_values", "current_values", "smallest", "p_value", "alpha"} <= set(line)


def test_where_items_come_and_go_the_table_is_that_of_the_day():
    asked = []

    def table(tick):
        asked.append(tick)
        return ITEMS

    living(Watchlist(table, SPACES), 3)
    assert asked == [11, 35, 59]


def test_a_watchlist_taken_up_in_mid_life_goes_on_alike():
    """As a checkpoint does it: the functions that count are built again, what was counted is kept."""
    _, monitor = living(Watchlist(ITEMS, SPACES, declared), 40)
    again, raised = copy.deepcopy(monitor), []
    for one in (monitor, again):
        rng = np.random.default_rng(1)
        for tick in range(24 * 40 + 11, 24 * 56, 12):
            clicked = rng.random((60, SPACES.slate_size)) < 0.2
            one.update(wave(tick, list(range(60 * tick, 60 * tick + 60)), clicked=clicked, seed=3), tick)
            raised += one.alerts
    assert again.watchlist is not monitor.watchlist
    assert raised[: len(raised) // 2] == raised[len(raised) // 2 :]
    assert again.figures() == pytest.approx(monitor.figures(), nan_ok=True)
    assert {"ctr", "bounce_rate"} <= {alert.metric for alert in raised}
