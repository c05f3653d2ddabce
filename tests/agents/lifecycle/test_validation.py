from dataclasses import replace

import numpy as np
import pytest

from perennial.agents.base import Agent, Decision, top_k
from perennial.agents.exploring import Exploring
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out
from perennial.agents.lifecycle.validation import SLICES, Case, NoValidation, OffPolicyValidation
from tests.agents.lifecycle.hand import wave
from tests.agents.toy import toy_shop

EPSILON, DAYS, BATCH = 0.3, 2, 60


class Informed(Agent):
    """Shows a toy shop's best slates, but the worst ones to those `spoiled` marks."""

    def __init__(self, shop, spoiled=lambda keys, observations: np.zeros(len(keys), np.bool_)):
        self.shop, self.spoiled = shop, spoiled

    def act(self, observations, keys):
        chances = self.shop.attraction(observations, keys)
        chances = np.where(self.spoiled(keys, observations)[:, None], -chances, chances)
        slates = top_k(chances, self.shop.spaces.slate_size)
        return Decision(slates, np.ones(slates.shape))


def everybody(keys, observations):
    return np.ones(len(keys), np.bool_)


def newcomers(keys, observations):
    return (observations["history"] < 0).all(axis=1)


@pytest.fixture(scope="module")
def shop():
    return toy_shop(n_users=3000, page_limit=2)


def logged(shop, folder, champion, epsilon=EPSILON):
    """Two days of pages served by a champion behind its floor, as version 4."""
    log = FeedbackLog(folder, shop.spaces)
    floor = Exploring(champion, epsilon)
    floor.spaces, floor.rng = shop.spaces, np.random.default_rng(1)
    for day in range(DAYS):
        for hour in range(24):
            tick = day * 24 + hour
            observations, keys = shop.observe(BATCH)
            keys = replace(keys, tick=np.full(BATCH, tick, np.int64))
            decision = floor.act(observations, keys)
            explored = decision.extras.pop("explored")
            pages = shop.respond(observations, keys, decision)
            log.append(replace(pages, explored=explored, version=np.full(BATCH, 4, np.int32)))
            log.close(tick)
        log.commit(day)
    return log


def case(shop, candidate, champion, epsilon=EPSILON, since=0):
    items = {"category": shop.category, "price": np.ones(shop.spaces.n_items, np.float32), "features": shop.features}
    return Case(candidate, champion, 4, items, shop.spaces, epsilon, since, tick=DAYS * 24 - 1)


def gate(**given):
    return OffPolicyValidation(**{"held_out": 1.0, "matured_hours": 0, **given})


@pytest.fixture(scope="module")
def good_log(shop, tmp_path_factory):
    return logged(shop, tmp_path_factory.mktemp("good"), Informed(shop))


@pytest.fixture(scope="module")
def bad_log(shop, tmp_path_factory):
    return logged(shop, tmp_path_factory.mktemp("bad"), Informed(shop, everybody))


def test_a_better_candidate_passes(shop, bad_log):
    record = gate().judge(case(shop, Informed(shop), Informed(shop, everybody)), bad_log)
    assert (record.verdict, record.reason) == ("pass", "not worse by more than the margin")
    assert record.rows == DAYS * 24 * BATCH
    assert record.figures["dr_low"] > 0
    assert record.figures["ips_low"] < record.figures["ips"] < record.figures["ips_high"]
    assert gate().admits(record)
    assert record.data_version == bad_log.data_version(0, 1)


def test_a_worse_candidate_fails(shop, good_log):
    record = gate().judge(case(shop, Informed(shop, everybody), Informed(shop)), good_log)
    assert (record.verdict, record.reason) == ("fail", "worse by more than the margin")
    assert not gate().admits(record)


