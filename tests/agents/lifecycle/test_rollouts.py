from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from perennial.agents.base import Agent, Decision, Feedback, Keys, top_k
from perennial.agents.lifecycle.cost import DeclaredCost
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.fairness import FairnessGuardrail
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.guardrails import BounceGuardrail, Examination, LatencyGuardrail
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment
from perennial.agents.lifecycle.rollouts import ABTest, BlueGreen, Canary, Shadow
from perennial.agents.lifecycle.sequential import Betting, Mixture, mixture_interval
from perennial.agents.lifecycle.training import Trained
from tests.agents.lifecycle.hand import SPACES, wave

USERS = 3000
MANY = replace(SPACES, n_users=USERS)
ALL = np.arange(USERS, dtype=np.int32)


class Ranker(Agent):
    """Ranks items by a weight of its own; what it shows is liked with chance `liked`, which only the test knows."""

    def __init__(self, liked=0.5, seed=0, broken=None):
        self.liked, self.broken, self.calls = liked, broken, 0
        self.weights = np.random.default_rng(seed).normal(size=SPACES.n_items)
        if broken == "nan":
            self.weights[3] = np.nan
        if broken == "slow":
            self.latency_ms = 31.0

    def act(self, observations, keys):
        self.calls += 1
        scores = self.weights[observations["candidates"]]
        if self.broken == "constant":
            scores = np.zeros_like(scores)
        if self.broken == "raises" or (self.broken == "raises later" and self.calls > 3):
            raise RuntimeError("out of memory")
        slates = top_k(scores, SPACES.slate_size)
        if self.broken == "invalid":
            slates = slates + np.int32(SPACES.n_candidates)
        return Decision(slates, np.ones(slates.shape), {"score": scores[:, 0]})

    def state(self):
        return {"weights": self.weights.copy()}

    def restore(self, state):
        self.weights = state["weights"].copy()


def record(tick, last_tick):
    return TrainingRecord(tick, "fit", "warm", "schedule", "last 7 days", 0, last_tick, 9, "abc", 1, "trained", 0.0)


class Stage:
    """A deployment and its visitors: every step so many of the users come, once each, and click as the test says."""

    def __init__(self, folder, rollout, epsilon=0.1, step=24, visitors=USERS):
        self.registry = Registry(folder, code="test", seed=0)
        self.champion = Ranker(0.5)
        self.deployment = Deployment(self.champion, rollout, self.registry, epsilon, seed=3, tick=-1)
        self.rng, self.tick, self.step, self.visitors = np.random.default_rng(7), -1, step, visitors
        self.liked = {1: self.champion.liked}
        self.records, self.served = [], []

    def propose(self, agent, last_tick=None):
        told = record(max(self.tick, 0), self.tick if last_tick is None else last_tick)
        version = self.deployment.propose(Trained(agent, told))
        self.liked[version] = agent.liked
        return version

    def run(self, steps=1, until_end=False):
        for _ in range(steps):
            self.tick += self.step
            pages = self._serve()
            self.records += self.deployment.advance(pages, self.tick)
            if until_end and self.records and self.records[-1].verdict in ("promote", "rollback"):
                break
        return self.records

    def _serve(self):
        visits = np.sort(self.rng.permutation(USERS)[: self.visitors])
        page = wave(self.tick, (self.tick * USERS + visits).tolist(), seed=1)
        keys = Keys(page.keys.visit, page.keys.page, ALL[visits], page.keys.tick)
        served = self.deployment.act(page.observations, keys)
        self.served.append(served)
        liked = np.array([self.liked[v] for v in served.version.tolist()])
        clicked = self.rng.random(page.clicked.shape) < liked[:, None]
        return replace(
            page, keys=keys, clicked=clicked, version=served.version, explored=served.explored,
            reward=clicked.sum(axis=1).astype(np.float32), slates=served.decision.slates,
        )  # fmt: skip


def canary(**given):
    return Canary(**{"min_hours": 24, "max_hours": 24 * 8, "sequence": Mixture(horizon=3000), **given})


