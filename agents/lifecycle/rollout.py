"""Rollout: how a candidate comes to serve, and the deployment that serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Keys, Observations
from perennial.agents.exploring import STREAM, Exploring
from perennial.agents.lifecycle.decisions import RolloutRecord, TrainingRecord
from perennial.agents.lifecycle.registry import Registry, Version
from perennial.agents.lifecycle.training import Trained

Verdict = Literal["promote", "continue", "rollback"]


class Rollout(ABC):
    """Judges a candidate hour by hour, from its registration to its promotion or its end."""

    @property
    def name(self) -> str:
        """What the records call it."""
        return type(self).__name__

    @abstractmethod
    def judge(self, pages: Feedback, tick: int) -> tuple[Verdict, dict[str, float]]:
        """The verdict after the `pages` of hour `tick`, and the evidence for it."""


class ImmediateRollout(Rollout):
    """Every candidate serves everybody from the next hour on."""

    def judge(self, pages: Feedback, tick: int) -> tuple[Verdict, dict[str, float]]:
        return "promote", {}


@dataclass(frozen=True)
class Served:
    """A decision and who took it: ``version`` int32 (B,), ``explored`` bool (B,), the arm, in-place updates so far."""

    decision: Decision
    version: NDArray[np.int32]
    explored: NDArray[np.bool_]
    arm: str
    revision: int


class Deployment:
    """What visitors meet: the champion behind its exploration floor, and a candidate on its way.

    Arguments:
        champion: the first model, begun and fitted.
        rollout: how candidates come to serve.
        registry: where every model that serves is kept.
        epsilon: share of pages that show a uniform slate.
        seed: for the floor's own draws.
        tick: the hour before the first one served.
        training: how the first model came to be.
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
    ) -> None:
        self.rollout, self.registry = rollout, registry
        self.revision = 0
        self._serving = Exploring(champion, epsilon)
        self._serving.rng = np.random.default_rng([STREAM, seed])
        self._candidate: tuple[Agent, Version] | None = None
        self._unregistered = False
        self._version = registry.register(champion, tick, "initial", training=training)
        registry.point("champion", self.version, tick)

    @property
    def champion(self) -> Agent:
        """The model that serves, without the floor."""
        return self._serving.policy

    @property
    def version(self) -> int:
        """The registry's number of the champion."""
        return self._version.version

    def act(self, observations: Observations, keys: Keys) -> Served:
        """Serve a batch of pages."""
        decision = self._serving.act(observations, keys)
        explored = decision.extras.pop("explored")
        version = np.full(len(keys), self.version, np.int32)
        return Served(decision, version, explored, "champion", self.revision)

    def propose(self, trained: Trained) -> None:
        """Take what a training left: an update serves already, a candidate enters its rollout, a failure is nothing."""
        if trained.agent is None:
            return
        if trained.agent is self.champion:
            self.revision += 1
            self._unregistered = True
            return
        tick = trained.record.tick
        version = self.registry.register(trained.agent, tick, "fit", self.version, trained.record)
        self.registry.point("challenger", version.version, tick)
        self._candidate = (trained.agent, version)

    def advance(self, pages: Feedback, tick: int) -> list[RolloutRecord]:
        """Let the rollout judge the candidate, if there is one, and do as it says."""
        if self._candidate is None:
            return []
        agent, version = self._candidate
        verdict, evidence = self.rollout.judge(pages, tick)
        record = RolloutRecord(
            tick, self.rollout.name, version.version, self.version, verdict, version.data_version or "", evidence
        )
        if verdict == "promote":
            self._promote(agent, version, tick)
        if verdict != "continue":
            self._candidate = None
        return [record]

    def _promote(self, agent: Agent, version: Version, tick: int) -> None:
        self._serving.policy = agent
        self._version, self.revision, self._unregistered = version, 0, False
        self.registry.point("champion", version.version, tick)

    def end_day(self, tick: int) -> None:
        """Register the champion if it was updated in place since it last was."""
        if self._unregistered:
            self.registry.register(self.champion, tick, "update", self.version, revision=self.revision)
            self._unregistered = False
