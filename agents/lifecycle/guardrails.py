"""Guardrails: what may stop a candidate whatever its clicks say, and the examination before its first visitor.

Errors of a step. Its sequence and each of its guardrails are given the same alpha, that of the rollout divided by its
steps, and none is divided among them. A guardrail can only stop, so that a harmful candidate still gets forward with
chance alpha / 2 at most, whatever guardrails there are. A harmless one may be stopped by any of them: one that stands
right on every limit at once is stopped falsely with chance at most (1 + b + 2 f) alpha / 2 a step, by the sum over
the sequence's lower side, b bounce guardrails (their upper side) and f fairness guardrails (groups, and providers);
latency is known and errs never. For ``conf/strategy/nightly_canary.yaml`` that is 4 x .025 / 2 = 5 % a step and 10 %
in its two steps. A candidate equal to the champion stands on the sequence's limit alone, 1.25 % a step, and far from
the others', which accept a loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback
from perennial.agents.lifecycle.evidence import UserLedger
from perennial.agents.lifecycle.rollout import Trial, asked, check_slates
from perennial.agents.lifecycle.sequential import ConfidenceSequence, Mixture
from perennial.agents.validation import number, whole

ENOUGH_PAGES = 20
"""Pages with candidates in an order without meaning on which nobody shows the same slots by chance."""


Evidence = Literal["none", "visitors", "lot"]
"""From least to most: no visitor has met the candidate; visitors have; users were dealt to both arms by lot."""


@dataclass(frozen=True)
class Reading:
    """What a guardrail says: why the candidate must go (empty: it need not), and the figures that says so."""

    reason: str
    figures: dict[str, float]


class Guardrail(ABC):
    """Reads the evidence of one step of a rollout, as often as asked.

    ``needs``: the least evidence with which it can ever speak; a rollout that gathers less refuses it.
    """

    @property
    def needs(self) -> Evidence:
        return "visitors"

    def inform(self, audit: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027 - most ask for none
        """Audit tables: ``protected`` (U,) of the users, ``provider`` (N,) of the items."""

    def begin(self, trial: Trial, share: float, alpha: float) -> None:  # noqa: B027 - most have nothing to prepare
        """A step begins in which the candidate serves `share` of the users; errors are to stay below `alpha`."""

    def count(self, pages: Feedback, candidate: NDArray[np.bool_]) -> None:  # noqa: B027 - most read the ledger
        """Pages of the step; `candidate` bool (P,): the arm."""

    @abstractmethod
    def read(self, ledger: UserLedger) -> Reading:
        """What the step's evidence says by now."""


class BounceGuardrail(Guardrail):
    """Stops a candidate shown to send more visitors away without a click.

    Arguments
    ---------
    max_increase : accepted rise of the bounce rate, absolute
    sequence : how it is shown, a sequence of a bounce metric; its own alpha gives way to the rollout's
    """

    def __init__(self, max_increase: float = 0.02, sequence: ConfidenceSequence | None = None) -> None:
        self.max_increase = number("max_increase", max_increase, 0.0, 1.0)
        self.sequence = Mixture("bounce") if sequence is None else sequence

    @property
    def needs(self) -> Evidence:
        return "lot" if self.sequence.by_lot else "visitors"

    def begin(self, trial: Trial, share: float, alpha: float) -> None:
        self.sequence.begin(share, alpha)

    def read(self, ledger: UserLedger) -> Reading:
        found = self.sequence.estimate(ledger)
        figures = {"bounce": found.difference, "bounce_low": found.low, "bounce_high": found.high}
        reason = "bounces more" if found.low >= self.max_increase else ""
        return Reading(reason, figures | {"bounce_max": self.max_increase})


class LatencyGuardrail(Guardrail):
    """Stops a candidate whose declared cost of a decision is too high; it is known before anybody is served.

    The cost is the deployment's word, the same that its monitor watches.

    Arguments
    ---------
    max_ms : milliseconds a decision may take
    """

    def __init__(self, max_ms: float = 30.0) -> None:
        self.max_ms = number("max_ms", max_ms, 0.0, above=True)
        self._latency = 0.0

    @property
    def needs(self) -> Evidence:
        return "none"

    def begin(self, trial: Trial, share: float, alpha: float) -> None:
        self._latency = trial.latency_ms

    def read(self, ledger: UserLedger) -> Reading:
        reason = "too slow" if self._latency > self.max_ms else ""
        return Reading(reason, {"latency_ms": self._latency, "latency_max_ms": self.max_ms})


def _nans(agent: Agent) -> set[str]:
    """The arrays of an agent's state that hold NaN; some keep one on purpose, as a generator's unset second normal."""
    return {
        name
        for name, array in agent.state().items()
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any()
    }


class Examination:
    """Looks at a candidate before its first visitor: what is broken in itself needs no visitor to show it.

    Arguments
    ---------
    max_age_hours : how far what it learned from may lie back
    """

    def __init__(self, max_age_hours: int = 72) -> None:
        self.max_age_hours = whole("max_age_hours", max_age_hours, 1)

    def examine(self, trial: Trial, pages: Feedback) -> str:
        """What is wrong with the candidate, on pages just served; empty if nothing is."""
        if fresh := sorted(_nans(trial.candidate) - _nans(trial.champion)):
            return f"not a number: {', '.join(fresh)}"
        if trial.same:
            return "stale: its parameters are the champion's"
        if 0 <= trial.trained_until < trial.tick - self.max_age_hours:
            return f"stale: it learned until hour {trial.trained_until}"
        return self._decides(trial.candidate, pages)

    @staticmethod
    def _decides(agent: Agent, pages: Feedback) -> str:
        try:
            decision = asked(agent, pages)
            check_slates(decision, pages.observations["candidates"].shape, pages.slates.shape[1])
        except Exception as error:
            return f"fails: {type(error).__name__}: {error}"
        slates = decision.slates
        if len(slates) >= ENOUGH_PAGES and (slates == slates[0]).all():
            return "constant: the same slots on every page"
        return ""
