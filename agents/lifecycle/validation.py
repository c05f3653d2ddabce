"""Validation: is a candidate fit to be shown to anybody? Judged on logged pages before a visitor meets it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Items, Spaces
from perennial.agents.lifecycle import off_policy
from perennial.agents.lifecycle.click_model import ClickModel
from perennial.agents.lifecycle.decisions import ValidationRecord
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out, parts_of
from perennial.agents.lifecycle.off_policy import Value, Weighted
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


class Validation(ABC):
    """Gives one of three verdicts on a candidate: "pass", "fail", "insufficient evidence".

    ``held_out``: share of visits that no training may see, so that they can judge. ``when_insufficient``: "roll out"
    lets such a candidate into its rollout, which gathers evidence of its own; "refuse" does not.
    """

    held_out: float = 0.0
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

    "fail" if the difference is shown to be below -margin of the champion's value, overall or (-slice_margin) on a
    slice; "pass" if it is shown not to be, overall, and fails on no slice; else "insufficient evidence". A slice too
    thin to say anything does not stop a candidate, and is named. Without overlap between what the candidate would
    show and what was explored, measured by the effective sample size of the pages on which the two differ, the
    verdict is "insufficient evidence" whatever the estimate; a candidate that shows the same everywhere passes.

    Arguments
    ---------
    days : how far back the pages go
    matured_hours : pages younger than this are left out: their conversions may be missing
    held_out : share of visits kept from training, in (0, 1]
    margin, slice_margin : accepted loss, as a share of the champion's value
    estimator : "ips", "snips" or "dr", the one that decides; all are recorded
    form : "independent" or "cascade", how slots depend on each other
    alpha : chance of a wrong "fail" or "pass" at a difference on the margin, both together; slices share another alpha
    min_effective : effective pages on which the two differ that are needed to say anything
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
        form: str = "independent",
        alpha: float = 0.05,
        min_effective: float = 50.0,
        when_insufficient: Literal["roll out", "refuse"] = "roll out",
    ) -> None:
        self.days, self.matured_hours = whole("days", days, 1), whole("matured_hours", matured_hours, 0)
        self.held_out = number("held_out", held_out, 0.0, 1.0, above=True)
        parts_of("held_out", held_out)
        self.margin, self.slice_margin = number("margin", margin, 0.0), number("slice_margin", slice_margin, 0.0)
        self.estimator = one_of("estimator", estimator, ("ips", "snips", "dr"))
        self.form = one_of("form", form, ("independent", "cascade"))
        self.alpha = number("alpha", alpha, 0.0, 0.5, above=True)
        self.min_effective = number("min_effective", min_effective, 0.0)
        one_of("when_insufficient", when_insufficient, ("roll out", "refuse"))
        self.when_insufficient = when_insufficient

    def judge(self, case: Case, log: FeedbackLog) -> ValidationRecord:
        pages = self.select(case, log)
        version = log.version_of(pages)
        if not len(pages):
            return self._record(case, pages, version, "insufficient evidence", "no page to judge by", {}, {})
        candidate, champion = self._weighted(case, pages)
        if np.array_equal(candidate.target_slates, champion.target_slates):
            return self._record(case, pages, version, "pass", "shows the same on every page", {}, {})
        figures = dict(self._figures(candidate.data, champion.data))
        slices = dict(self._slices(case, pages, candidate.data, champion.data))
        overall = off_policy.compare(candidate.data, champion.data, self.estimator, self.alpha)
        verdict, reason = self._verdict(overall, figures["champion"], slices)
        told = {name: value for name, (value, _) in slices.items()}
        return self._record(case, pages, version, verdict, reason, figures, told)

    def select(self, case: Case, log: FeedbackLog) -> Feedback:
        """The matured pages of held-out visits that the deployment served under its floor."""
        last = case.tick - self.matured_hours
        first = max(case.since, case.tick - self.days * HOURS + 1)
        pages = log.between(min(first, last), last)
        return pages.take(held_out(pages.keys.visit, self.held_out) & (pages.keys.tick >= case.since))

    def _weighted(self, case: Case, pages: Feedback) -> tuple[_Policy, _Policy]:
        """The two policies on the same pages."""
        model = ClickModel(case.items, case.spaces)
        model.fit(pages)
        served = off_policy.known_slates(case.champion, pages, case.version)
        predicted = model.predict(pages, pages.slate_items)
        first, second = (
            self._policy(agent, pages, case.epsilon, served, model, predicted)
            for agent in (case.candidate, case.champion)
        )
        return first, second

    def _policy(
        self,
        agent: Agent,
        pages: Feedback,
        epsilon: float,
        served: NDArray[np.int32] | None,
        model: ClickModel,
        predicted: NDArray[np.float64],
    ) -> _Policy:
        slates = off_policy.own_slates(agent, pages)
        if self.form == "independent":
            weights = off_policy.slot_weights(pages, slates, epsilon, served)
        else:
            weights = off_policy.cascade_weights(pages, agent)
        items = np.take_along_axis(pages.observations["candidates"], slates, axis=1)
        earned = pages.clicked.astype(np.float64)
        data = Weighted(weights, earned, predicted, model.predict(pages, items), pages.keys.user_id)
        return _Policy(slates, data)

    def _figures(self, candidate: Weighted, champion: Weighted) -> Iterator[tuple[str, float]]:
        """Every estimator's word, for the record."""
        yield "champion", off_policy.evaluate(champion, self.estimator, self.alpha).value
        for estimator in off_policy.ESTIMATORS:
            found = off_policy.compare(candidate, champion, estimator, self.alpha)
            yield from ((estimator, found.value), (f"{estimator}_low", found.low), (f"{estimator}_high", found.high))
        yield "effective", off_policy.compare(candidate, champion, self.estimator).effective
        yield "min_effective", self.min_effective

    def _slices(
        self, case: Case, pages: Feedback, candidate: Weighted, champion: Weighted
    ) -> Iterator[tuple[str, tuple[dict[str, float], bool]]]:
        """Name of a slice: (its figures, whether it fails)."""
        rows = {name: rule(pages, case.items) for name, rule in SLICES.items()} | _by_category(case, pages)
        for name, inside in rows.items():
            first, second = _cut(candidate, inside), _cut(champion, inside)
            if not inside.any():
                continue
            found = off_policy.compare(first, second, self.estimator, self.alpha / len(rows))
            value = off_policy.evaluate(second, self.estimator).value
            told = {"pages": float(inside.sum()), "difference": found.value, "low": found.low, "high": found.high}
            told |= {"champion": value, "effective": found.effective}
            enough = found.effective >= self.min_effective
            yield name, (told, enough and found.high < -self.slice_margin * abs(value))

    def _verdict(
        self, overall: Value, champion: float, slices: dict[str, tuple[dict[str, float], bool]]
    ) -> tuple[str, str]:
        if not overall.effective >= self.min_effective:  # NaN: propensities unknown
            return "insufficient evidence", "too little overlap with what was explored"
        failing = [name for name, (_, fails) in slices.items() if fails]
        if overall.high < -self.margin * abs(champion):
            return "fail", "worse by more than the margin"
        if failing:
            return "fail", f"worse by more than the slice margin on {', '.join(failing)}"
        if overall.low > -self.margin * abs(champion):
            return "pass", "not worse by more than the margin"
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


@dataclass(frozen=True)
class _Policy:
    target_slates: NDArray[np.int32]
    data: Weighted


def _cut(data: Weighted, rows: NDArray[np.bool_]) -> Weighted:
    return Weighted(data.weights[rows], data.earned[rows], data.predicted[rows], data.target[rows], data.users[rows])


def _by_category(case: Case, pages: Feedback) -> dict[str, NDArray[np.bool_]]:
    """Slices by the category of the item the visitor clicked last."""
    last = pages.observations["history"][:, -1]
    category = np.where(last >= 0, np.asarray(case.items["category"])[last], -1)
    return {f"category {c}": category == c for c in range(case.spaces.n_categories)}
