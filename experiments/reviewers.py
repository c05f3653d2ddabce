"""The simulated reviewer: it knows the truth through the oracle's door, and tells it late, at a price, not always."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Keys
from perennial.agents.lifecycle.review import Answer, Key, NoReview, Question, Reviewer
from perennial.agents.validation import number, whole
from perennial.envs.oracle import Oracle


class SimulatedReviewer(Reviewer):
    """Finds a page right if its expected reward is within `tolerance` of the best that its candidates allow.

    It looks at the page in the state its visitor is in, and answers `delay_hours` after it was asked. With probability
    `accuracy` it finds what is true, else the opposite. A page it rightly finds wrong it corrects, in a share
    `corrects` of the cases, to the best slate (myopic, as in `Oracle.best_slates`), else rejects. What it draws is a
    function of its seed and the page, so that no answer hangs on another.

    Arguments:
        capacity, price: see `Reviewer`.
        accuracy: chance that it is right about a page, in [0, 1].
        corrects: share of the pages rightly found wrong that it corrects.
        tolerance: of the best expected reward that a right page may miss, in [0, 1].
        delay_hours: from question to answer; answers are taken at the end of a day.
        seed: of its mistakes.
    """

    source = "simulated"

    def __init__(
        self,
        capacity: int = 50,
        price: float = 1.0,
        accuracy: float = 0.9,
        corrects: float = 0.5,
        tolerance: float = 0.05,
        delay_hours: int = 24,
        seed: int = 0,
    ) -> None:
        super().__init__(capacity, price)
        self.accuracy, self.corrects = number("accuracy", accuracy, 0, 1), number("corrects", corrects, 0, 1)
        self.tolerance, self.delay_hours = number("tolerance", tolerance, 0, 1), whole("delay_hours", delay_hours, 0)
        self.seed = seed
        self.truth: Oracle | None = None
        self._seen: dict[Key, Answer] = {}
        self._due: list[tuple[int, Answer]] = []

    def see(self, visits: Any, keys: Keys, slates: NDArray[np.int32], rows: NDArray[np.int64]) -> None:
        """Make up its mind while the visitor is there; later nobody can tell what they wanted."""
        if self.truth is None:
            raise RuntimeError("A simulated reviewer needs the truth. Call hand_truth(review, oracle) before the run.")
        if len(rows) == 0:
            return
        pages = replace(visits, rows=visits.rows[rows])
        scored, best = self.truth.score(pages, slates[rows]), self.truth.best_slates(pages)
        right = scored.reward >= (1.0 - self.tolerance) * scored.best
        for n, row in enumerate(rows.tolist()):
            key = int(keys.visit[row]), int(keys.page[row])
            self._seen[key] = self._mind(key, bool(right[n]), tuple(best[n].tolist()))

    def _mind(self, key: Key, right: bool, best: tuple[int, ...]) -> Answer:
        mistaken, corrected = np.random.default_rng([self.seed, *key]).random(2) >= (self.accuracy, self.corrects)
        if right != mistaken:
            return Answer(key, "accept")
        if right or corrected or len(set(best)) < len(best):  # a slate that repeats itself is no answer
            return Answer(key, "reject")
        return Answer(key, "correct", best)

    def ask(self, questions: list[Question], tick: int) -> None:
        self._due += [(tick + self.delay_hours, self._seen[question.key]) for question in questions]
        self._seen.clear()

    def answers(self, tick: int) -> list[Answer]:
        told = [answer for due, answer in self._due if due <= tick]
        self._due = [(due, answer) for due, answer in self._due if due > tick]
        return told


def hand_truth(review: NoReview, truth: Oracle) -> None:
    """Open the oracle's door to the reviewer of `review`, if it is a simulated one; nobody else gets the key."""
    if isinstance(review.reviewer, SimulatedReviewer):
        review.reviewer.truth = truth
