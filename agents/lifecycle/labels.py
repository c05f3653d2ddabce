"""Labels: what reviewers said of served pages, kept in a table of their own and learned from beside the pages.

They never enter the tables of served pages. So monitors, off-policy estimates, fairness and guardrails, which read
those, know nothing of them: a label is a judgement, drawn by what the model was unsure of, and no visit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Keys, Spaces
from perennial.agents.lifecycle import tables
from perennial.agents.lifecycle.hashing import held_out
from perennial.agents.lifecycle.intake import MAX_PAGES

VERDICTS = ("accept", "reject", "correct")
BY_NOBODY = 0
"""The model version of a page that learners get from a label; versions of models count from 1."""


@dataclass(frozen=True)
class Labels:
    """L reviewed pages, ordered by (told, visit, page).

    ``pages``: what is to be learned. The slate is the reviewer's if it was corrected, else the one that was shown;
    ``clicked`` bool (L, K) says of each slot whether it is right. ``asked``, ``told`` int64 (L,): the hours of question
    and answer. ``verdict`` int8 (L,): index into VERDICTS. ``source`` (L,): who answered, such as "person".
    """

    pages: Feedback
    asked: NDArray[np.int64]
    told: NDArray[np.int64]
    verdict: NDArray[np.int8]
    source: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pages)

    @property
    def by_source(self) -> dict[str, int]:
        """How many each source gave."""
        return dict(sorted(Counter(self.source).items()))

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """The labels in `rows`, in that order."""
        source = tuple(self.source[row] for row in rows.tolist())
        return Labels(self.pages.take(rows), self.asked[rows], self.told[rows], self.verdict[rows], source)

    def without_held_out(self, share: float) -> Labels:
        """Those of visits that training may see."""
        return self.take(np.flatnonzero(~held_out(self.pages.keys.visit, share))) if share else self

    def digest(self) -> str:
        """16 hex digits naming the content."""
        words = "\n".join([tables.content_hash(self.pages), *self.source])
        parts = [words.encode(), self.asked.tobytes(), self.told.tobytes(), self.verdict.tobytes()]
        return blake2b(b"|".join(parts), digest_size=8).hexdigest()


def none(spaces: Spaces) -> Labels:
    """No label at all."""
    hours = np.empty(0, np.int64)
    return Labels(tables.empty(spaces), hours, hours, np.empty(0, np.int8), ())


def concatenate(parts: list[Labels]) -> Labels:
    """All `parts` in order; of several labels of one page the one that was told first."""
    pages = Feedback.concatenate([part.pages for part in parts])
    asked, told, verdict = (np.concatenate([getattr(p, name) for p in parts]) for name in ("asked", "told", "verdict"))
    whole = Labels(pages, asked, told, verdict, sum((part.source for part in parts), ()))
    keys = pages.keys
    order = np.lexsort((told, keys.page, keys.visit))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(keys.visit[order]) == 0) & (np.diff(keys.page[order]) == 0)
    kept = order[~again]
    return whole.take(kept[np.argsort(told[kept], kind="stable")])


def lessons(labels: Labels) -> Feedback:
    """The labels as pages that an agent's `fit` takes beside the served ones.

    Each is a visit of its own, with a negative number, of one page that ends it: it continues no other page. No model
    showed it (version BY_NOBODY), with a propensity that nobody knows. Its hour is that of the answer, so that agents
    which learn what is new since their last training do not take it for old.
    """
    pages, keys = labels.pages, labels.pages.keys
    alone = Keys(-1 - (keys.visit * MAX_PAGES + keys.page), np.zeros_like(keys.page), keys.user_id, labels.told)
    return replace(
        pages,
        keys=alone,
        terminated=np.ones(len(pages), np.bool_),
        truncated=np.zeros(len(pages), np.bool_),
        slot_propensity=np.full(pages.slates.shape, np.nan),
        version=np.full(len(pages), BY_NOBODY, np.int32),
        explored=np.zeros(len(pages), np.bool_),
        extras={},
    )


STORED = (*tables.KEYS, *(f"seen_{name}" for name in tables.OBSERVED), "slates", "slate_items", "reward", "version")
"""The columns of a served page that a label's row has too."""


def frame(labels: Labels, day: int) -> pl.DataFrame:
    """One row per label that entered the log on `day`; it holds all that is learned from it."""
    nothing = np.zeros(len(labels), np.int8)
    pages = tables.pages_frame(labels.pages, nothing, nothing.astype(np.int32), labels.told, day)
    pages = pages.select(*STORED, "day")
    return pages.with_columns(
        pl.Series("right", labels.pages.clicked).cast(pl.List(pl.Boolean)),
        pl.Series("verdict", VERDICTS, dtype=pl.String).gather(labels.verdict.astype(np.uint32)),
        pl.Series("source", labels.source, dtype=pl.String),
        pl.Series("asked", labels.asked),
        pl.Series("told", labels.told),
    )


def from_frame(rows: pl.DataFrame, spaces: Spaces) -> Labels:
    """The labels that `frame` wrote."""
    shape = (len(rows), spaces.slate_size)
    nothing, flags = np.zeros(shape, np.bool_), np.zeros(len(rows), np.bool_)
    seen = {n: tables.matrix(rows[f"seen_{n}"], w, tables.OBSERVED[n][1]) for n, w in tables.widths(spaces).items()}
    slates: dict[str, Any] = {name: tables.matrix(rows[name], shape[1], np.int32) for name in ("slates", "slate_items")}
    pages = Feedback(
        keys=Keys(**{name: rows[name].to_numpy() for name in tables.KEYS}),
        observations=seen,
        **slates,
        clicked=tables.matrix(rows["right"], shape[1], np.bool_),
        carted=nothing,
        purchased=nothing,
        not_interested=nothing,
        reward=rows["reward"].to_numpy(),
        terminated=flags,
        truncated=flags,
        slot_propensity=np.full(shape, np.nan),
        version=rows["version"].to_numpy(),
        explored=flags,
    )
    verdict = np.array([VERDICTS.index(word) for word in rows["verdict"]], np.int8)
    return Labels(pages, rows["asked"].to_numpy(), rows["told"].to_numpy(), verdict, tuple(rows["source"]))
