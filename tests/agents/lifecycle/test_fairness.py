import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import perennial.conf
from perennial.agents.base import Keys
from perennial.agents.lifecycle.evidence import UserLedger
from perennial.agents.lifecycle.fairness import (
    AuditTables,
    Exposures,
    FairnessGuardrail,
    FairnessReport,
    Tally,
    disparate_impact,
    equalised_odds,
    exposure_weights,
    group_rates,
    hiding,
    moments_over_users,
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


def test_a_hidden_provider_stops_a_candidate_once_enough_users_have_not_seen_it():
    rail, ledger = guardrail(), UserLedger()
    pages, candidate = crowd(0, (0.5, 0.5))
    hidden = GOODS[pages.slate_items] == 2
    pages = replace(pages, slate_items=np.where(candidate[:, None] & hidden, 0, pages.slate_items).astype(np.int32))
    rail.count(pages, candidate)
    reading = rail.read(ledger)
    assert reading.reason == "hides a provider"
    assert reading.figures["exposure_min"] == 0.0
    assert reading.figures["exposure_min_champion"] > 0.5
    assert reading.figures["exposure_provider"] == 2
    assert reading.figures["exposure_high"] <= 0.5
    assert reading.figures["exposure_gap_high"] < 0.0
    few = guardrail()
    few.count(pages.take(np.arange(80)), candidate[:80])
    assert few.read(ledger).figures["exposure_min"] == 0.0
    assert few.read(ledger).reason == ""


def test_a_provider_that_neither_shows_is_not_hidden_by_the_candidate():
    rail = guardrail()
    pages, candidate = crowd(0, (0.5, 0.5))
    unseen = np.where(GOODS[pages.slate_items] == 2, 0, pages.slate_items).astype(np.int32)
    rail.count(replace(pages, slate_items=unseen), candidate)
    reading = rail.read(UserLedger())
    assert (reading.reason, reading.figures["exposure_min"], reading.figures["exposure_min_champion"]) == ("", 0.0, 0.0)


# -- providers, when both arms are one policy -------------------------------------------------------------------------

PROVIDERS, OFFERED, SHOWN, SHOPPERS = 20, 50, 10, 300
ZIPF = 1 / np.arange(1, PROVIDERS + 1) / (1 / np.arange(1, PROVIDERS + 1)).sum()


def ranked(rng, liking, provider, users):
    """A page of each of `users`: the best of 50 items drawn blindly, by what all like and what this visitor does."""
    candidates = rng.integers(0, len(liking), (len(users), OFFERED)).astype(np.int32)
    slates = np.argsort(-(liking[candidates] + rng.normal(size=candidates.shape)), axis=1)[:, :SHOWN].astype(np.int32)
    page = wave(0, users.tolist())
    nothing = np.zeros(slates.shape, np.bool_)
    return replace(
        page, keys=replace(page.keys, user_id=users.astype(np.int32)), observations={"candidates": candidates},
        slates=slates, slate_items=np.take_along_axis(candidates, slates, axis=1), clicked=nothing, carted=nothing,
        purchased=nothing, not_interested=nothing,
    )  # fmt: skip


def one_policy(seed, limit, looks=4, users=600):
    """Whether a candidate that is the champion is stopped, looked at four times in 1,200 pages."""
    rng = np.random.default_rng(seed)
    provider = rng.choice(PROVIDERS, 2000, p=ZIPF)
    liking = rng.normal(size=2000) + 0.3 * rng.normal(size=PROVIDERS)[provider]
    rail, arm = FairnessGuardrail(min_exposure=limit), rng.random(users) < 0.5
    rail.inform({"protected": np.zeros(users, np.int8), "provider": provider})
    rail.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0), 0.5, 0.05)
    stopped = []
    for _ in range(looks):
        came = rng.integers(0, users, 300)
        rail.count(ranked(rng, liking, provider, came), arm[came])
        stopped.append(rail.read(UserLedger()).reason != "")
    return any(stopped)


def test_a_candidate_that_shows_what_the_champion_shows_hides_nobody():
    """20 providers by Zipf's law, the least seen about half as often as it is on offer."""
    stops = sum(one_policy(seed, limit=0.5) for seed in range(20))
    assert stops <= 20 * 0.05 + 3 * math.sqrt(20 * 0.05 * 0.95)


