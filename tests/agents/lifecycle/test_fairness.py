import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from perennial.agents.base import Keys
from perennial.agents.lifecycle.evidence import UserLedger
from perennial.agents.lifecycle.fairness import (
    FairnessGuardrail,
    FairnessReport,
    Tally,
    disparate_impact,
    equalised_odds,
    exposure_weights,
    group_rates,
)
from perennial.agents.lifecycle.rollout import Trial
from perennial.agents.lifecycle.rollouts import ABTest
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import begun

PEOPLE = np.arange(SPACES.n_users) % 2
GOODS = np.arange(SPACES.n_items) % 3
AUDIT = {"protected": PEOPLE.astype(np.int8), "provider": GOODS.astype(np.int32)}


def fairlearn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("fairlearn.metrics")


@pytest.mark.parametrize("seed", range(3))
def test_measures_equal_fairlearns(seed):
    metrics = fairlearn()
    rng = np.random.default_rng(seed)
    groups, relevant = rng.integers(0, 4, 3000), rng.random(3000) < 0.3
    chosen = rng.random(3000) < np.where(relevant, 0.6, 0.2) - 0.04 * groups
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {"y_true": relevant, "y_pred": chosen, "sensitive_features": groups}
        assert disparate_impact(group_rates(chosen, groups, 4)) == pytest.approx(
            metrics.demographic_parity_ratio(**theirs)
        )
        assert max(equalised_odds(relevant, chosen, groups)) == pytest.approx(
            metrics.equalized_odds_difference(**theirs)
        )
        by_group = metrics.MetricFrame(metrics=metrics.selection_rate, **theirs).by_group
        np.testing.assert_allclose(group_rates(chosen, groups, 4), by_group)


def test_measures_by_hand():
    """Of six: group 0 is shown 2 of 3, group 1 1 of 3; the relevant 1 of 1 and 1 of 2, the others 1 of 2 and 0 of 1."""
    groups = np.array([0, 0, 0, 1, 1, 1])
    chosen = np.array([1, 1, 0, 1, 0, 0], np.bool_)
    relevant = np.array([1, 0, 0, 1, 1, 0], np.bool_)
    assert group_rates(chosen, groups, 2).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert disparate_impact(group_rates(chosen, groups, 2)) == pytest.approx(0.5)
    assert equalised_odds(relevant, chosen, groups) == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(exposure_weights(3), [1.0, 1 / math.log2(3), 0.5])


def test_exposure_is_held_against_what_was_on_offer():
    """One page offers two items of each provider; the first slot shows provider 0, the second provider 2."""
    page = wave(0, [5], slates=np.array([[0, 2]], np.int32), clicked=np.array([[True, False]]))
    page.observations["candidates"][:] = [[0, 1, 2, 3, 4, 5]]
    page = replace(page, slate_items=np.array([[0, 2]], np.int32))
    tally = Tally(FairnessReport(AUDIT).tables)
    tally.add(page)
    second = 1 / math.log2(3)
    expected = [3 / (1 + second), 0.0, 3 * second / (1 + second)]
    np.testing.assert_allclose(tally.exposure_ratios(), expected)
    assert tally.figures()["provider_disparate_impact"] == 0.0
    group = PEOPLE[page.keys.user_id[0]]
    assert tally.service()[group] == 0.5
    assert math.isnan(tally.service()[1 - group])


def test_a_report_comes_every_week():
    report, records = FairnessReport(AUDIT, days=7), []
    for day in range(15):
        report.update(wave(day * 24 + 5, list(range(20))))
        records += report.end_day(day, day * 24 + 23)
    assert [(r.first_tick, r.tick) for r in records] == [(0, 7 * 24 - 1), (7 * 24, 14 * 24 - 1)]
    assert sum(records[0].pages_by_group) == 7 * 20
    assert len(records[0].exposure_by_provider) == 3
    assert 0 < records[0].figures["group_disparate_impact"] <= 1


def crowd(tick, likes, users=2000):
    """One page of each user; group 1 clicks with chance `likes[arm]` on each slot, group 0 with 1/2."""
    rng, people = np.random.default_rng(tick), np.arange(users)
    candidate, group = (people // 2) % 2 == 1, people % 2
    chance = np.where(group == 1, np.where(candidate, likes[1], likes[0]), 0.5)
    page = wave(tick, people.tolist(), clicked=rng.random((users, 2)) < chance[:, None])
    keys = Keys(page.keys.visit + tick * users, page.keys.page, people.astype(np.int32), page.keys.tick)
    return replace(page, keys=keys), candidate


def guardrail(**given):
    rail = FairnessGuardrail(**{"min_exposure": 0.5, "max_loss": 0.1, "horizon": 2000.0, **given})
    rail.inform({"protected": np.arange(2000) % 2, "provider": AUDIT["provider"]})
    rail.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0), 0.5, 0.05)
    return rail


@pytest.mark.parametrize(("likes", "reason"), [((0.5, 0.25), "serves group 1 worse"), ((0.5, 0.5), "")])
def test_a_group_served_worse_stops_a_candidate(likes, reason):
    rail, ledger = guardrail(), UserLedger()
    for tick in range(5):
        pages, candidate = crowd(tick, likes)
        ledger.add(pages, candidate)
        rail.count(pages, candidate)
    reading = rail.read(ledger)
    assert reading.reason == reason
    assert (reading.figures["group_1_high"] < 0) == bool(reason)
    assert reading.figures["group_0_high"] > 0


def test_a_hidden_provider_stops_a_candidate():
    rail, ledger = guardrail(min_pages=100), UserLedger()
    pages, candidate = crowd(0, (0.5, 0.5))
    hidden = GOODS[pages.slate_items] == 2
    pages = replace(pages, slate_items=np.where(candidate[:, None] & hidden, 0, pages.slate_items).astype(np.int32))
    rail.count(pages, candidate)
    reading = rail.read(ledger)
    assert reading.reason == "hides a provider"
    assert reading.figures["exposure_min"] == 0.0
    assert reading.figures["exposure_min_champion"] > 0.5
    few = guardrail(min_pages=100_000)
    few.count(pages, candidate)
    assert few.read(ledger).reason == ""


def test_a_guardrail_without_tables_says_what_it_needs():
    rollout = ABTest(guardrails=[FairnessGuardrail()])
    with pytest.raises(ValueError, match=r"call rollout.inform\({'protected': ..., 'provider': ...}\)"):
        rollout.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0))
    rollout.inform(AUDIT)
    rollout.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0))
    with pytest.raises(ValueError, match="'audit' must hold 'protected' and 'provider'. Missing: provider"):
        rollout.inform({"protected": PEOPLE})
