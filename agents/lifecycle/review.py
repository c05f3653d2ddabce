"""Review, the human in the loop: the least certain decisions go to a reviewer, whose answers become labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Keys, Observations
from perennial.agents.lifecycle import tables
from perennial.agents.lifecycle.decisions import ReviewRecord
from perennial.agents.lifecycle.hashing import BUCKETS, buckets, held_out, key_of, parts_of
from perennial.agents.lifecycle.intake import MAX_PAGES
from perennial.agents.lifecycle.labels import VERDICTS, Labels, concatenate
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.scores import scorer
from perennial.agents.validation import number, one_of, whole

WEEK = 7
Key = tuple[int, int]
"""A page: its visit, and its number there."""


@dataclass(frozen=True)
class Question:
    """Is this page right? `page` is one row as it was served, with no outcome; `certainty` is that of its decision.

    ``asked``: the hour it was put to the reviewer, -1 until then.
    """

    page: Feedback
    certainty: float
    measure: str
    asked: int = -1

    @property
    def key(self) -> Key:
        return int(self.page.keys.visit[0]), int(self.page.keys.page[0])

    @property
    def order(self) -> tuple[float, float, int, int]:
        """The least certain first; of equals, as the lot falls."""
        return self.certainty, float(lots(self.page.keys)[0]), *self.key


@dataclass(frozen=True)
class Answer:
    """What was said of a page: "accept", "reject", or "correct" with the `slate`, places in its candidates."""

    key: Key
    verdict: str
    slate: tuple[int, ...] = ()


class Reviewer(ABC):
    """Somebody who judges pages.

    Arguments:
        capacity: questions a week.
        price: declared, of one answer.

    ``source`` tags the labels.
    """

    source: str

    def __init__(self, capacity: int = 50, price: float = 1.0) -> None:
        self.capacity, self.price = whole("capacity", capacity, 0), number("price", price, 0.0)

    def see(self, visits: Any, keys: Keys, slates: NDArray[np.int32], rows: NDArray[np.int64]) -> None:  # noqa: B027
        """The pages `rows` of those about to be served may be asked about: for reviewers that know the shop."""

    @abstractmethod
    def ask(self, questions: list[Question], tick: int) -> None:
        """Put some questions at the end of hour `tick`."""

    @abstractmethod
    def answers(self, tick: int) -> list[Answer]:
        """The answers that have come by the end of hour `tick`, each once."""


# -- how certain a decision is ----------------------------------------------------------------------------------------


def certainty(
    agent: Agent, observations: Observations, keys: Keys, decision: Decision
) -> tuple[NDArray[np.float64], str]:
    """float64 (B,), low where a decision is uncertain, and by which measure; whatever the agent gives is used.

    - "margin", if it has `scores`: the last shown item's score less the first unshown one's (margin sampling,
      Scheffer, Decomain and Wrobel 2001, "Active hidden Markov models for information extraction"; at the edge of a
      ranking as in Settles 2009, "Active learning literature survey", section 3.1). It draws nothing from the agent.
    - "propensity", if it draws lots and knows how: the probability of its slate per slot, a geometric mean.
    - "prediction", if it foretells clicks: the smallest gap between neighbouring slots' `predicted_clicks`.
    - "chance" else: a lot.

    Equals are told apart by lot: where a measure says the same of all pages, as propensities do that are all 1, they
    are drawn evenly.
    """
    scores = scorer(agent)
    if scores is not None and observations["candidates"].shape[1] > decision.slates.shape[1]:
        return _margin(scores(observations, keys), decision.slates.shape[1]), "margin"
    if type(agent).slate_propensity is not Agent.slate_propensity and np.isfinite(decision.slot_propensity).all():
        return np.exp(decision.log_propensity / decision.slates.shape[1]), "propensity"
    predicted = decision.extras.get("predicted_clicks")
    if predicted is not None and predicted.shape[1] > 1:
        return np.abs(np.diff(predicted.astype(np.float64), axis=1)).min(axis=1), "prediction"
    return lots(keys), "chance"


def lots(keys: Keys) -> NDArray[np.float64]:
    """float64 (B,) in [0, 1): the lot of each page, the same whenever it is drawn."""
    return buckets(keys.visit * MAX_PAGES + keys.page, key_of("review")) / BUCKETS


def _margin(found: NDArray[Any], size: int) -> NDArray[np.float64]:
    ranked = -np.partition(-np.asarray(found, np.float64), (size - 1, size), axis=1)
    return np.asarray(ranked[:, size - 1] - ranked[:, size], np.float64)


# -- the loop's side --------------------------------------------------------------------------------------------------


class NoReview:
    """The null object: nobody is asked."""

    reviewer: Reviewer | None = None

    def choose(
        self, agent: Agent, observations: Observations, keys: Keys, served: Served, version: int, kept: float
    ) -> NDArray[np.int64]:
        """No page."""
        return np.empty(0, np.int64)

    def end_day(self, tick: int) -> tuple[Labels | None, list[ReviewRecord]]:
        """Nothing was said."""
        return None, []


class Review(NoReview):
    """Asks about the champion's least certain decisions of each day, as many as the reviewer's week has room for.

    A week's capacity is spread over its days, within one question of evenly. Pages of the exploration floor, of a
    candidate on its way and of visits that no training may see are never asked about.

    Arguments:
        reviewer: who answers.
        pool: share of visits, the same ones always, from which questions are drawn: the rest cost no second look.
        worth: the page's reward that a label teaches for each slot that is right, in the reward's unit.
    """

    def __init__(self, reviewer: Reviewer, pool: float = 0.1, worth: float = 1.0) -> None:
        parts_of("pool", pool)
        self.reviewer: Reviewer = reviewer
        self.pool, self.worth = pool, number("worth", worth, 0.0)
        self._today: list[Question] = []
        self._open: dict[Key, Question] = {}

    def quota(self, day: int) -> int:
        """How many questions the day has room for; those of seven days from a multiple of 7 on are the capacity."""
        place, capacity = day % WEEK, self.reviewer.capacity
        return capacity * (place + 1) // WEEK - capacity * place // WEEK

    def choose(
        self, agent: Agent, observations: Observations, keys: Keys, served: Served, version: int, kept: float
    ) -> NDArray[np.int64]:
        """int64: the rows of a wave about to be served that are among the day's least certain so far.

        `version` is the champion's; visits in the share `kept` from training are passed over.
        """
        quota = self.quota(int(keys.tick[0]) // HOURS)
        pooled = buckets(keys.visit, key_of("review pool")) < parts_of("pool", self.pool)
        asked = pooled & (served.version == version) & ~served.explored & ~held_out(keys.visit, kept)
        rows = np.flatnonzero(asked)
        if quota == 0 or len(rows) == 0:
            return rows[:0]
        wave = _served(observations, keys, served, rows)
        seen = {name: array[rows] for name, array in observations.items()}
        values, measure = certainty(agent, seen, keys.take(rows), _of(served.decision, rows))
        likely = np.lexsort((wave.keys.page, wave.keys.visit, lots(wave.keys), values))[:quota]
        found = [Question(wave.take(likely[n : n + 1]), float(values[likely[n]]), measure) for n in range(len(likely))]
        kept_now = sorted([*self._today, *found], key=lambda question: question.order)[:quota]
        self._today = kept_now
        keys_now = {question.key for question in kept_now}
        return rows[[n for n, question in zip(likely.tolist(), found) if question.key in keys_now]]

    def end_day(self, tick: int) -> tuple[Labels | None, list[ReviewRecord]]:
        """Ask about the day that ends with hour `tick`; the labels that have come by now, and the records of them."""
        questions = [replace(question, asked=tick) for question in self._today]
        self._today = []
        self._open |= {question.key: question for question in questions}
        self.reviewer.ask(questions, tick)
        answered = [(self._open.pop(a.key), a) for a in self.reviewer.answers(tick) if a.key in self._open]
        if not answered:
            return None, []
        return self._labels(answered, tick), [self._record(question, answer, tick) for question, answer in answered]

    def _labels(self, answered: list[tuple[Question, Answer]], tick: int) -> Labels:
        pages = Feedback.concatenate([judged(question, answer, self.worth) for question, answer in answered])
        asked = np.array([question.asked for question, _ in answered], np.int64)
        verdict = np.array([VERDICTS.index(answer.verdict) for _, answer in answered], np.int8)
        source = (self.reviewer.source,) * len(answered)
        return concatenate([Labels(pages, asked, np.full(len(answered), tick, np.int64), verdict, source)])

    def _record(self, question: Question, answer: Answer, tick: int) -> ReviewRecord:
        shown, right = question.page, judged(question, answer, self.worth)
        return ReviewRecord(
            tick=tick,
            source=self.reviewer.source,
            visit=question.key[0],
            page=question.key[1],
            asked=question.asked,
            verdict=answer.verdict,
            shown=shown.slate_items[0].tolist(),
            right=right.slate_items[0].tolist(),
            certainty=question.certainty,
            measure=question.measure,
            price=self.reviewer.price,
            served_by=int(shown.version[0]),
        )


def _of(decision: Decision, rows: NDArray[np.int64]) -> Decision:
    extras = {name: array[rows] for name, array in decision.extras.items()}
    return Decision(decision.slates[rows], decision.slot_propensity[rows], extras)


def _served(observations: Observations, keys: Keys, served: Served, rows: NDArray[np.int64]) -> Feedback:
    """The pages as they are about to be served, without any outcome."""
    seen = {name: observations[name][rows] for name in tables.OBSERVED}
    slates = served.decision.slates[rows]
    nothing, flags = np.zeros(slates.shape, np.bool_), np.zeros(len(rows), np.bool_)
    return Feedback(
        keys=keys.take(rows),
        observations=seen,
        slates=slates,
        slate_items=np.take_along_axis(seen["candidates"], slates, axis=1),
        clicked=nothing,
        carted=nothing,
        purchased=nothing,
        not_interested=nothing,
        reward=np.zeros(len(rows), np.float32),
        terminated=flags,
        truncated=flags,
        slot_propensity=served.decision.slot_propensity[rows],
        version=served.version[rows],
        explored=flags,
    )


def judged(question: Question, answer: Answer, worth: float) -> Feedback:
    """The page as the answer has it: the right slate, and of each slot whether it is right."""
    one_of("verdict", answer.verdict, VERDICTS)
    page, shape = question.page, question.page.slates.shape
    slates = page.slates
    if answer.verdict == "correct":
        slates = np.array([check_slate(answer.slate, shape[1], page.observations["candidates"].shape[1])], np.int32)
    right = np.full(shape, answer.verdict != "reject")
    return replace(
        page,
        slates=slates,
        slate_items=np.take_along_axis(page.observations["candidates"], slates, axis=1),
        clicked=right,
        reward=(worth * right.sum(axis=1)).astype(np.float32),
        slot_propensity=np.full(shape, np.nan),
    )


def check_slate(slate: Any, size: int, candidates: int) -> tuple[int, ...]:
    """A corrected slate: as many places as the page has slots, each one of its candidates, none twice."""
    places = slate if isinstance(slate, list | tuple) else ()
    whole_numbers = [place for place in places if type(place) is int and 0 <= place < candidates]
    if not len(places) == len(whole_numbers) == len(set(whole_numbers)) == size:
        raise ValueError(f"'slate' must hold {size} different places, each from 0 to {candidates - 1}. Got {slate!r}.")
    return tuple(whole_numbers)
