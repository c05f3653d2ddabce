"""Hand-made pages of feedback, so that tests of the lifecycle need no shop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from perennial.agents.base import Feedback, Keys, Spaces
from perennial.agents.lifecycle.review import Answer, Question, Reviewer
from perennial.agents.lifecycle.tables import arrays

SPACES = Spaces(
    n_items=30, n_users=12, n_categories=3, n_candidates=6, slate_size=2, history=4, user_dim=3, page_dim=6,
    calendar_dim=8, notice_dim=1,
)  # fmt: skip


def wave(tick: int, visits: list[int], page: int = 0, seed: int = 0, spaces: Spaces = SPACES, **given: Any) -> Feedback:
    """One page `page` for each visit, drawn from (seed, tick, page); `given` replaces fields of the Feedback."""
    rng = np.random.default_rng([seed, tick, page])
    n, k, m = len(visits), spaces.slate_size, spaces.n_candidates
    candidates = np.stack([rng.permutation(spaces.n_items)[:m] for _ in visits]).astype(np.int32)
    slates = np.stack([rng.permutation(m)[:k] for _ in visits]).astype(np.int32)
    clicked = rng.random((n, k)) < 0.5
    pages = Feedback(
        keys=Keys(
            np.array(visits, np.int64),
            np.full(n, page, np.int32),
            rng.integers(0, spaces.n_users, n).astype(np.int32),
            np.full(n, tick, np.int64),
        ),
        observations={
            "user": rng.normal(size=(n, spaces.user_dim)).astype(np.float32),
            "history": rng.integers(-1, spaces.n_items, (n, spaces.history)).astype(np.int32),
            "candidates": candidates,
            "page": rng.random((n, spaces.page_dim)).astype(np.float32),
            "calendar": rng.random((n, spaces.calendar_dim)).astype(np.float32),
            "notice": np.zeros((n, spaces.notice_dim), np.float32),
        },
        slates=slates,
        slate_items=np.take_along_axis(candidates, slates, axis=1),
        clicked=clicked,
        carted=clicked & (rng.random((n, k)) < 0.5),
        purchased=clicked & (rng.random((n, k)) < 0.3),
        not_interested=~clicked & (rng.random((n, k)) < 0.1),
        reward=clicked.sum(axis=1).astype(np.float32),
        terminated=np.ones(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        slot_propensity=np.where(rng.random((n, k)) < 0.2, np.nan, rng.uniform(0.1, 1.0, (n, k))),
        version=np.full(n, 1, np.int32),
        explored=rng.random(n) < 0.1,
        extras={"log_prob": rng.normal(size=n)},
    )
    return replace(pages, **given)


def with_first_clicks(tick: int, visits: list[int], clicks: list[int]) -> Feedback:
    """First pages with so many clicks each, from 0 to the slate's size."""
    slots = np.arange(SPACES.slate_size)
    clicked = slots[None, :] < np.array(clicks)[:, None]
    return wave(tick, visits, clicked=clicked, reward=clicked.sum(axis=1).astype(np.float32))


def assert_equal(left: Feedback, right: Feedback) -> None:
    """Every array equal bit for bit, dtypes included."""
    a, b = arrays(left), arrays(right)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


class Desk(Reviewer):
    """A reviewer who says the same of every page, at once."""

    source = "hand"

    def __init__(self, verdict: str = "accept", slate: tuple[int, ...] = (), **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[Question] = []
        self.given: list[Answer] = []
        self.verdict, self.slate = verdict, slate

    def ask(self, questions: list[Question], tick: int) -> None:
        self.asked += questions
        self.given += [Answer(question.key, self.verdict, self.slate) for question in questions]

    def answers(self, tick: int) -> list[Answer]:
        given, self.given = self.given, []
        return given