def test_one_that_fails_newcomers_only_fails_on_that_slice(shop, good_log):
    candidate = Informed(shop, newcomers)
    record = gate(margin=1.0).judge(case(shop, candidate, Informed(shop)), good_log)
    assert record.verdict == "fail"
    assert record.reason.startswith("worse by more than the slice margin on ")
    assert "new visitors" in record.reason
    assert record.slices["new visitors"]["high"] < 0
    assert gate(margin=1.0, slice_margin=1.0).judge(case(shop, candidate, Informed(shop)), good_log).verdict == "pass"


def test_without_overlap_there_is_no_verdict(shop, tmp_path):
    """No floor, so the candidate's slates were never seen; the champion's clicks prove nothing about them."""
    log = logged(shop, tmp_path, Informed(shop, everybody), epsilon=0.0)
    record = gate().judge(case(shop, Informed(shop), Informed(shop, everybody), epsilon=0.02), log)
    assert (record.verdict, record.reason) == ("insufficient evidence", "too little overlap with what was explored")
    assert record.figures["effective"] < 50
    assert gate(when_insufficient="roll out").admits(record)
    assert not gate(when_insufficient="refuse").admits(record)


def test_little_evidence_says_neither(shop, good_log):
    candidate = Informed(shop, lambda keys, observations: keys.user_id % 40 == 0)
    record = gate(margin=0.02, min_effective=1).judge(case(shop, candidate, Informed(shop)), good_log)
    assert (record.verdict, record.reason) == (
        "insufficient evidence", "the interval reaches to both sides of the margin",
    )  # fmt: skip


def test_one_that_shows_the_same_passes(shop, good_log):
    record = gate().judge(case(shop, Informed(shop), Informed(shop)), good_log)
    assert (record.verdict, record.reason) == ("pass", "shows the same on every page")


def test_the_cascade_form_finds_no_support_at_slates_of_four(shop, bad_log):
    """The candidate's whole prefix was hardly ever explored; that is said, and not read as a pass."""
    record = gate(form="cascade", estimator="ips").judge(case(shop, Informed(shop), Informed(shop, everybody)), bad_log)
    assert record.validation == "OffPolicyValidation(cascade ips)"
    assert record.figures["effective"] < record.rows / 10


def test_only_matured_held_out_pages_of_this_deployment_count(shop, good_log):
    validation = OffPolicyValidation(held_out=0.25, matured_hours=12, days=1)
    pages = validation.select(validation.offered(case(shop, Informed(shop), Informed(shop), since=30), good_log))
    assert (pages.keys.tick.min(), pages.keys.tick.max()) == (30, 35)
    assert held_out(pages.keys.visit, 0.25).all()
    assert 0.15 < len(pages) / (6 * BATCH) < 0.35
    nothing = validation.judge(case(shop, Informed(shop), Informed(shop), since=40), good_log)
    assert (nothing.verdict, nothing.reason) == ("insufficient evidence", "no page to judge by")


def test_explored_pages_held_out_are_a_log_under_a_higher_floor(shop, bad_log):
    """Half the visits' explored pages and a tenth of the others': .3 x .5 explored to .7 x .1 that are not."""
    judged = case(shop, Informed(shop), Informed(shop, everybody))
    plain, more = (gate(held_out=0.1, held_out_explored=share) for share in (None, 0.5))
    assert (plain.floor(0.3), more.floor(0.3)) == (pytest.approx(0.3), pytest.approx(0.15 / 0.22))
    pages = more.select(more.offered(judged, bad_log))
    assert pages.explored.mean() == pytest.approx(0.15 / 0.22, abs=0.04)
    few, many = (validation.judge(judged, bad_log) for validation in (plain, more))
    assert many.figures["effective"] > 1.5 * few.figures["effective"]
    truth = gate().judge(judged, bad_log).figures["dr"]
    assert many.figures["dr_low"] < truth < many.figures["dr_high"]
    assert many.figures["champion"] == pages.clicked[~pages.explored].sum(axis=1).mean()