def test_a_canary_serves_its_share_to_the_same_users_and_adds_to_them(tmp_path):
    stage = Stage(tmp_path, canary(tolerances=(0.9, 0.8, 0.7)))
    assert not stage.deployment.challenged(ALL).any()
    stage.propose(Ranker(0.5, seed=1))
    assert not stage.deployment.challenged(ALL).any()  # nobody before the examination
    groups = []
    for share in (0.05, 0.2, 0.5):
        stage.run()
        group = stage.deployment.challenged(ALL)
        assert group.mean() == pytest.approx(share, abs=3 * (share * (1 - share) / USERS) ** 0.5)
        np.testing.assert_array_equal(group[[7, 2000, 7]], stage.deployment.challenged(ALL[[7, 2000, 7]]))
        groups.append(group)
    assert (groups[0] <= groups[1]).all()
    assert (groups[1] <= groups[2]).all()
    stage.run()
    assert [(r.step, r.share, r.verdict) for r in stage.records] == [
        ("examination", 0.0, "continue"), ("canary 1 of 3", 0.05, "continue"), ("canary 2 of 3", 0.2, "continue"),
        ("canary 3 of 3", 0.5, "promote"),
    ]  # fmt: skip
    assert stage.records[-1].reason == "not worse in any step"
    assert stage.deployment.version == 2 == stage.registry.resolve("champion")
    for step, group in zip(stage.served[1:], groups, strict=True):
        np.testing.assert_array_equal(step.version == 2, group)


def test_another_candidate_meets_other_users(tmp_path):
    stage = Stage(tmp_path, ABTest(max_hours=24))
    groups = []
    for seed in (1, 2):
        stage.propose(Ranker(0.5, seed))
        stage.run()
        groups.append(stage.deployment.challenged(ALL))
        stage.run(until_end=True, steps=5)
    assert 0.2 < (groups[0] & groups[1]).mean() < 0.3


def test_a_worse_candidate_is_rolled_back_in_its_first_step(tmp_path):
    stage = Stage(tmp_path, canary(shares=(0.2, 0.5), tolerances=(0.2, 0.1)))
    stage.propose(Ranker(0.3, seed=1))
    stage.run(10, until_end=True)
    last = stage.records[-1]
    assert (last.step, last.verdict, last.reason) == ("canary 1 of 2", "rollback", "worse")
    assert last.evidence["high"] < 0
    assert (stage.registry.resolve("judged 2"), stage.registry.resolve("judged 2 against")) == (2, 1)
    assert stage.deployment.version == 1 == stage.registry.resolve("champion")
    stage.run()
    assert set(stage.served[-1].version.tolist()) == {1}


def test_a_step_without_evidence_ends_in_time(tmp_path):
    stage = Stage(tmp_path, canary(tolerances=(0.01, 0.01, 0.01)), visitors=300)
    stage.propose(Ranker(0.5, seed=1))
    stage.run(20, until_end=True)
    assert (stage.records[-1].verdict, stage.records[-1].reason) == ("rollback", "nothing shown in time")
    assert stage.records[-1].evidence["hours"] == 24 * 8


BROKEN = ("nan", "constant", "slow", "raises", "invalid", "stale", "unchanged")
ROLLOUTS = {
    "shadow": lambda guards: Shadow(24, guardrails=guards),
    "canary": lambda guards: canary(guardrails=guards),
    "a/b": lambda guards: ABTest(guardrails=guards),
    "blue-green": lambda guards: BlueGreen(24, 24, guardrails=guards),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ROLLOUTS)
def test_a_broken_model_meets_nobody(tmp_path, kind, broken):
    stage = Stage(tmp_path, ROLLOUTS[kind]([LatencyGuardrail(max_ms=30.0)]))
    stage.run(5)
    candidate = Ranker(0.5, seed=0 if broken == "unchanged" else 1, broken=broken)
    stage.propose(candidate, last_tick=stage.tick - 24 * 4 if broken == "stale" else None)
    stage.run(3)
    (only,) = stage.records
    expected = {
        "nan": "not a number: weights", "constant": "constant: the same slots on every page", "slow": "too slow",
        "raises": "fails: RuntimeError: out of memory", "invalid": r"fails: ValueError: 'slates' must lie in [0, 6)",
        "stale": "stale: it learned until hour 23", "unchanged": "stale: its parameters are the champion's",
    }  # fmt: skip
    assert (only.step, only.verdict) == ("examination", "rollback")
    assert only.reason.startswith(expected[broken])
    assert {version for served in stage.served for version in served.version.tolist()} == {1}


