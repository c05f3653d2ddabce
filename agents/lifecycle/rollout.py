"""Rollout: how a candidate comes to serve, and the deployment that serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Keys, Observations
from perennial.agents.exploring import STREAM, Exploring
from perennial.agents.lifecycle.cost import DeclaredCost, VersionCosts
from perennial.agents.lifecycle.decisions import RolloutRecord, TrainingRecord
from perennial.agents.lifecycle.hashing import BUCKETS, buckets, key_of
from perennial.agents.lifecycle.registry import Registry, Version
from perennial.agents.lifecycle.training import Trained

Verdict = Literal["promote", "continue", "rollback"]


@dataclass(frozen=True)
class Trial:
    """What a rollout is about: `candidate`, registered as `version` at hour `tick`, would follow `champion`.

    ``trained_until``: the last hour it learned from, -1 if unknown. ``same``: its parameters are the champion's.
    ``latency_ms``: declared milliseconds of one of the candidate's decisions.
    """

    candidate: Agent
    champion: Agent
    version: int
    parent: int
    tick: int
    trained_until: int = -1
    same: bool = False
    latency_ms: float = 0.0


class Rollout(ABC):
    """Judges a candidate hour by hour, from its registration to its promotion or its end.

    ``parts``: ten-thousandths of the users that the candidate serves now. ``shadow``: it decides on every page, unseen.
    ``step``, ``reason``: what it is doing, and why it last judged as it did, for the records. ``keeps``: whether both
    models of every verdict are to be kept, so that it can be judged by the truth afterwards.
    """

    parts: int = 0
    shadow: bool = False
    keeps: bool = False
    step: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """What the records call it."""
        return type(self).__name__

    def inform(self, audit: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027 - most ask for none
        """Audit tables for guardrails: ``protected`` (U,) of the users, ``provider`` (N,) of the items."""

    def begin(self, trial: Trial) -> None:  # noqa: B027 - some have nothing to prepare
        """A candidate enters."""

    def shadowed(self, same: NDArray[np.float64]) -> None:  # noqa: B027 - most have no shadow
        """On so many pages the candidate would have shown this share of the champion's items."""

    def failed(self, error: str) -> None:  # noqa: B027 - without a share nothing can fail
        """The candidate gave no valid slates; the champion served in its place."""

    @abstractmethod
    def judge(self, pages: Feedback, tick: int) -> tuple[Verdict, dict[str, float]]:
        """The verdict after the `pages` of hour `tick`, and the evidence for it."""


class ImmediateRollout(Rollout):
    """Every candidate serves everybody from the next hour on."""

    def judge(self, pages: Feedback, tick: int) -> tuple[Verdict, dict[str, float]]:
        return "promote", {}


@dataclass(frozen=True)
class Served:
    """A decision and who took it.

    ``version`` int32 (B,), ``explored`` bool (B,), ``revision``: in-place updates of the champion so far,
    ``challenger`` bool (B,): by the candidate on its way; None where there is none.
    """

    decision: Decision
    version: NDArray[np.int32]
    explored: NDArray[np.bool_]
    revision: int = 0
    challenger: NDArray[np.bool_] | None = None

    def log_into(self, append: Any, pages: Feedback) -> None:
        """Hand the served pages to a log's `append`, arm by arm."""
        if self.challenger is None or not self.challenger.any():
            append(pages, "champion", self.revision)
            return
        if not self.challenger.all():
            append(pages.take(~self.challenger), "champion", self.revision)
        append(pages.take(self.challenger), "challenger", 0)


