"""Careful rollouts: shadow, canary, A/B, blue-green: steps that only evidence leads from one to the next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.evidence import UserLedger
from perennial.agents.lifecycle.guardrails import Evidence, Examination, Guardrail
from perennial.agents.lifecycle.hashing import BUCKETS, parts_of
from perennial.agents.lifecycle.rollout import Rollout, Trial, Verdict
from perennial.agents.lifecycle.sequential import ConfidenceSequence, Estimate, Mixture
from perennial.agents.validation import number, whole

EXAMINATION = "examination"
Judged = tuple[Verdict, dict[str, float]]
NEEDED: dict[Evidence, str] = {
    "none": "nothing",
    "visitors": "visitors who meet the candidate",
    "lot": "users dealt to both arms by lot",
}
"""What each evidence is, in words."""
OFFERED: dict[Evidence, str] = {
    "none": "nobody meets it here: leave it out, or take a Canary or an ABTest",
    "visitors": "the arms here are two times: take a Mixture in its place, or a Canary or an ABTest",
}
"""What a rollout that offers less than a lot says of itself, and the next step."""


class Staged(Rollout):
    """What careful rollouts share: examine the candidate, then count by user what each arm earns, and read guardrails.

    Nobody is served before the examination on a step's pages found nothing. A candidate that fails to decide, or that
    a guardrail stops, is rolled back at once: the champion never ceased to be there. All evidence of a step is
    gathered afresh, since users who change arms, or shares that change, would mix days with arms; the chance of an
    error is divided among the steps, and given whole to the sequence and to each guardrail: `guardrails` says what
    that makes of a step. ``offers``: the evidence it gathers; what needs more is refused, for it would be silent.

    Arguments
    ---------
    sequence : how the arms are compared; its alpha is that of the whole rollout
    guardrails : what may stop the candidate besides
    examination : what is looked at before its first visitor
    """

    def __init__(
        self,
        sequence: ConfidenceSequence | None = None,
        guardrails: Sequence[Guardrail] = (),
        examination: Examination | None = None,
    ) -> None:
        self.sequence = Mixture() if sequence is None else sequence
        self.guardrails = list(guardrails)
        self.examination = Examination() if examination is None else examination
        self._refuse_silent()

    steps: int = 1
    keeps = True
    offers: Evidence = "lot"

    def _refuse_silent(self) -> None:
        """Raise for what could never speak on the evidence of this rollout."""
        asked: list[tuple[str, str, Evidence]] = [("guardrails", _called(rail), rail.needs) for rail in self.guardrails]
        asked.append(("sequence", type(self.sequence).__name__, "lot" if self.sequence.by_lot else "none"))
        order = get_args(Evidence)
        for argument, got, need in asked:
            if order.index(need) > order.index(self.offers):
                raise ValueError(
                    f"'{argument}' of a {type(self).__name__} must be able to speak. Got {got}, which needs "
                    f"{NEEDED[need]}; {OFFERED[self.offers]}."
                )

    def inform(self, audit: Mapping[str, NDArray[Any]]) -> None:
        for guardrail in self.guardrails:
            guardrail.inform(audit)

    def begin(self, trial: Trial) -> None:
        self._trial, self._failure = trial, ""
        self._start(EXAMINATION, 0, -1)

    def _start(self, step: str, parts: int, tick: int, shadow: bool = False) -> None:
        """A step begins after hour `tick`."""
        self.step, self.parts, self.shadow, self._since = step, parts, shadow, tick
        self._ledger = UserLedger()
        share, alpha = parts / BUCKETS, self.sequence.alpha / self.steps
        self.sequence.begin(share, alpha)
        for guardrail in self.guardrails:
            guardrail.begin(self._trial, share, alpha)

    def failed(self, error: str) -> None:
        self._failure = self._failure or error

    def judge(self, pages: Feedback, tick: int) -> Judged:
        self.reason = ""
        if self._failure:
            return self._end("rollback", f"fails: {self._failure}", {"hours": self._hours(tick)})
        if self.step == EXAMINATION:
            return self._examine(pages, tick)
        self._count(pages)
        figures = {"hours": self._hours(tick)}
        for guardrail in self.guardrails:
            reading = guardrail.read(self._ledger)
            figures |= reading.figures
            if reading.reason:
                return self._end("rollback", reading.reason, figures)
        verdict, more = self._decide(tick)
        return verdict, figures | more

    def _examine(self, pages: Feedback, tick: int) -> Judged:
        """One look at the candidate itself, as soon as there are pages to try it on."""
        figures = {"pages": float(len(pages))}
        if not len(pages):
            self.reason = "no page to try it on"
            return "continue", figures
        fault = self.examination.examine(self._trial, pages)
        for guardrail in self.guardrails:
            reading = guardrail.read(self._ledger)
            fault, figures = fault or reading.reason, figures | reading.figures
        if fault:
            return self._end("rollback", fault, figures)
        self._first_step(tick)
        return "continue", figures

    def _count(self, pages: Feedback) -> None:
        """The pages both arms served since the step began."""
        candidate = pages.version == self._trial.version
        rows = (pages.keys.tick > self._since) & (candidate | (pages.version == self._trial.parent))
        pages, candidate = pages.take(rows), candidate[rows]
        self._ledger.add(pages, candidate)
        for guardrail in self.guardrails:
            guardrail.count(pages, candidate)

    def _hours(self, tick: int) -> float:
        """Hours since the step began; those before the examination do not count."""
        return float(tick - self._since) if self._since >= 0 else 0.0

    def _end(self, verdict: Verdict, reason: str, figures: dict[str, float]) -> Judged:
        self.reason = reason
        return verdict, figures

    @abstractmethod
    def _first_step(self, tick: int) -> None:
        """The examination is passed: begin to serve, or to watch, at the end of hour `tick`."""

    @abstractmethod
    def _decide(self, tick: int) -> Judged:
        """The verdict at the end of hour `tick`, on all that was counted since the step began."""


def _called(guardrail: Guardrail) -> str:
    sequence = getattr(guardrail, "sequence", None)
    return type(guardrail).__name__ + (f" with {type(sequence).__name__}" if sequence is not None else "")


def _told(found: Estimate) -> dict[str, float]:
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "candidate": found.candidate,
        "champion": found.champion,
        "candidate_users": float(found.users[0]),
        "champion_users": float(found.users[1]),
    }


class Shadow(Staged):
    """The candidate decides on everybody's pages, unseen, for some hours; then it serves everybody.

    It finds what fails, is slow or shows nothing but nonsense; whether visitors like it, it cannot tell: a model 5 %
    worse is promoted every time. Guardrails that read what visitors do would never speak, and are refused.

    Arguments
    ---------
    hours : how long
    min_agreement : share of the champion's items that it must show too, averaged over the pages
    """

    offers = "none"

    def __init__(
        self,
        hours: int = 24,
        min_agreement: float = 0.0,
        guardrails: Sequence[Guardrail] = (),
        examination: Examination | None = None,
    ) -> None:
        super().__init__(None, guardrails, examination)
        self.hours = whole("hours", hours, 1)
        self.min_agreement = number("min_agreement", min_agreement, 0.0, 1.0)

    def _first_step(self, tick: int) -> None:
        self._agreed, self._pages = 0.0, 0
        self._start("shadow", 0, tick, shadow=True)

    def shadowed(self, same: NDArray[np.float64]) -> None:
        self._agreed, self._pages = self._agreed + float(same.sum()), self._pages + len(same)

    def _decide(self, tick: int) -> Judged:
        agreement = self._agreed / self._pages if self._pages else 0.0
        figures = {"agreement": agreement, "min_agreement": self.min_agreement, "shadow_pages": float(self._pages)}
        if self._hours(tick) < self.hours or not self._pages:
            return "continue", figures
        if agreement < self.min_agreement:
            return self._end("rollback", "shows too little of what the champion shows", figures)
        return self._end("promote", "stood in the shadow without a fault", figures)


class Canary(Staged):
    """A growing share of the users, one step after the other, as long as the candidate is shown not to be worse.

    A step ends well once its minimum hours are over and the candidate is shown to be no more than the step's
    `tolerance` worse; it ends the rollout when the candidate is shown to be worse at all, or when its maximum hours
    are over and nothing is shown. So a candidate that is worse by more than the first tolerance leaves the first step
    forward with chance alpha / (2 steps) at most.

    It guards against harm and does not ask for a gain: what the last tolerance lets pass, passes. With the settings of
    ``conf/strategy/nightly_canary.yaml`` but for the last tolerance, guardrails aside, in a gift shop of 4,000 users
    (`perennial-rollouts`, 1,000 repetitions, 95 % intervals; median days to it) it promotes

    ==============  ===================  ===============  ===================
    last tolerance  of models 5 % worse  of equal ones    of those 5 % better
    ==============  ===================  ===============  ===================
    .1              50 % [47, 53]        99.6 % (3 days)  100 % (2 days)
    .07             3.4 % [2.4, 4.7]     92 % (6 days)    100 % (3 days)
    .05             0.2 % [0.0, 0.7]     51 % (7 days)    100 % (3 days)
    ==============  ===================  ===============  ===================

    Smaller shops pay more for a smaller tolerance; `ABTest` promotes next to none that is not better.

    Arguments
    ---------
    shares : of the users, one for each step, growing
    tolerances : accepted loss of each step, as a share of the champion's mean; make the last one smaller to let fewer
        lesser models pass, and wait longer
    min_hours, max_hours : of each step
    """

    def __init__(
        self,
        shares: Sequence[float] = (0.05, 0.2, 0.5),
        tolerances: Sequence[float] = (0.3, 0.15, 0.1),
        min_hours: int = 24,
        max_hours: int = 240,
        sequence: ConfidenceSequence | None = None,
        guardrails: Sequence[Guardrail] = (),
        examination: Examination | None = None,
    ) -> None:
        super().__init__(sequence, guardrails, examination)
        self.shares = [parts_of("shares", share) for share in shares]
        self.tolerances = [number("tolerances", tolerance, 0.0, 1.0) for tolerance in tolerances]
        if not self.shares or any(b <= a for a, b in zip([0, *self.shares], self.shares)) or self.shares[-1] == BUCKETS:
            raise ValueError(f"'shares' must grow from above 0 to below 1. Got {list(shares)}.")
        if len(self.tolerances) != len(self.shares):
            raise ValueError(
                f"'tolerances' must be one for each of the {len(self.shares)} shares. Got {len(self.tolerances)}."
            )
        self.min_hours, self.max_hours = whole("min_hours", min_hours, 1), whole("max_hours", max_hours, 1)
        if max_hours < min_hours:
            raise ValueError(f"'max_hours' must not be below 'min_hours', {min_hours}. Got {max_hours}.")
        self.steps = len(self.shares)

    def _first_step(self, tick: int) -> None:
        self._go_on(0, tick)

    def _go_on(self, number: int, tick: int) -> None:
        self._number = number
        self._start(f"canary {number + 1} of {self.steps}", self.shares[number], tick)

    def _decide(self, tick: int) -> Judged:
        found, tolerance = self.sequence.estimate(self._ledger), self.tolerances[self._number]
        figures = _told(found) | {"tolerance": tolerance}
        if found.worse_by(0.0):
            return self._end("rollback", "worse", figures)
        if self._hours(tick) >= self.min_hours and found.better_by(-tolerance):
            if self._number + 1 == self.steps:
                return self._end("promote", "not worse in any step", figures)
            self.reason = "not worse by more than the tolerance"
            self._go_on(self._number + 1, tick)
        elif self._hours(tick) >= self.max_hours:
            return self._end("rollback", "nothing shown in time", figures)
        return "continue", figures


class ABTest(Staged):
    """A fixed share of the users meets the candidate until it is shown to be better, or not to be, or time is up.

    Promoted only if shown to be better than the champion by more than `margin`: of candidates that are not, a share
    of at most alpha / 2 is. A `margin` below 0 asks for no more than not being worse by so much. Measured as `Canary`
    is, it promotes none of 1,000 models 5 % worse (95 % interval up to 0.4 %), 0.7 % [0.3, 1.4] of equal ones, 99 % of
    those 5 % better (median of 8 days) and all that are 10 % better (4 days).

    Arguments
    ---------
    share : of the users
    margin : lift to be shown, as a share of the champion's mean
    max_hours : how long it may take; then the champion stays
    """

    def __init__(
        self,
        share: float = 0.5,
        margin: float = 0.0,
        max_hours: int = 720,
        sequence: ConfidenceSequence | None = None,
        guardrails: Sequence[Guardrail] = (),
        examination: Examination | None = None,
    ) -> None:
        super().__init__(sequence, guardrails, examination)
        self.share = parts_of("share", number("share", share, 0.0, 1.0, above=True))
        self.margin = number("margin", margin, -1.0, 1.0)
        self.max_hours = whole("max_hours", max_hours, 1)

    def _first_step(self, tick: int) -> None:
        self._start("a/b test", self.share, tick)

    def _decide(self, tick: int) -> Judged:
        found = self.sequence.estimate(self._ledger)
        figures = _told(found) | {"margin": self.margin}
        if found.better_by(self.margin):
            return self._end("promote", "better", figures)
        if found.worse_by(-self.margin):
            return self._end("rollback", "not better", figures)
        if self._hours(tick) >= self.max_hours:
            return self._end("rollback", "nothing shown in time", figures)
        return "continue", figures


class BlueGreen(Staged):
    """Everybody is switched to the candidate at once, and back if things get worse than they were.

    While the candidate stands in the shadow, what the champion earns is the measure; then it serves everybody, and
    the champion waits. The arms are two times, not two groups drawn by lot: a season that turns at the switch is
    taken for the candidate's doing, and what needs a lot, as `Betting` does, is refused. The sequence's time runs as
    the candidate's pages come in (`sequential.clock`). It is here because shops do it. What is not shown to be worse
    by then is promoted, and two days show little: measured as `Canary` is, 99.7 % [99.1, 99.9] of models 5 % worse.

    Arguments
    ---------
    soak_hours : in the shadow, before the switch
    watch_hours : after it, before the champion is let go
    tolerance : accepted loss, as a share of the champion's mean; more, if shown, switches back (longer hours show more)
    """

    steps = 2
    offers = "visitors"

    def __init__(
        self,
        soak_hours: int = 72,
        watch_hours: int = 72,
        tolerance: float = 0.02,
        sequence: Mixture | None = None,
        guardrails: Sequence[Guardrail] = (),
        examination: Examination | None = None,
    ) -> None:
        super().__init__(sequence, guardrails, examination)
        self.soak_hours, self.watch_hours = whole("soak_hours", soak_hours, 1), whole("watch_hours", watch_hours, 1)
        self.tolerance = number("tolerance", tolerance, 0.0, 1.0)

    def _first_step(self, tick: int) -> None:
        self._start("blue", 0, tick, shadow=True)

    def _decide(self, tick: int) -> Judged:
        found = self.sequence.estimate(self._ledger)
        figures = _told(found) | {"tolerance": self.tolerance}
        if self.step == "blue":
            if self._hours(tick) >= self.soak_hours:
                self.reason = "switched"
                self.step, self.parts, self.shadow, self._since = "green", BUCKETS, False, tick
            return "continue", figures
        if found.worse_by(self.tolerance):
            return self._end("rollback", "worse than before the switch", figures)
        if self._hours(tick) >= self.watch_hours:
            return self._end("promote", "not worse than before the switch", figures)
        return "continue", figures