@pytest.mark.parametrize("kind", ["canary", "a/b"])
def test_a_model_as_bad_as_chance_never_gets_past_its_first_step(tmp_path, kind):
    """Broken in a way no examination sees: its weights are noise, and visitors click half as much."""
    for seed in range(12):
        stage = Stage(tmp_path / str(seed), ROLLOUTS[kind](()), visitors=800)
        stage.rng = np.random.default_rng(seed)
        stage.propose(Ranker(0.25, seed=1))
        stage.run(12, until_end=True)
        assert stage.records[-1].verdict == "rollback"
        assert {r.step for r in stage.records} == {"examination", "canary 1 of 3" if kind == "canary" else "a/b test"}


def test_a_nan_that_the_champion_keeps_too_breaks_nothing(tmp_path):
    stage = Stage(tmp_path, ABTest(max_hours=24))
    candidate = Ranker(0.5, seed=1)
    for agent in (stage.champion, candidate):
        agent.weights = np.append(agent.weights, np.nan)  # of no item
    stage.propose(candidate)
    assert [step.step for step in stage.run(2)] == ["examination", "a/b test"]


def test_one_that_breaks_while_it_serves_costs_no_page(tmp_path):
    stage = Stage(tmp_path, canary(shares=(0.5, 0.6), tolerances=(0.01, 0.01)))
    stage.propose(Ranker(0.5, seed=1, broken="raises later"))
    stage.run(8, until_end=True)
    assert (stage.records[-1].verdict, stage.records[-1].reason) == ("rollback", "fails: RuntimeError: out of memory")
    assert [len(served.version) for served in stage.served] == [USERS] * len(stage.served)
    assert set(stage.served[-1].version.tolist()) == {1}
    assert set(stage.served[-2].version.tolist()) == {1, 2}


def test_each_page_bears_the_propensity_of_its_arm(tmp_path):
    epsilon, M = 0.1, SPACES.n_candidates
    stage = Stage(tmp_path, ABTest(), epsilon)
    candidate = Ranker(0.5, seed=1)
    stage.propose(candidate)
    stage.run(2)
    page = wave(0, list(range(USERS)))
    keys = Keys(page.keys.visit, page.keys.page, ALL, page.keys.tick)
    served = stage.deployment.act(page.observations, keys)
    own = stage.champion.act(page.observations, keys).slates
    theirs = candidate.act(page.observations, keys).slates
    meant = np.where(served.challenger[:, None], theirs, own)
    first = np.where(served.decision.slates[:, 0] == meant[:, 0], 1 - epsilon + epsilon / M, epsilon / M)
    np.testing.assert_allclose(served.decision.slot_propensity[:, 0], first)
    assert (served.decision.slates == meant).all(axis=1)[~served.explored].all()
    assert served.explored.mean() == pytest.approx(epsilon, abs=0.02)
    assert (served.decision.extras["score"][served.challenger] == 0).all()
    assert (served.decision.extras["score"][~served.challenger] != 0).all()


def test_the_log_knows_the_arms(tmp_path):
    stage = Stage(tmp_path / "registry", ABTest())
    stage.propose(Ranker(0.5, seed=1))
    stage.run(2)
    page = wave(0, list(range(USERS)), spaces=MANY)
    keys = Keys(page.keys.visit, page.keys.page, ALL, page.keys.tick)
    served = stage.deployment.act(page.observations, keys)
    items = np.take_along_axis(page.observations["candidates"], served.decision.slates, axis=1)
    pages = replace(
        page, keys=keys, version=served.version, slates=served.decision.slates, slate_items=items,
        slot_propensity=served.decision.slot_propensity,
    )  # fmt: skip
    log = FeedbackLog(tmp_path / "log", MANY)
    served.log_into(log.append, pages)
    log.close(0)
    log.commit(0)
    frame = pl.read_delta(str(tmp_path / "log" / "pages"))
    assert set(frame.group_by("arm", "version").len().select("arm", "version").rows()) == {
        ("champion", 1), ("challenger", 2),
    }  # fmt: skip
    assert frame.filter(pl.col("arm") == "challenger").height == served.challenger.sum()