def looked_at(rng, repetitions, candidate, champion, looks=10, share=0.5, pages=0.5):
    """Moments (R, looks, providers) of (candidate, champion), pages (R, looks) of both: ten daily looks at users who
    come as unequally as they like, each with own tastes, whose arms have those exposure ratios by provider."""
    users = (repetitions, 1, SHOPPERS, 1)
    came = rng.poisson(pages * rng.gamma(0.5, 2.0, users), (repetitions, looks, SHOPPERS, 1))
    arm, taste = rng.random(users) < share, rng.gamma(10, 0.1, (repetitions, 1, SHOPPERS, PROVIDERS))
    ratio = np.where(arm, candidate, champion) * taste
    seen = rng.poisson(came * SHOWN * ZIPF * ratio).cumsum(1) * (OFFERED / SHOWN)
    offered = rng.poisson(came * OFFERED * ZIPF * np.ones_like(taste)).cumsum(1)
    moments = [moments_over_users(seen * rows, offered * rows) for rows in (arm, ~arm)]
    return *moments, came.cumsum(1).sum(axis=(2, 3))


def stopped(moments, limit, alpha):
    """Share of the repetitions in which one of the looks shows that the candidate hides a provider."""
    candidate, champion, pages = moments
    found = hiding(candidate, champion, limit, pages[..., None], alpha, 2000.0, 50)
    return found.shown(limit).any(axis=(1, 2)).mean()


@pytest.mark.parametrize("rare", [0.5, 1.0], ids=["one near the limit", "all near the limit"])
def test_equal_arms_near_the_limit_are_stopped_in_no_more_than_alpha_of_cases(rare):
    rng, alpha, repetitions = np.random.default_rng(8), 0.2, 200
    ratios = np.where(np.arange(PROVIDERS) == PROVIDERS - 1, rare, 1.0)
    moments = looked_at(rng, repetitions, ratios, ratios)
    limit = rare + 0.02
    assert stopped(moments, limit, alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)
    lowest, other = (np.nanmin(arm.ratio()[0], axis=2) for arm in moments[:2])
    assert (lowest < np.minimum(limit, other)).any(axis=1).mean() > 0.5  # what point estimates would have stopped


def test_the_rarest_provider_is_not_hidden_unseen():
    """Of 1.4 % of the offers; champion at its due: none of it is found out, half of it at a limit of a half is not."""
    rng, last = np.random.default_rng(9), np.arange(PROVIDERS) == PROVIDERS - 1
    fair = np.ones(PROVIDERS)
    assert stopped(looked_at(rng, 40, np.where(last, 0.0, fair), fair, pages=1.0), 0.5, 0.05) >= 0.9
    assert stopped(looked_at(rng, 40, np.where(last, 0.5, fair), fair, pages=1.0), 0.5, 0.05) <= 0.1


def test_users_sums_give_the_ratio_that_the_tally_gives():
    tables = AuditTables(np.arange(2000) % 2, AUDIT["provider"])
    pages, candidate = crowd(0, (0.5, 0.5))
    tally, exposures = Tally(tables), Exposures(tables)
    tally.add(pages.take(candidate))
    exposures.add(pages, candidate)
    np.testing.assert_allclose(exposures.moments()[0].ratio()[0], tally.exposure_ratios())
    assert exposures.pages.tolist() == [1000, 1000]


def test_the_class_and_the_canary_that_ships_have_the_same_limits():
    node = yaml.safe_load((Path(perennial.conf.__file__).parent / "strategy" / "nightly_canary.yaml").read_text())
    (shipped,) = [rail for rail in node["rollout"]["guardrails"] if rail["_target_"].endswith(".FairnessGuardrail")]
    default = FairnessGuardrail()
    assert (shipped["min_exposure"], shipped["max_loss"]) == (default.min_exposure, default.max_loss)


def test_a_guardrail_without_tables_says_what_it_needs():
    rollout = ABTest(guardrails=[FairnessGuardrail()])
    with pytest.raises(ValueError, match=r"call rollout.inform\({'protected': ..., 'provider': ...}\)"):
        rollout.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0))
    rollout.inform(AUDIT)
    rollout.begin(Trial(begun(SPACES), begun(SPACES), 2, 1, 0))
    with pytest.raises(ValueError, match="'audit' must hold 'protected' and 'provider'. Missing: provider"):
        rollout.inform({"protected": PEOPLE})