class Deployment:
    """What visitors meet: the champion behind its exploration floor, and a candidate on its way.

    While a candidate is on its way, the newest of those that come after it waits, and enters when it has ended.

    Arguments:
        champion: the first model, begun and fitted.
        rollout: how candidates come to serve.
        registry: where every model that serves is kept.
        epsilon: share of pages that show a uniform slate.
        seed: for the floor's own draws, and which users meet which arm.
        tick: the hour before the first one served.
        training: how the first model came to be.
        cost: what a decision costs, by declaration; ``latency`` gives it page by page.
    """

    def __init__(
        self,
        champion: Agent,
        rollout: Rollout,
        registry: Registry,
        epsilon: float = 0.02,
        seed: int = 0,
        tick: int = 0,
        training: TrainingRecord | None = None,
        cost: DeclaredCost | None = None,
    ) -> None:
        self.rollout, self.registry = rollout, registry
        self.latency = VersionCosts(DeclaredCost() if cost is None else cost)
        self.epsilon, self.seed, self.since = epsilon, seed, tick + 1
        self.revision = 0
        self._serving = Exploring(champion, epsilon)
        self._serving.rng = np.random.default_rng([STREAM, seed])
        self._candidate: tuple[Exploring, Version] | None = None
        self._waiting: tuple[Agent, Version] | None = None
        self._superseded: list[RolloutRecord] = []
        self._unregistered = False
        self._extras: dict[str, NDArray[Any]] = {}
        self._version = registry.register(champion, tick, "initial", training=training)
        registry.point("champion", self.version, tick)
        self.latency.settle(self.version, champion)

    @property
    def champion(self) -> Agent:
        """The model that serves, without the floor."""
        return self._serving.policy

    @property
    def version(self) -> int:
        """The registry's number of the champion."""
        return self._version.version

    # -- serving ------------------------------------------------------------------------------------------------------

    def challenged(self, users: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool (B,): which users meet the candidate; the same ones as long as its share stays, more as it grows."""
        if self._candidate is None or self.rollout.parts == 0:
            return np.zeros(len(users), np.bool_)
        if self.rollout.parts == BUCKETS:
            return np.ones(len(users), np.bool_)
        key = key_of(f"rollout {self.seed} {self._candidate[1].version}")
        return buckets(users, key) < self.rollout.parts

    def act(self, observations: Observations, keys: Keys) -> Served:
        """Serve a batch of pages, each by the arm of its user."""
        challenger = self.challenged(keys.user_id)
        theirs = self._try(observations, keys, challenger) if challenger.any() else None
        if theirs is None:
            served = self._champions(observations, keys)
            self._watch(observations, keys, served)
            return served
        if challenger.all():
            return self._joined(theirs, None, challenger)
        rest = {name: array[~challenger] for name, array in observations.items()}
        return self._joined(theirs, self._champion_acts(rest, keys.take(~challenger)), challenger)

    def _champion_acts(self, observations: Observations, keys: Keys) -> Decision:
        decision = self._serving.act(observations, keys)
        self._extras = {name: array[:0] for name, array in decision.extras.items() if name != "explored"}
        return decision

    def _champions(self, observations: Observations, keys: Keys) -> Served:
        decision = self._champion_acts(observations, keys)
        explored = decision.extras.pop("explored")
        return Served(decision, np.full(len(keys), self.version, np.int32), explored, self.revision)

    def _try(self, observations: Observations, keys: Keys, rows: NDArray[np.bool_]) -> Decision | None:
        """What the candidate decides for its users; None if that is nothing that can be shown."""
        assert self._candidate is not None
        seen = {name: array[rows] for name, array in observations.items()}
        try:
            decision = self._candidate[0].act(seen, keys.take(rows))
            check_slates(decision, seen["candidates"].shape)
        except Exception as error:
            self.rollout.failed(f"{type(error).__name__}: {error}")
            return None
        return decision

    def _joined(self, theirs: Decision, ours: Decision | None, challenger: NDArray[np.bool_]) -> Served:
        """Both arms' decisions in the order of the batch. Extras are the champion's, and 0 on the candidate's pages."""
        assert self._candidate is not None
        size, number = theirs.slates.shape[1], self._candidate[1].version
        slates, propensity = np.empty((len(challenger), size), np.int32), np.empty((len(challenger), size))
        explored, extras = np.empty(len(challenger), np.bool_), {}
        for decision, rows in ((theirs, challenger), (ours, ~challenger)):
            if decision is not None:
                slates[rows], propensity[rows] = decision.slates, decision.slot_propensity
                explored[rows] = decision.extras.pop("explored")
        for name, array in (self._extras if ours is None else ours.extras).items():
            extras[name] = np.zeros((len(challenger), *array.shape[1:]), array.dtype)
            extras[name][~challenger] = array
        version = np.where(challenger, number, self.version).astype(np.int32)
        return Served(Decision(slates, propensity, extras), version, explored, self.revision, challenger)

    def _watch(self, observations: Observations, keys: Keys, served: Served) -> None:
        """Let a candidate in its shadow decide on the same pages, which nobody sees."""
        if self._candidate is None or not self.rollout.shadow:
            return
        theirs = self._try(observations, keys, np.ones(len(keys), np.bool_))
        if theirs is None:
            return
        rows = ~served.explored & ~theirs.extras["explored"]
        ours = served.decision.slates[rows][:, :, None] == theirs.slates[rows][:, None, :]
        self.rollout.shadowed(ours.any(axis=2).mean(axis=1))

    # -- candidates ---------------------------------------------------------------------------------------------------

    def propose(self, trained: Trained, admitted: bool = True) -> int | None:
        """Take what a training left: an update serves already, a candidate enters its rollout, a failure is nothing.

        Returns the number a candidate is registered under. One that was not `admitted` is registered and no more.
        """
        if trained.agent is None:
            return None
        if trained.agent is self.champion:
            self.revision += 1
            self._unregistered = True
            return None
        tick = trained.record.tick
        version = self.registry.register(trained.agent, tick, "fit", self.version, trained.record)
        if admitted and self._candidate is None:
            self._enter(trained.agent, version, tick)
        elif admitted:
            if self._waiting is not None:
                self._superseded.append(self._record(self._waiting[1], tick, "superseded", {}, "a newer one waits"))
            self._waiting = trained.agent, version
        return version.version

    def _enter(self, agent: Agent, version: Version, tick: int) -> None:
        floor = Exploring(agent, self.epsilon)
        floor.rng = np.random.default_rng([STREAM, self.seed, version.version])
        self._candidate = floor, version
        self.registry.point("challenger", version.version, tick)
        until = (version.training or {}).get("last_tick", -1)
        same = version.artifact == self._version.artifact and not self._unregistered
        cost = self.latency.settle(version.version, agent)
        trial = Trial(agent, self.champion, version.version, self.version, tick, int(str(until)), same, cost)
        self.rollout.begin(trial)

    def advance(self, pages: Feedback, tick: int) -> list[RolloutRecord]:
        """Let the rollout judge the candidate, if there is one, and do as it says."""
        records, self._superseded = self._superseded, []
        if self._candidate is None:
            return records
        floor, version = self._candidate
        step, share = self.rollout.step, self.rollout.parts / BUCKETS
        verdict, evidence = self.rollout.judge(pages, tick)
        record = self._record(version, tick, verdict, evidence, self.rollout.reason)
        records.append(replace(record, step=step, share=share))
        if verdict != "continue" and self.rollout.keeps:
            self.registry.point(f"judged {version.version}", version.version, tick)
            self.registry.point(f"judged {version.version} against", self.version, tick)
        if verdict == "promote":
            self._promote(floor, version, tick)
        if verdict != "continue":
            self._candidate = None
            if self._waiting is not None:
                (agent, waiting), self._waiting = self._waiting, None
                self._enter(agent, waiting, tick)
        return records

    def _record(
        self, version: Version, tick: int, verdict: str, evidence: dict[str, float], reason: str
    ) -> RolloutRecord:
        return RolloutRecord(
            tick=tick,
            rollout=self.rollout.name,
            version=version.version,
            parent=self.version,
            verdict=verdict,
            data_version=version.data_version or "",
            evidence=evidence,
            reason=reason,
        )

    def _promote(self, floor: Exploring, version: Version, tick: int) -> None:
        self._serving.policy = floor.policy
        self._version, self.revision, self._unregistered = version, 0, False
        self.registry.point("champion", version.version, tick)

    def end_day(self, tick: int) -> None:
        """Register the champion if it was updated in place since it last was."""
        if self._unregistered:
            self.registry.register(self.champion, tick, "update", self.version, revision=self.revision)
            self.latency.settle(self.version, self.champion)
            self._unregistered = False


def asked(agent: Agent, pages: Feedback) -> Decision:
    """What `agent` decides on these pages; it is left where it stood, even if it draws lots or fails half-way."""
    before = {name: array.copy() for name, array in agent.state().items()}
    try:
        return agent.act(pages.observations, pages.keys)
    finally:
        agent.restore(before)


def check_slates(decision: Decision, shape: tuple[int, ...], size: int | None = None) -> None:
    """Raise unless these slates can be shown: whole numbers, slots into the candidates (B, M), with propensities.

    `size`: how many slots a slate has; None: it is not known here.
    """
    slates, propensity = decision.slates, decision.slot_propensity
    if slates.ndim != 2 or len(slates) != shape[0] or not np.issubdtype(slates.dtype, np.integer):
        raise ValueError(f"'slates' must be whole numbers, one row a page. Got {slates.dtype} of shape {slates.shape}.")
    if size is not None and slates.shape[1] != size:
        raise ValueError(f"'slates' must hold {size} slots a page. Got {slates.shape[1]}.")
    if slates.size and (slates.min() < 0 or slates.max() >= shape[1]):
        raise ValueError(f"'slates' must lie in [0, {shape[1]}). Got {slates.min()} to {slates.max()}.")
    if propensity.shape != slates.shape or (propensity <= 0).any() or (propensity > 1 + 1e-9).any():
        raise ValueError("'slot_propensity' must lie in (0, 1], one for each slot.")