def test_an_ab_test_promotes_what_it_shows_to_be_better(tmp_path):
    stage = Stage(tmp_path, ABTest(sequence=Mixture(horizon=3000)), visitors=600)
    stage.propose(Ranker(0.6, seed=1))
    stage.run(30, until_end=True)
    last = stage.records[-1]
    assert (last.verdict, last.reason, last.share) == ("promote", "better", 0.5)
    assert last.evidence["low"] >= 0
    assert last.evidence["candidate_users"] > 100


def test_an_ab_test_leaves_the_champion_where_nothing_is_shown(tmp_path):
    stage = Stage(tmp_path, ABTest(max_hours=24 * 5), visitors=600)
    stage.propose(Ranker(0.5, seed=1))
    stage.run(30, until_end=True)
    assert (stage.records[-1].verdict, stage.records[-1].reason) == ("rollback", "nothing shown in time")
    assert len(stage.records) == 6


def test_a_bounce_guardrail_stops_a_candidate_that_earns_more(tmp_path):
    """Both arms earn alike, but the candidate's visitors click on all or nothing."""
    stage = Stage(tmp_path, ABTest(guardrails=[BounceGuardrail(0.02, Betting())]), visitors=1500)
    stage.propose(Ranker(0.5, seed=1))

    def polarised(pages: Feedback) -> Feedback:
        theirs = (pages.version == 2)[:, None]
        return replace(pages, clicked=np.where(theirs, pages.clicked[:, :1], pages.clicked))

    for _ in range(12):
        stage.tick += 24
        stage.records += stage.deployment.advance(polarised(stage._serve()), stage.tick)
        if stage.records[-1].verdict != "continue":
            break
    assert (stage.records[-1].verdict, stage.records[-1].reason) == ("rollback", "bounces more")
    assert stage.records[-1].evidence["bounce_low"] >= 0.02


def test_a_shadow_serves_nobody_and_compares(tmp_path):
    stage = Stage(tmp_path, Shadow(hours=48, min_agreement=0.9), epsilon=0.0)
    stage.propose(Ranker(0.5, seed=1))
    stage.run(6, until_end=True)
    assert [r.step for r in stage.records] == ["examination", "shadow", "shadow"]
    assert (stage.records[-1].verdict, stage.records[-1].evidence["shadow_pages"]) == ("rollback", 2 * USERS)
    page = stage.served[-1]
    assert set(page.version.tolist()) == {1}
    like = Ranker(0.5, seed=0)
    like.weights = like.weights * 2.0  # other parameters, same order
    stage.propose(like)
    stage.records.clear()
    stage.run(6, until_end=True)
    assert (stage.records[-1].verdict, stage.records[-1].evidence["agreement"]) == ("promote", 1.0)


def test_blue_green_switches_everybody_and_back(tmp_path):
    stage = Stage(tmp_path, BlueGreen(48, 48))
    stage.propose(Ranker(0.3, seed=1))
    stage.run(8, until_end=True)
    assert [(r.step, r.share, r.verdict) for r in stage.records] == [
        ("examination", 0.0, "continue"), ("blue", 0.0, "continue"), ("blue", 0.0, "continue"),
        ("green", 1.0, "rollback"),
    ]  # fmt: skip
    assert set(stage.served[-1].version.tolist()) == {2}
    stage.run()
    assert set(stage.served[-1].version.tolist()) == {1}
    stage.records.clear()
    stage.propose(Ranker(0.55, seed=2))
    stage.run(8, until_end=True)
    assert [r.step for r in stage.records] == ["examination", "blue", "blue", "green", "green"]
    assert stage.records[-1].verdict == "promote"


