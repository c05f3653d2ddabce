"""The closed loop: serve, respond, log, monitor, review, decide, retrain, roll out, audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Keys
from perennial.agents.lifecycle.checkpoint import Checkpoint, NoCheckpoint
from perennial.agents.lifecycle.decisions import Audit, Record
from perennial.agents.lifecycle.fairness import FairnessReport, NoFairness
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.rollout import Deployment, Served
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.timings import Timings
from perennial.agents.lifecycle.training import Trained, TrainingJob
from perennial.agents.lifecycle.validation import Case
from perennial.experiments.delivery import Delivery


class World(Protocol):
    """What the loop asks of a shop, `perennial.envs.World` in practice; see there."""

    def arrivals(self, tick: int, last: int) -> Any: ...

    def keys(self, visits: Any) -> dict[str, NDArray[Any]]: ...

    def observe(self, visits: Any) -> dict[str, NDArray[Any]]: ...

    def respond(self, visits: Any, slates: NDArray[np.int32]) -> Any: ...


class Scorer(Protocol):
    """Keeps the score with the help of ground truth; nothing of it reaches the lifecycle."""

    def arrivals(self, tick: int, potential: int) -> None:
        """The hours from `tick` on, of one day, begin with so many would-be visits."""

    def before(self, visits: Any, slates: NDArray[np.int32]) -> None:
        """The slates about to be served, while the world still stands where they are."""

    def after(self, keys: Keys, answer: Any) -> None:
        """What came of them."""


class NoScorer:
    """Keeps no score."""

    def arrivals(self, tick: int, potential: int) -> None:
        """Nothing to do."""

    def before(self, visits: Any, slates: NDArray[np.int32]) -> None:
        """Nothing to do."""

    def after(self, keys: Keys, answer: Any) -> None:
        """Nothing to do."""


KEPT_APART = ("world", "training", "log", "audit", "checkpoint")
"""The parts of a loop that a checkpoint does not hold: they keep their own state, or have none."""


@dataclass
class Loop:
    """Everything that takes part in the closed loop; `run` may be called again to go on."""

    world: World
    deployment: Deployment
    strategy: Strategy
    training: TrainingJob
    log: FeedbackLog
    monitor: Monitor = field(default_factory=Monitor)
    audit: Audit = field(default_factory=Audit)
    scorer: Scorer = field(default_factory=NoScorer)
    fairness: FairnessReport | NoFairness = field(default_factory=NoFairness)
    timings: Timings = field(default_factory=Timings)
    delivery: Delivery = field(default_factory=Delivery)
    checkpoint: Checkpoint | NoCheckpoint = field(default_factory=NoCheckpoint)

    def run(self, first_tick: int, last_tick: int, progress: Callable[[int], object] | None = None) -> None:
        """Live through some hours, both included, whole days from hour 0; `progress` hears of each day that ended."""
        if first_tick % HOURS or (last_tick + 1) % HOURS or last_tick < first_tick:
            raise ValueError(
                "'first_tick' must be hour 0 of a day and 'last_tick' hour 23 of it or of a later one. "
                f"Got {first_tick} and {last_tick}, hours {first_tick % HOURS} and {last_tick % HOURS}."
            )
        step = self.strategy.step_hours
        for tick in range(first_tick + step - 1, last_tick + 1, step):
            self._serve(tick - step + 1, tick)
            self.delivery.deliver(self.log, tick - step + 1, tick)
            pages = self.log.close(tick)
            self.monitor.update(pages, tick, self.log.converted())
            self.fairness.update(pages)
            self._review(tick)
            self._learn(tick)
            self._roll_out(pages, tick)
            if (tick + 1) % HOURS == 0:
                self._end_day(tick)
                if progress is not None:
                    progress(tick // HOURS)

    def _serve(self, first: int, last: int) -> None:
        """All pages of the hours `first` to `last`, wave by wave: the next page of every visit still open."""
        visits = self.world.arrivals(first, last)
        self.scorer.arrivals(first, visits.potential)
        while len(visits.active):
            keys, observations = Keys(**self.world.keys(visits)), self.world.observe(visits)
            with self.timings.measure("decision"):
                served = self.deployment.act(observations, keys)
            self._mark_for_review(visits, observations, keys, served)
            self.scorer.before(visits, served.decision.slates)
            answer = self.world.respond(visits, served.decision.slates)
            self.scorer.after(keys, answer)
            pages = as_feedback(keys, observations, served, answer)
            served.log_into(partial(self.delivery.send, self.log), pages)

    def _mark_for_review(self, visits: Any, observations: dict[str, NDArray[Any]], keys: Keys, served: Served) -> None:
        """The least certain of the pages about to be served; the reviewer may look at them while they are open."""
        strategy, serving = self.strategy, self.deployment
        kept = strategy.validation.held_out
        rows = strategy.review.choose(serving.champion, observations, keys, served, serving.version, kept)
        if strategy.review.reviewer is not None:
            strategy.review.reviewer.see(visits, keys, served.decision.slates, rows)

    def _review(self, tick: int) -> None:
        """At the end of a day the reviewer is asked, and what has been answered enters the log before the training."""
        if (tick + 1) % HOURS:
            return
        labels, records = self.strategy.review.end_day(tick)
        if labels is not None:
            self.log.label(labels)
        for record in records:
            self.audit.write(record, self.deployment.version, self.deployment.revision)

    def _learn(self, tick: int) -> None:
        """Ask the strategy, and carry out what it orders."""
        orders = self.strategy.decide(self.monitor, tick)
        for record in self.strategy.records:
            self.audit.write(record, self.deployment.version, self.deployment.revision)
        for order in orders:
            with self.timings.measure(order.kind):
                trained = self.training.run(order, self.log, self.deployment.champion, self.deployment.version)
            self.audit.write(trained.record, self.deployment.version, self.deployment.revision)
            admitted = self._propose(trained, tick)
            self.strategy.settle(order, trained.record.verdict if admitted else "refused")

    def _propose(self, trained: Trained, tick: int) -> bool:
        """A candidate is judged on what was logged, and enters its rollout or not; an update serves already."""
        serving, judged = self.deployment, None
        if trained.agent is not None and trained.agent is not serving.champion:
            judged = self.strategy.validation.judge(self._case(trained.agent, tick), self.log)
        admitted = self.strategy.validation.admits(judged)
        version = serving.propose(trained, admitted)
        if judged is not None:
            self.audit.write(replace(judged, version=version or 0), serving.version, serving.revision)
        return admitted

    def _case(self, candidate: Agent, tick: int) -> Case:
        serving, training = self.deployment, self.training
        items = training.items(tick) if callable(training.items) else training.items
        return Case(
            candidate, serving.champion, serving.version, items, training.spaces, serving.epsilon, serving.since, tick
        )

    def _roll_out(self, pages: Feedback, tick: int) -> None:
        before = self.deployment.version, self.deployment.revision
        for record in self.deployment.advance(pages, tick):
            self.audit.write(record, *before)

    def _end_day(self, tick: int) -> None:
        """Everything of the day goes to disk; once the checkpoint is there, the day counts."""
        day = tick // HOURS
        self.deployment.end_day(tick)
        version, revision = self.deployment.version, self.deployment.revision
        records: list[Record] = [*self.monitor.alerts, *self.fairness.end_day(day, tick)]
        for record in records:
            self.audit.write(record, version, revision)
        self.audit.end_day(day, tick, self.monitor.figures(), version, revision, self.monitor.unwatched)
        with self.timings.measure("commit"):
            self.log.commit(day)
            self.checkpoint.commit(day, self._remembering(), self.world)
            self.deployment.registry.prune()

    def _remembering(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in KEPT_APART}


def as_feedback(keys: Keys, observations: dict[str, NDArray[Any]], served: Served, answer: Any) -> Feedback:
    """One wave of served pages and their answer, as the log takes it."""
    slates = served.decision.slates
    return Feedback(
        keys=keys,
        observations=observations,
        slates=slates,
        slate_items=np.take_along_axis(observations["candidates"], slates, axis=1),
        clicked=answer.clicked,
        carted=answer.carted,
        purchased=answer.purchased,
        not_interested=answer.not_interested,
        reward=answer.reward,
        terminated=answer.terminated,
        truncated=answer.truncated,
        slot_propensity=served.decision.slot_propensity,
        version=served.version,
        explored=served.explored,
        extras=served.decision.extras,
    )