def test_a_refit_that_swaps_little_passes_without_exploration(shop, tmp_path):
    """No floor at all. One user in 200 spoiled is a loss that the champion's pages bound, one in two is too great."""
    log = logged(shop, tmp_path, Informed(shop), epsilon=0.0)
    few, many = (Informed(shop, lambda keys, seen, n=n: keys.user_id % n == 0) for n in (200, 2))
    passed = gate(margin=0.02).judge(case(shop, few, Informed(shop), epsilon=0.02), log)
    assert (passed.verdict, passed.reason) == ("pass", "not worse by more than the margin")
    assert passed.figures["effective"] < 25
    assert -0.02 * passed.figures["champion"] < passed.figures["unexplored_low"] < 0
    silent = gate(margin=0.02).judge(case(shop, many, Informed(shop), epsilon=0.02), log)
    assert silent.verdict == "insufficient evidence"


class Failing(Informed):
    """Raises where asked to, half-way, when its own state has moved already."""

    def __init__(self, shop, where):
        super().__init__(shop, everybody)
        self.where, self.moved = where, np.zeros(1)

    def act(self, observations, keys):
        self.moved += 1
        if self.where == "act":
            raise RuntimeError("out of memory")
        return super().act(observations, keys)

    def slate_propensity(self, observations, keys, slates):
        raise RuntimeError("no propensity")

    def state(self):
        return {"moved": self.moved.copy()}

    def restore(self, state):
        self.moved = state["moved"].copy()


@pytest.mark.parametrize(
    ("where", "form", "reason"),
    [
        ("act", "position", "fails: RuntimeError: out of memory"),
        ("propensity", "cascade", "fails: RuntimeError: no propensity"),
    ],
)
def test_a_candidate_that_raises_fails_and_is_left_where_it_stood(shop, good_log, where, form, reason):
    candidate = Failing(shop, where)
    record = gate(form=form).judge(case(shop, candidate, Informed(shop)), good_log)
    assert (record.verdict, record.reason, record.rows) == ("fail", reason, DAYS * 24 * BATCH)
    assert not gate().admits(record)
    np.testing.assert_array_equal(candidate.moved, 0)


def test_a_champion_that_raises_is_a_fault_of_the_run(shop, good_log):
    with pytest.raises(RuntimeError, match="out of memory"):
        gate().judge(case(shop, Informed(shop), Failing(shop, "act")), good_log)


def test_slices_are_what_they_say():
    saturday = 24  # 2010-01-02
    first, later = wave(saturday, [1, 2]), wave(saturday + 48, [1, 2], page=1)
    first.observations["history"][:] = -1
    later.observations["history"][:] = 3
    for name in ("first pages", "new visitors", "weekend"):
        assert SLICES[name](first, {}).all()
        assert not SLICES[name](later, {}).any()


def test_the_null_object_lets_everything_pass(shop, good_log):
    validation = NoValidation()
    assert validation.judge(case(shop, Informed(shop), Informed(shop)), good_log) is None
    assert validation.admits(None)
    assert validation.held_out == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"days": 0}, "'days' must be an integer >= 1. Got 0"),
        ({"held_out": 0.0}, r"'held_out' must be a number in \(0, 1\]. Got 0.0"),
        ({"estimator": "dm"}, "'estimator' must be one of 'ips', 'snips', 'dr'. Got 'dm'"),
        ({"held_out": 0.5, "held_out_explored": 0.1}, r"'held_out_explored' must be a number in \[0.5, 1\]. Got 0.1"),
        (
            {"held_out": 0.5, "held_out_explored": 1.0, "form": "cascade"},
            "'held_out_explored' must be 'held_out', 0.5, or None where 'form' is 'cascade'",
        ),
        ({"when_insufficient": "pray"}, "'when_insufficient' must be one of 'roll out', 'refuse'. Got 'pray'"),
    ],
)
def test_wrong_arguments_say_what_is_right(given, message):
    with pytest.raises(ValueError, match=message):
        gate(**given)


def test_held_out_visits_are_always_the_same():
    visits = np.arange(10_000)
    kept = held_out(visits, 0.2)
    assert kept.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(kept[5000:], held_out(visits[5000:], 0.2))
    assert not held_out(visits, 0.0).any()