def test_blue_green_reads_the_clock_of_two_times(tmp_path):
    """Three days of the champion's are no evidence on the candidate: its first day is judged as early as it is."""
    stage = Stage(tmp_path, BlueGreen(72, 48, guardrails=[BounceGuardrail()]), visitors=400)
    stage.propose(Ranker(0.5, seed=1))
    stage.run(5)
    assert (stage.records[-1].step, stage.records[-1].evidence["hours"]) == ("green", 24.0)
    before, after = stage.records[-1].evidence["champion_users"], stage.records[-1].evidence["candidate_users"]
    assert (before > 2 * after, after) == (True, 400)
    evidence, rollout = stage.records[-1].evidence, stage.deployment.rollout
    for name, prefix in (("clicks_per_visit", ""), ("bounce", "bounce_")):
        arms = rollout._ledger.moments(name)
        _, low, high = mixture_interval(*arms, 0.05 / 2, 5000.0, 50, together=False)
        assert (evidence[f"{prefix}low"], evidence[f"{prefix}high"]) == (float(low), float(high))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: BlueGreen(guardrails=[BounceGuardrail(sequence=Betting())]),
            "'guardrails' of a BlueGreen must be able to speak. Got BounceGuardrail with Betting, which needs users "
            "dealt to both arms by lot; the arms here are two times: take a Mixture in its place",
        ),
        (
            lambda: Shadow(guardrails=[BounceGuardrail(sequence=Betting())]),
            "'guardrails' of a Shadow must be able to speak. Got BounceGuardrail with Betting, .* nobody meets it here",
        ),
        (
            lambda: Shadow(guardrails=[LatencyGuardrail(), FairnessGuardrail()]),
            "'guardrails' of a Shadow .* Got FairnessGuardrail, which needs visitors who meet the candidate; nobody",
        ),
        (lambda: BlueGreen(sequence=Betting()), "'sequence' of a BlueGreen .* Got Betting, which needs"),
    ],
)
def test_what_could_never_speak_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_newest_waits_while_another_is_on_its_way(tmp_path):
    stage = Stage(tmp_path, ABTest(max_hours=48))
    versions = [stage.propose(Ranker(0.5, seed)) for seed in (1, 2, 3)]
    assert versions == [2, 3, 4]
    stage.run(3)
    assert [(r.version, r.verdict) for r in stage.records] == [
        (3, "superseded"), (2, "continue"), (2, "continue"), (2, "rollback"),
    ]  # fmt: skip
    assert stage.registry.resolve("challenger") == 4
    stage.run(2)
    assert set(stage.served[-1].version.tolist()) == {1, 4}


def test_one_that_was_not_admitted_is_registered_and_no_more(tmp_path):
    stage = Stage(tmp_path, ABTest())
    assert stage.deployment.propose(Trained(Ranker(0.5, 1), record(0, 0)), admitted=False) == 2
    assert stage.run(2) == []
    assert stage.registry.resolve("challenger") is None


def test_no_verdict_on_a_quiet_hour(tmp_path):
    stage = Stage(tmp_path, canary())
    stage.propose(Ranker(0.5, 1))
    (step,) = stage.deployment.advance(wave(23, [1]).take(np.arange(0)), 23)
    assert (step.verdict, step.reason) == ("continue", "no page to try it on")
    assert stage.deployment.rollout.parts == 0


def test_the_guardrail_and_the_pages_know_one_declared_cost(tmp_path):
    stage = Stage(tmp_path, ABTest(max_hours=24, guardrails=[LatencyGuardrail(max_ms=30.0)]))
    stage.propose(Ranker(0.5, 1))
    judged = stage.run(2)[-1]
    own = DeclaredCost().of(stage.champion)
    assert judged.evidence["latency_ms"] == own
    pages = wave(0, [1, 2, 3], version=np.array([1, 2, 3], np.int32))
    np.testing.assert_array_equal(stage.deployment.latency(pages), [own, own, np.nan])  # nobody knows version 3
    stage.propose(Ranker(0.5, 2, broken="slow"))
    stage.run()
    assert stage.records[-1].reason == "too slow"
    assert stage.records[-1].evidence["latency_ms"] == stage.deployment.latency(pages)[2] == 31.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Canary(shares=(0.2, 0.1)), r"'shares' must grow from above 0 to below 1. Got \[0.2, 0.1\]"),
        (lambda: Canary(shares=(0.5, 1.0)), "'shares' must grow"),
        (lambda: Canary(tolerances=(0.1,)), "'tolerances' must be one for each of the 3 shares. Got 1"),
        (lambda: Canary(min_hours=48, max_hours=24), "'max_hours' must not be below 'min_hours', 48. Got 24"),
        (lambda: ABTest(share=0.0), r"'share' must be a number in \(0, 1\]. Got 0.0"),
        (lambda: Examination(0), "'max_age_hours' must be an integer >= 1. Got 0"),
    ],
)
def test_wrong_arguments_say_what_is_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()
