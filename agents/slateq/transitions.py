"""From logged pages to choices and what followed them: the next page of the same visit, or its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Spaces

Pages = dict[str, NDArray[Any]]
"""P pages, sorted by (visit, page):

=====================  ================  ======================================================================
``visit``, ``page``    (P,) int          which page it is
``ended``              (P,) bool         the visit ended with this page
``slate_items``        (P, K) int32      ids shown
``choices``            (P, K + 1) f32    1 where a slot was clicked; in the last column where none was
``reward``             (P, K + 1) f32    the page's reward, shared out to its choices
``observations/<o>``   (P, ...)          the observation named o
=====================  ================  ======================================================================
"""

OBSERVED = ("user", "history", "candidates", "page", "calendar", "notice")


def pages_of(feedback: Feedback) -> Pages:
    """The logged pages with their choices.

    A clicked slot is a choice, several on one page are several; a page without a click is the choice of nothing. The
    page's reward is shared out to its choices in proportion to clicks + carts + purchases.
    """
    order = np.lexsort((feedback.keys.page, feedback.keys.visit))
    events = feedback.clicked.astype(np.float32) + feedback.carted + feedback.purchased
    events = np.where(feedback.clicked, events, np.float32(0))
    total = events.sum(axis=1, keepdims=True)
    none = ~feedback.clicked.any(axis=1, keepdims=True)
    share = np.concatenate([events / np.maximum(total, 1), none], axis=1)
    pages: Pages = {
        "visit": feedback.keys.visit,
        "page": feedback.keys.page,
        "ended": feedback.terminated | feedback.truncated,
        "slate_items": feedback.slate_items,
        "choices": np.concatenate([feedback.clicked, none], axis=1).astype(np.float32),
        "reward": (share * feedback.reward[:, None]).astype(np.float32),
    }
    pages |= {f"observations/{name}": feedback.observations[name] for name in OBSERVED}
    return take(pages, order)


def none(spaces: Spaces) -> Pages:
    """No pages, with every column in its shape."""
    k = spaces.slate_size
    shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "visit": ((), np.int64), "page": ((), np.int32), "ended": ((), np.bool_), "slate_items": ((k,), np.int32),
        "choices": ((k + 1,), np.float32), "reward": ((k + 1,), np.float32),
        "observations/user": ((spaces.user_dim,), np.float32), "observations/history": ((spaces.history,), np.int32),
        "observations/candidates": ((spaces.n_candidates,), np.int32),
        "observations/page": ((spaces.page_dim,), np.float32),
        "observations/calendar": ((spaces.calendar_dim,), np.float32),
        "observations/notice": ((spaces.notice_dim,), np.float32),
    }  # fmt: skip
    return {name: np.empty((0, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def count(pages: Pages) -> int:
    return len(pages["visit"])


def take(pages: Pages, rows: NDArray[Any]) -> Pages:
    return {name: column[rows] for name, column in pages.items()}


def merge(waiting: Pages, new: Pages) -> Pages:
    """Both together, sorted by (visit, page); of a page handed over twice the first stays."""
    both = {name: np.concatenate([waiting[name], new[name]]) for name in new}
    both = take(both, np.lexsort((both["page"], both["visit"])))
    first = np.ones(count(both), dtype=np.bool_)
    first[1:] = (np.diff(both["visit"]) != 0) | (np.diff(both["page"]) != 0)
    return take(both, first)


def successors(pages: Pages) -> NDArray[np.int64]:
    """int64 (P,): the row of the next page of the same visit; -1 where the visit ended, -2 where it is not there."""
    rows = np.arange(count(pages))
    follows = np.zeros(len(rows), dtype=np.bool_)
    follows[:-1] = (np.diff(pages["visit"]) == 0) & (np.diff(pages["page"]) == 1)
    return np.where(pages["ended"], -1, np.where(follows, rows + 1, -2))
