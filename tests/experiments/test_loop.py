import json
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from perennial.agents.base import Agent, Decision, Spaces, top_k
from perennial.agents.lifecycle.decisions import Audit, ValidationRecord
from perennial.agents.lifecycle.detectors import Cusum, PageHinkley
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.guardrails import LatencyGuardrail
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout
from perennial.agents.lifecycle.rollouts import Canary
from perennial.agents.lifecycle.sequential import Mixture
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob
from perennial.agents.lifecycle.triggers import Drift, Never, Schedule
from perennial.agents.lifecycle.validation import OffPolicyValidation, Validation
from perennial.agents.lifecycle.windows import LastDays
from perennial.agents.popular import Popular
from perennial.envs import World
from perennial.envs.oracle import Oracle
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import Scorer
from tests.agents.lifecycle.hand import SPACES
from tests.agents.lifecycle.learner import Learner, begun


@dataclass
class Visits:
    active: np.ndarray
    page: int
    tick: int
    potential: int


class Stall:
    """A shop of a few visits an hour, each of up to three pages, that shows what is asked for in the right order."""

    def __init__(self, liked_until: int = 10**9) -> None:
        self.sizes = SPACES.__dict__
        self.liked_until = liked_until
        self.calls: list[str] = []

    def arrivals(self, tick: int, last: int) -> Visits:
        if last > tick:  # several hours side by side are not for this stall: the first stands for all
            return Visits(np.arange(5), 0, tick, potential=5)
        return Visits(np.arange(tick % 5), 0, tick, potential=tick % 5 + 1)

    def keys(self, visits: Visits) -> dict[str, np.ndarray]:
        n = len(visits.active)
        return {
            "visit": visits.tick * 10 + visits.active,
            "page": np.full(n, visits.page, np.int32),
            "user_id": visits.active.astype(np.int32),
            "tick": np.full(n, visits.tick, np.int64),
        }

    def observe(self, visits: Visits) -> dict[str, np.ndarray]:
        self.calls.append("observe")
        n, rng = len(visits.active), np.random.default_rng([visits.tick, visits.page])
        sizes: Spaces = SPACES
        return {
            "user": rng.normal(size=(n, sizes.user_dim)).astype(np.float32),
            "history": np.full((n, sizes.history), -1, np.int32),
            "candidates": np.stack([rng.permutation(sizes.n_items)[: sizes.n_candidates] for _ in range(n)]).astype(
                np.int32
            ),
            "page": np.zeros((n, sizes.page_dim), np.float32),
            "calendar": np.zeros((n, sizes.calendar_dim), np.float32),
            "notice": np.zeros((n, sizes.notice_dim), np.float32),
        }

    def respond(self, visits: Visits, slates: np.ndarray) -> "Answer":
        self.calls.append("respond")
        clicked = np.full(slates.shape, visits.tick < self.liked_until)
        nothing = np.zeros(slates.shape, np.bool_)
        over = (visits.active + visits.page) % 3 == 2
        last = np.full(len(over), visits.page == 2)
        answer = Answer(
            clicked, nothing, clicked & over[:, None], nothing, clicked.sum(1).astype(np.float32), over, last & ~over
        )
        visits.active, visits.page = visits.active[~(over | last)], visits.page + 1
        return answer


@dataclass
class Answer:
    clicked: np.ndarray
    carted: np.ndarray
    purchased: np.ndarray
    not_interested: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Watcher:
    """A scorer that notes when it was asked."""

    def __init__(self, calls):
        self.calls, self.potential, self.pages = calls, 0, 0

    def arrivals(self, tick, potential):
        self.potential += potential

    def before(self, visits, slates):
        self.calls.append("truth")

    def after(self, keys, answer):
        self.calls.append("score")
        self.pages += len(keys)


