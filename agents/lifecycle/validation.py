"""Validation: is a candidate fit to be shown to anybody? Judged on logged pages before a visitor meets it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Items, Spaces
from perennial.agents.lifecycle import off_policy
from perennial.agents.lifecycle.click_model import ClickModel
from perennial.agents.lifecycle.decisions import ValidationRecord
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out_pages, parts_of
from perennial.agents.lifecycle.off_policy import Value, Weighted
from perennial.agents.lifecycle.rollout import asked, check_slates
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.validation import number, one_of, whole

Slices = Callable[[Feedback, Items], NDArray[np.bool_]]
SATURDAY, EPOCH_WEEKDAY = 5, 4  # days count from 2010-01-01, a Friday

SLICES: dict[str, Slices] = {
    "first pages": lambda pages, items: pages.keys.page == 0,
    "new visitors": lambda pages, items: np.all(pages.observations["history"] < 0, axis=1),
    "weekend": lambda pages, items: (pages.keys.tick // HOURS + EPOCH_WEEKDAY) % 7 >= SATURDAY,
}
"""Name of a stress slice: which pages belong to it, bool (P,), by what was known before they were served."""


@dataclass(frozen=True)
class Case:
    """What is to be judged: `candidate` against `champion`, which serves as `version` since hour `since`."""

    candidate: Agent
    champion: Agent
    version: int
    items: Items
    spaces: Spaces
    epsilon: float
    since: int
    tick: int


class CandidateFailedError(Exception):
    """The candidate raised, or gave what cannot be shown; which is a verdict on it and no fault of the run."""


@contextmanager
def held_against_the_candidate() -> Iterator[None]:
    """Whatever is raised within is the candidate's own doing."""
    try:
        yield
    except Exception as error:
        raise CandidateFailedError(f"fails: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Evidence:
    """Candidate and champion on the same P pages, in this order wherever there are two.

    ``own`` bool (P,): served by the champion. ``slates`` int32 (P, K): what each would show. ``support`` float64
    (P, 2): see `off_policy.expected_support`; None where nothing can be expected beforehand.
    """

    pages: Feedback
    own: NDArray[np.bool_]
    slates: tuple[NDArray[np.int32], NDArray[np.int32]]
    weighted: tuple[Weighted, Weighted]
    support: NDArray[np.float64] | None

    @property
    def level(self) -> float:
        """Clicks of a page as the champion chose it; as any model did, or nobody, where there is none."""
        plain = ~self.pages.explored
        rows = next(rows for rows in (plain & self.own, plain, np.ones(len(plain), np.bool_)) if rows.any())
        return float(self.pages.clicked[rows].sum(axis=1).mean())

    def cut(self, rows: NDArray[np.bool_]) -> Evidence:
        """The same on some of the pages."""
        first, second = self.weighted
        support = None if self.support is None else self.support[rows]
        slates = self.slates[0][rows], self.slates[1][rows]
        return Evidence(self.pages.take(rows), self.own[rows], slates, (first.cut(rows), second.cut(rows)), support)


class Validation(ABC):
    """Gives one of three verdicts on a candidate: "pass", "fail", "insufficient evidence".

    ``held_out``: share of visits that no training may see, so that they can judge; ``held_out_explored``: share of
    those of whose pages it may see none that was explored. ``when_insufficient``: "roll out"
    lets such a candidate into its rollout, which gathers evidence of its own; "refuse" does not.
    """

    held_out: float = 0.0
    held_out_explored: float = 0.0
    when_insufficient: Literal["roll out", "refuse"] = "roll out"

    @abstractmethod
    def judge(self, case: Case, log: FeedbackLog) -> ValidationRecord | None:
        """The verdict and what it rests on; None if nothing was judged."""

    def admits(self, record: ValidationRecord | None) -> bool:
        """Whether the candidate may go on to its rollout."""
        if record is None or record.verdict == "pass":
            return True
        return record.verdict != "fail" and self.when_insufficient == "roll out"


class NoValidation(Validation):
    """The null object: every candidate goes on, and nothing is held out."""

    def judge(self, case: Case, log: FeedbackLog) -> ValidationRecord | None:
        return None


class OffPolicyValidation(Validation):
    """Estimates candidate less champion on held-out recent pages, over all of them and on stress slices.

    "fail" if the difference is shown to be below -margin of what a page earns, overall or (-slice_margin) on a slice;
    "pass" if it is shown not to be, overall, and fails on no slice; else "insufficient evidence". A slice too thin to
    say anything does not stop a candidate, and is named. A candidate that shows the same everywhere passes; one that
    raises when it is asked, or gives slates that nobody can be shown, fails, and the error is the reason.

    Two witnesses are heard, both pairing the two on the same pages, so that what both show cancels. The `estimator`
    hears what exploration tells of both, and is believed only where `off_policy.expected_size`, which knows how much
    they differ but no click, reaches `min_effective`: below it normal intervals of so few and heavy weights do not
    cover what they say (tests/experiments/test_off_policy.py). In the position form `off_policy.without_exploration`
    says, at any floor, what the candidate can lose at most by the items it drops; a refit that swaps an item in twenty
    is judged by that. The two share alpha between them.

    Arguments
    ---------
    days : how far back the pages go
    matured_hours : pages younger than this are left out: their conversions may be missing
    held_out : share of visits kept from training, in (0, 1]
    held_out_explored : share of visits whose explored pages are kept from training, `held_out` or more; None: the
        same. At a small floor these few pages are nearly all that tells new items from old ones
    margin, slice_margin : accepted loss, as a share of what a page of the champion earns
    estimator : "ips", "snips" or "dr", the one that decides; all are recorded
    form : how slots depend on each other: "position" (an item is what it is, slots are looked at more or less),
        "independent" (an item may be another in each slot) or "cascade" (and depends on those above)
    alpha : chance of a wrong "fail" or "pass" at a difference on the margin, both together; slices share another alpha
    min_effective : effective pages that tell the two apart, needed to believe the estimator, and the degrees of
        freedom of its interval; as many pages without exploration are needed to believe the other
    when_insufficient : see `Validation`
    """

    def __init__(
        self,
        days: int = 7,
        matured_hours: int = 24,
        held_out: float = 0.2,
        margin: float = 0.05,
        slice_margin: float = 0.15,
        estimator: str = "dr",
        form: str = "position",
        alpha: float = 0.05,
        min_effective: float = 25.0,
        when_insufficient: Literal["roll out", "refuse"] = "roll out",
        held_out_explored: float | None = None,
    ) -> None:
        self.days, self.matured_hours = whole("days", days, 1), whole("matured_hours", matured_hours, 0)
        self.held_out = number("held_out", held_out, 0.0, 1.0, above=True)
        parts_of("held_out", held_out)
        self.margin, self.slice_margin = number("margin", margin, 0.0), number("slice_margin", slice_margin, 0.0)
        self.estimator = one_of("estimator", estimator, ("ips", "snips", "dr"))
        self.form = one_of("form", form, ("position", "independent", "cascade"))
        self.alpha = number("alpha", alpha, 0.0, 0.5, above=True)
        self.min_effective = number("min_effective", min_effective, 0.0)
        one_of("when_insufficient", when_insufficient, ("roll out", "refuse"))
        self.when_insufficient = when_insufficient
        explored = held_out if held_out_explored is None else held_out_explored
        self.held_out_explored = number("held_out_explored", explored, held_out, 1.0)
        if self.form == "cascade" and self.held_out_explored != held_out:
            raise ValueError(
                f"'held_out_explored' must be 'held_out', {held_out}, or None where 'form' is 'cascade', whose weights "
                f"are made of the log's propensities. Got {held_out_explored}."
            )

    def judge(self, case: Case, log: FeedbackLog) -> ValidationRecord:
        offered = self.offered(case, log)
        pages = self.select(offered)
        version = log.version_of(pages)
        if not len(pages):
            return self._record(case, pages, version, "insufficient evidence", "no page to judge by", {}, {})
        try:
            return self._judged(case, offered, pages, version)
        except CandidateFailedError as error:
            return self._record(case, pages, version, "fail", str(error), {}, {})

    def _judged(self, case: Case, offered: Feedback, pages: Feedback, version: str) -> ValidationRecord:
        with held_against_the_candidate():
            theirs = asked(case.candidate, pages)
            check_slates(theirs, pages.observations["candidates"].shape, pages.slates.shape[1])
        slates = theirs.slates, off_policy.own_slates(case.champion, pages)
        if np.array_equal(*slates):
            return self._record(case, pages, version, "pass", "shows the same on every page", {}, {})
        looks = off_policy.examination(offered) if self.form == "position" else None
        evidence = self._evidence(case, pages, slates, looks)
        slices = dict(self._slices(case, evidence))
        verdict, reason = self._verdict(evidence, slices)
        told = {name: value for name, (value, _) in slices.items()}
        return self._record(case, pages, version, verdict, reason, dict(self._figures(evidence)), told)

    def offered(self, case: Case, log: FeedbackLog) -> Feedback:
        """The matured pages that the deployment served under its floor."""
        last = case.tick - self.matured_hours
        first = max(case.since, case.tick - self.days * HOURS + 1)
        pages = log.between(min(first, last), last)
        return pages.take(pages.keys.tick >= case.since)

    def select(self, offered: Feedback) -> Feedback:
        """Those held out."""
        shares = self.held_out, self.held_out_explored
        return offered.take(held_out_pages(offered.keys.visit, offered.explored, *shares))

    def floor(self, epsilon: float) -> float:
        """The share of explored pages among those held out, where it is `epsilon` of all.

        Which pages are explored, and which visits held out, is drawn without regard to them, so that what is held out
        is a log like any other, under a higher floor.
        """
        explored, plain = epsilon * self.held_out_explored, (1.0 - epsilon) * self.held_out
        return explored / (explored + plain)

    def _evidence(
        self,
        case: Case,
        pages: Feedback,
        slates: tuple[NDArray[np.int32], NDArray[np.int32]],
        looks: NDArray[np.float64] | None,
    ) -> Evidence:
        """The two policies on the same pages."""
        model = ClickModel(case.items, case.spaces)
        model.fit(pages)
        served, epsilon = off_policy.known_slates(case.champion, pages, case.version), self.floor(case.epsilon)
        predicted, earned = model.predict(pages, pages.slate_items, looks), pages.clicked.astype(np.float64)
        weighted = []
        for agent, shown in zip((case.candidate, case.champion), slates, strict=True):
            items = np.take_along_axis(pages.observations["candidates"], shown, axis=1)
            with held_against_the_candidate() if agent is case.candidate else nullcontext():
                weights = self._weights(agent, pages, shown, epsilon, looks, served)
            target = model.predict(pages, items, looks)
            weighted.append(Weighted(weights, earned, predicted, target, pages.keys.user_id, looks))
        support = None
        if self.form != "cascade":
            support = off_policy.expected_support(pages, *slates, epsilon, looks, served)
        return Evidence(pages, pages.version == case.version, slates, (weighted[0], weighted[1]), support)

    def _weights(
        self,
        agent: Agent,
        pages: Feedback,
        slates: NDArray[np.int32],
        epsilon: float,
        looks: NDArray[np.float64] | None,
        served: NDArray[np.int32] | None,
    ) -> NDArray[np.float64]:
        if looks is not None:
            return off_policy.position_weights(pages, slates, epsilon, looks, served)
        if self.form == "cascade":
            return off_policy.cascade_weights(pages, agent)
        return off_policy.slot_weights(pages, slates, epsilon, served)

    def _compared(self, evidence: Evidence, alpha: float) -> Value:
        """Candidate less champion, by both witnesses; ``effective``: the size that the estimator rests on."""
        explored = self._explored(evidence, alpha / 2 if self.form == "position" else alpha)
        return off_policy.both(explored, self._unexplored(evidence, alpha / 2))

    def _explored(self, evidence: Evidence, alpha: float) -> Value:
        found = self._estimate(evidence, self.estimator, alpha)
        if found.effective >= self.min_effective:
            return found
        return replace(found, low=-np.inf, high=np.inf)  # so it is where it is NaN, as propensities are unknown

    def _estimate(self, evidence: Evidence, estimator: str, alpha: float) -> Value:
        if evidence.support is None:
            return off_policy.compare(*evidence.weighted, estimator, alpha)
        size = off_policy.expected_size(evidence.support)
        return replace(off_policy.compare(*evidence.weighted, estimator, alpha, size), effective=size)

    def _unexplored(self, evidence: Evidence, alpha: float) -> Value:
        """By the champion's own pages, on which hardly anything is unseen, if there are enough; else by everybody's."""
        looks, plain = evidence.weighted[0].looks, ~evidence.pages.explored
        own = plain & evidence.own
        rows = np.flatnonzero(own if own.sum() >= self.min_effective else plain)
        if looks is None or len(rows) < max(self.min_effective, 2):
            return Value(np.nan, -np.inf, np.inf, float(len(rows)))
        first, second = evidence.slates
        return off_policy.without_exploration(evidence.pages.take(rows), first[rows], second[rows], looks, alpha)

    def _figures(self, evidence: Evidence) -> Iterator[tuple[str, float]]:
        """Every estimator's word, for the record."""
        yield "champion", evidence.level
        for estimator in off_policy.ESTIMATORS:
            found = self._estimate(evidence, estimator, self.alpha)
            yield from ((estimator, found.value), (f"{estimator}_low", found.low), (f"{estimator}_high", found.high))
        bounds, found = self._unexplored(evidence, self.alpha), self._compared(evidence, self.alpha)
        yield from (("unexplored_low", bounds.low), ("unexplored_high", bounds.high))
        yield from (("low", found.low), ("high", found.high))
        yield from (("effective", found.effective), ("min_effective", self.min_effective))

    def _slices(self, case: Case, evidence: Evidence) -> Iterator[tuple[str, tuple[dict[str, float], bool]]]:
        """Name of a slice: (its figures, whether it fails)."""
        pages = evidence.pages
        rows = {name: rule(pages, case.items) for name, rule in SLICES.items()} | _by_category(case, pages)
        for name, inside in rows.items():
            if not inside.any():
                continue
            part = evidence.cut(inside)
            found, level = self._compared(part, self.alpha / len(rows)), part.level
            told = {"pages": float(inside.sum()), "difference": found.value, "low": found.low, "high": found.high}
            told |= {"champion": level, "effective": found.effective}
            yield name, (told, found.high < -self.slice_margin * level)

    def _verdict(self, evidence: Evidence, slices: dict[str, tuple[dict[str, float], bool]]) -> tuple[str, str]:
        overall, bar = self._compared(evidence, self.alpha), -self.margin * evidence.level
        failing = [name for name, (_, fails) in slices.items() if fails]
        if overall.high < bar:
            return "fail", "worse by more than the margin"
        if failing:
            return "fail", f"worse by more than the slice margin on {', '.join(failing)}"
        if overall.low > bar:
            return "pass", "not worse by more than the margin"
        if not overall.effective >= self.min_effective:  # NaN: propensities unknown
            return "insufficient evidence", "too little overlap with what was explored"
        return "insufficient evidence", "the interval reaches to both sides of the margin"

    def _record(
        self,
        case: Case,
        pages: Feedback,
        data_version: str,
        verdict: str,
        reason: str,
        figures: dict[str, float],
        slices: dict[str, dict[str, float]],
    ) -> ValidationRecord:
        return ValidationRecord(
            tick=case.tick,
            validation=f"{type(self).__name__}({self.form} {self.estimator})",
            version=0,
            parent=case.version,
            verdict=verdict,
            reason=reason,
            rows=len(pages),
            first_tick=int(pages.keys.tick[0]) if len(pages) else case.tick,
            last_tick=int(pages.keys.tick[-1]) if len(pages) else case.tick,
            data_version=data_version,
            margin=self.margin,
            figures=figures,
            slices=slices,
        )


def _by_category(case: Case, pages: Feedback) -> dict[str, NDArray[np.bool_]]:
    """Slices by the category of the item the visitor clicked last."""
    last = pages.observations["history"][:, -1]
    category = np.where(last >= 0, np.asarray(case.items["category"])[last], -1)
    return {f"category {c}": category == c for c in range(case.spaces.n_categories)}