def loop(folder, strategy, broken=(), world=None):
    folder.mkdir()
    world = world or Stall()
    registry = Registry(folder / "registry", code="test", seed=0)
    people, goods = np.zeros(SPACES.n_users, np.int8), np.zeros(SPACES.n_items, np.int32)
    strategy.rollout.inform({"protected": people, "provider": goods})
    return Loop(
        world,
        Deployment(begun(SPACES), strategy.rollout, registry, seed=2),
        strategy,
        TrainingJob(lambda: Learner(broken), {}, SPACES),
        FeedbackLog(folder / "log", SPACES),
        audit=Audit(folder / "decisions.jsonl"),
        scorer=Watcher(world.calls),
    )


def nightly_hourly():
    return Strategy(Schedule(days=1), LastDays(2), Schedule(hours=1), ImmediateRollout())


def decisions(folder, kind):
    lines = map(json.loads, (folder / "decisions.jsonl").read_text().splitlines())
    return [line for line in lines if line["decision"] == kind]


def test_same_seed_same_decisions_same_log(tmp_path):
    for name in "ab":
        loop(tmp_path / name, nightly_hourly()).run(0, 95)
    texts = [(tmp_path / name / "decisions.jsonl").read_text() for name in "ab"]
    logs = [FeedbackLog(tmp_path / name / "log", SPACES) for name in "ab"]
    assert texts[0] == texts[1]
    assert logs[0].data_version(0, 3) == logs[1].data_version(0, 3)
    assert str(tmp_path) not in texts[0]


def test_a_loop_in_two_parts_is_the_loop_in_one(tmp_path):
    whole, parts = loop(tmp_path / "whole", nightly_hourly()), loop(tmp_path / "parts", nightly_hourly())
    whole.run(0, 71)
    parts.run(0, 23)
    parts.run(24, 71)
    assert (tmp_path / "whole" / "decisions.jsonl").read_text() == (tmp_path / "parts" / "decisions.jsonl").read_text()


def test_everything_served_is_logged_and_scored(tmp_path):
    days = []
    running = loop(tmp_path / "run", Strategy(Never(), LastDays(2), Never(), ImmediateRollout()))
    running.run(0, 47, days.append)
    assert days == [0, 1]
    assert running.world.calls[:4] == ["observe", "truth", "respond", "score"]
    assert running.log.counts == {"pages": running.scorer.pages, "quarantined": 0, "duplicates": 0}
    assert running.scorer.potential == sum(tick % 5 + 1 for tick in range(48))
    conversions = pl.read_delta(str(tmp_path / "run" / "log" / "conversions"))
    assert len(conversions) == int(running.log.read(0, 1).purchased.sum()) > 0
    assert running.timings.summary()["decision"]["count"] == running.world.calls.count("observe")
    assert running.timings.summary()["commit"]["count"] == 2


def test_the_audit_tells_why_each_model_served(tmp_path):
    loop(tmp_path / "run", nightly_hourly()).run(0, 47)
    fits = [line for line in decisions(tmp_path / "run", "training") if line["kind"] == "fit"]
    assert [(f["tick"], f["verdict"], f["reason"], f["parent"]) for f in fits] == [
        (23, "trained", "schedule", 1),
        (47, "trained", "schedule", 2),
    ]
    rollouts = decisions(tmp_path / "run", "rollout")
    assert [(r["version"], r["verdict"], r["data_version"]) for r in rollouts] == [
        (2, "promote", fits[0]["data_version"]),
        (3, "promote", fits[1]["data_version"]),
    ]
    pages = pl.read_delta(str(tmp_path / "run" / "log" / "pages")).sort("tick")
    assert pages.filter(pl.col("tick") < 24)["version"].unique().to_list() == [1]
    assert pages.filter(pl.col("tick") >= 24)["version"].unique().to_list() == [2]
    assert pages.filter(pl.col("tick") == 24 + 9)["revision"].unique().to_list() == [
        7
    ]  # hours 24 to 32 without the empty 25 and 30


def test_a_failing_training_is_recorded_and_the_champion_serves_on(tmp_path):
    running = loop(
        tmp_path / "run", Strategy(Schedule(days=1), LastDays(2), Never(), ImmediateRollout()), broken=("fit",)
    )
    first = running.deployment.champion
    running.run(0, 71)
    assert running.deployment.champion is first
    assert running.deployment.version == 1
    failed = decisions(tmp_path / "run", "training")
    assert [line["verdict"] for line in failed] == ["failed"] * 3
    assert failed[0]["error"] == "RuntimeError: fit went wrong half-way"
    assert set(running.log.read(0, 2).version.tolist()) == {1}


def test_drift_is_answered_in_the_hour_it_is_seen(tmp_path):
    detector = PageHinkley("down", delta=0.0, threshold=5.0, min_instances=20)
    strategy = Strategy(Drift(detector, cooldown_days=30), LastDays(1), Never(), ImmediateRollout())
    loop(tmp_path / "run", strategy, world=Stall(liked_until=48)).run(0, 71)
    (fired,) = decisions(tmp_path / "run", "trigger")
    assert fired["tick"] == 49
    assert fired["score"] > fired["threshold"] == 5.0
    (trained,) = decisions(tmp_path / "run", "training")
    assert (trained["tick"], trained["reason"]) == (49, "drift of first_page_ctr")


class Strict(Validation):
    """Refuses everything before some hour."""

    def __init__(self, until):
        self.until = until

    def judge(self, case, log):
        verdict = "fail" if case.tick < self.until else "pass"
        return ValidationRecord(case.tick, "Strict", 0, case.version, verdict, "", 1, 0, case.tick, "", 0.0)


@pytest.mark.parametrize("fault", ["failed", "refused"])
def test_an_alarm_whose_fit_came_to_nothing_is_answered_the_next_day(tmp_path, fault):
    """CUSUM has learned the stream after the drift by then, and would never tell of it again."""
    drift = Drift(Cusum("down", 0.5, 5.0, warmup=60), cooldown_days=30)
    validation = Strict(until=96) if fault == "refused" else None
    strategy = Strategy(drift, LastDays(1), Never(), ImmediateRollout(), validation=validation)
    running = loop(tmp_path / "run", strategy, world=Stall(liked_until=72))
    fates = iter([("fit",)] if fault == "failed" else [])
    running.training.build = lambda: Learner(next(fates, ()))
    running.run(0, 143)
    first, second = decisions(tmp_path / "run", "training")
    assert 72 <= first["tick"] == second["tick"] - 24
    assert [first["verdict"], second["verdict"]] == ["failed" if fault == "failed" else "trained", "trained"]
    assert second["reason"] == first["reason"] + ", again"
    assert [line["tick"] for line in decisions(tmp_path / "run", "rollout")] == [second["tick"]]


def test_the_pages_of_a_failed_update_are_learned_by_the_next(tmp_path):
    strategy = Strategy(Never(), LastDays(1), Schedule(hours=12), ImmediateRollout())
    running = loop(tmp_path / "run", strategy)
    champion = running.deployment.champion
    champion.broken = {"update"}
    running.run(0, 47, lambda day: setattr(champion, "broken", frozenset()))
    lines = decisions(tmp_path / "run", "training")
    assert [(line["tick"], line["verdict"]) for line in lines] == [
        (11, "failed"), (23, "failed"), (35, "trained"), (47, "trained"),
    ]  # fmt: skip
    assert lines[2]["rows"] == len(running.log.between(0, 35))
    assert lines[3]["rows"] == len(running.log.between(36, 47))
    assert champion.clicks.sum() == running.log.read(0, 1).clicked.sum() > 0


def test_the_shop_itself_goes_round(tmp_path):
    world = World(seed=1, n_users=200, n_items=150, visits_per_day=40)
    spaces = Spaces(**world.sizes)
    strategy = Strategy(Schedule(days=1), LastDays(2), Never(), ImmediateRollout())
    training = TrainingJob(Popular, world.items, spaces)
    start = world.day_of("2019-09-01")
    running = Loop(
        world,
        Deployment(training.fresh(), strategy.rollout, Registry(tmp_path / "registry", "test", 0), epsilon=0.1),
        strategy,
        training,
        FeedbackLog(tmp_path / "log", spaces),
        scorer=Scorer(Oracle(world)),
    )
    running.run(start * 24, (start + 2) * 24 - 1)
    days, log = running.scorer.days(), running.log
    assert log.counts == {"pages": sum(day.pages for day in days), "quarantined": 0, "duplicates": 0}
    pages = log.read(start, start + 1)
    assert int(pages.clicked.sum()) == sum(day.clicks for day in days) > 0
    assert [counts.bounces for _, counts in [*running.monitor.days, (0, running.monitor.today)]] == [
        day.bounces for day in days
    ]
    assert np.nanmin(pages.slot_propensity) > 0
    assert set(pages.version.tolist()) == {1, 2}


def test_a_candidate_is_validated_then_served_to_some_and_the_trail_says_so(tmp_path):
    world = World(seed=1, n_users=200, n_items=150, visits_per_day=60)
    spaces = Spaces(**world.sizes)
    validation = OffPolicyValidation(days=2, matured_hours=0, held_out=0.5, min_effective=1e6)
    sequence = Mixture(horizon=500, min_users=5)
    rollout = Canary((0.3, 0.6), (0.9, 0.8), min_hours=24, max_hours=48, sequence=sequence)
    strategy = Strategy(Schedule(days=1), LastDays(2), Never(), rollout, "cold", step_hours=24, validation=validation)
    training = TrainingJob(Popular, world.items, spaces)
    start = world.day_of("2019-09-01")
    running = Loop(
        world,
        Deployment(training.fresh(), rollout, Registry(tmp_path / "registry", "test", 0), 0.1, tick=start * 24 - 1),
        strategy,
        training,
        FeedbackLog(tmp_path / "log", spaces),
        audit=Audit(tmp_path / "decisions.jsonl"),
    )
    running.run(start * 24, (start + 5) * 24 - 1)
    judged = decisions(tmp_path, "validation")
    assert [line["version"] for line in judged] == [2, 3, 4, 5, 6]
    assert {line["verdict"] for line in judged} == {"insufficient evidence"}
    assert 0.3 < judged[0]["rows"] / len(running.log.read(start, start)) < 0.7
    trained = decisions(tmp_path, "training")[0]
    assert (trained["window"], trained["held_out"]) == ("last 2 days", 0.5)
    assert trained["rows"] + judged[0]["rows"] == len(running.log.read(start, start))
    steps = [(line["version"], line["step"], line["verdict"]) for line in decisions(tmp_path, "rollout")]
    assert steps[0] == (2, "examination", "continue")
    assert (2, "canary 1 of 2", "continue") in steps
    served = running.log.read(start, start + 4)
    shares = [(served.version[served.keys.tick // 24 == start + day] == 2).mean() for day in range(2)]
    assert shares[0] == 0.0
    assert 0.05 < shares[1] < 0.6


class Fated(Agent):
    """Ranks items by weights of its own, `fate` being what is wrong with whatever `fit` makes of it."""

    def __init__(self, fate):
        self.fate, self.broken = fate, ""

    def begin(self, items, spaces, seed):
        super().begin(items, spaces, seed)
        self.weights = np.arange(spaces.n_items, dtype=np.float64)

    def act(self, observations, keys):
        if self.broken == "raising":
            raise RuntimeError("out of memory")
        scores = self.weights[observations["candidates"]]
        slates = top_k(np.zeros_like(scores) if self.broken == "constant" else scores, self.spaces.slate_size)
        if self.broken == "too many":
            slates = np.repeat(slates, 2, axis=1)
        slates = slates + np.int32(self.spaces.n_candidates * (self.broken == "out of range"))
        return Decision(slates, np.ones(slates.shape))

    def fit(self, window, start="warm"):
        self.weights, self.broken = self.rng.normal(size=len(self.weights)), self.fate
        if self.fate == "NaN":
            self.weights[3] = np.nan
        if self.fate == "slow":
            self.latency_ms = 31.0
        return {}

    def state(self):
        return {"weights": self.weights.copy()}

    def restore(self, state):
        self.weights = state["weights"].copy()


class LongAgo(LastDays):
    """A window that ends days before today, as if a feed had stopped."""

    def select(self, log, tick):
        return super().select(log, tick - 96)


@pytest.mark.parametrize(
    ("fate", "decision", "reason"),
    [
        ("raising", "validation", "fails: RuntimeError: out of memory"),
        ("out of range", "validation", "fails: ValueError: 'slates' must lie in [0, 50)"),
        ("too many", "validation", "fails: ValueError: 'slates' must hold 10 slots a page. Got 20."),
        ("constant", "rollout", "constant: the same slots on every page"),
        ("NaN", "rollout", "not a number: weights"),
        ("stale", "rollout", "stale: it learned until hour"),
        ("slow", "rollout", "too slow"),
    ],
)
def test_a_broken_candidate_is_refused_under_a_validation_too_and_the_run_goes_on(tmp_path, fate, decision, reason):
    world = World(seed=1, n_users=200, n_items=150, visits_per_day=60)
    spaces, start = Spaces(**world.sizes), world.day_of("2019-09-01")
    guards = [LatencyGuardrail(max_ms=30.0)]
    rollout = Canary((0.3, 0.6), (0.9, 0.8), sequence=Mixture(horizon=500, min_users=5), guardrails=guards)
    validation = OffPolicyValidation(days=2, matured_hours=0, held_out=0.5, margin=1.0, slice_margin=1.0)
    window, schedule = (LongAgo if fate == "stale" else LastDays)(2), Schedule(days=5)
    strategy = Strategy(schedule, window, Never(), rollout, "cold", step_hours=24, validation=validation)
    training = TrainingJob(lambda: Fated(fate), world.items, spaces)
    first = start + -(start + 1) % 5 - 4  # the fifth day is the one on which the schedule fires
    registry = Registry(tmp_path / "registry", "test", 0)
    running = Loop(
        world,
        Deployment(training.fresh(), rollout, registry, 0.1, tick=first * 24 - 1),
        strategy,
        training,
        FeedbackLog(tmp_path / "log", spaces),
        audit=Audit(tmp_path / "decisions.jsonl"),
    )
    running.run(first * 24, (first + 7) * 24 - 1)
    (trained,) = decisions(tmp_path, "training")
    assert (trained["verdict"], trained["tick"]) == ("trained", (first + 5) * 24 - 1)
    (judged,) = decisions(tmp_path, "validation")
    assert judged["rows"] > 100
    refused = [*([judged] if judged["verdict"] == "fail" else []), *decisions(tmp_path, "rollout")]
    assert [(line["decision"], line["verdict"]) for line in refused] == [
        (decision, "fail" if decision == "validation" else "rollback")
    ]
    assert refused[0]["reason"].startswith(reason)
    assert set(running.log.read(first, first + 6).version.tolist()) == {1}


def test_whole_days_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match="Got 0 and 22, hours 0 and 22"):
        loop(tmp_path / "run", nightly_hourly()).run(0, 22)


def test_hours_served_side_by_side_leave_the_same_log(tmp_path):
    """While nothing that serves changes, hour by hour and a day at once are the same, page for page."""
    versions = []
    for step in (1, 24):
        world = World(seed=2, n_users=120, n_items=150, visits_per_day=150)
        spaces, folder = Spaces(**world.sizes), tmp_path / str(step)
        training = TrainingJob(Popular, world.items, spaces)
        strategy = Strategy(Never(), LastDays(2), Never(), ImmediateRollout(), step_hours=step)
        deployment = Deployment(
            training.fresh(), strategy.rollout, Registry(folder / "registry", "test", 0), epsilon=0.0
        )
        running = Loop(world, deployment, strategy, training, FeedbackLog(folder / "log", spaces))
        running.run(0, 47)
        assert running.log.counts["pages"] > 200
        versions.append(running.log.data_version(0, 1))
    assert versions[0] == versions[1]


def test_a_step_that_a_schedule_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"'step_hours' must divide the hours between two firings of 'update', 1. Got 24"
    ):
        Strategy(Never(), LastDays(2), Schedule(hours=1), ImmediateRollout(), step_hours=24)
