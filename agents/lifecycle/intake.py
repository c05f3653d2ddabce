"""What the feedback log accepts: wrong forms are refused at once, bad rows are set aside with a reason."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Spaces
from perennial.agents.lifecycle.tables import KEYS, OBSERVED, PER_PAGE, PER_SLOT, arrays, widths

MAX_PAGES = 4096
"""Pages one visit may have; a page's key is visit * MAX_PAGES + page, and must fit an int64."""
MAX_VISIT = (1 << 63) // MAX_PAGES - 1
ROUNDING = 1e-9
"""How far above 1 a product of probabilities may land by rounding."""

Row = NDArray[np.bool_]


def check_form(feedback: Feedback, spaces: Spaces) -> None:
    """Raise unless every array has the shape and the dtype that the spaces say."""
    missing = sorted(set(OBSERVED) - set(feedback.observations))
    if missing:
        raise ValueError(f"'feedback.observations' must hold {', '.join(OBSERVED)}. Missing: {', '.join(missing)}.")
    rows = len(feedback)
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]]
    expected = {name: ((rows,), dtype) for name, dtype in {**KEYS, **PER_PAGE}.items()}
    expected |= {name: ((rows, spaces.slate_size), dtype) for name, dtype in PER_SLOT.items()}
    expected |= {f"seen_{name}": ((rows, n), OBSERVED[name][1]) for name, n in widths(spaces).items()}
    for name, array in arrays(feedback).items():
        shape, dtype = expected[name]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"'feedback': {name.replace('seen_', 'observations.')} must be {np.dtype(dtype)} of shape {shape}. "
                f"Got {array.dtype} of shape {array.shape}. Nothing was logged."
            )


def _outside(values: NDArray[np.int32], low: int, high: int) -> Row:
    wrong: Row = np.any((values < low) | (values >= high), axis=1)
    return wrong


def _not_finite(values: NDArray[np.float32]) -> Row:
    wrong: Row = np.any(~np.isfinite(values), axis=1)
    return wrong


def _wrong_propensity(values: NDArray[np.float64]) -> Row:
    wrong: Row = np.any((values <= 0) | (values > 1 + ROUNDING), axis=1)  # NaN = unknown, declared: passes
    return wrong


def _wrong_items(f: Feedback) -> Row:
    candidates = f.observations["candidates"]
    slots = np.clip(f.slates, 0, candidates.shape[1] - 1)
    wrong: Row = np.any(np.take_along_axis(candidates, slots, axis=1) != f.slate_items, axis=1)
    return wrong


RULES: dict[str, Callable[[Feedback, Spaces, range], Row]] = {
    "visit or page number out of range": lambda f, s, t: (
        (f.keys.visit < 0) | (f.keys.visit > MAX_VISIT) | (f.keys.page < 0) | (f.keys.page >= MAX_PAGES)
    ),
    "tick is not an hour being closed": lambda f, s, t: f.keys.tick >= t.stop,
    "too late": lambda f, s, t: f.keys.tick < t.start,
    "user_id out of range": lambda f, s, t: (f.keys.user_id < 0) | (f.keys.user_id >= s.n_users),
    "user not finite": lambda f, s, t: _not_finite(f.observations["user"]),
    "page not finite": lambda f, s, t: _not_finite(f.observations["page"]),
    "calendar not finite": lambda f, s, t: _not_finite(f.observations["calendar"]),
    "notice not finite": lambda f, s, t: _not_finite(f.observations["notice"]),
    "reward not finite": lambda f, s, t: ~np.isfinite(f.reward),
    "candidates out of range": lambda f, s, t: _outside(f.observations["candidates"], 0, s.n_items),
    "history out of range": lambda f, s, t: _outside(f.observations["history"], -1, s.n_items),
    "slate slot out of range": lambda f, s, t: _outside(f.slates, 0, s.n_candidates),
    "slate_items differ from the candidates": lambda f, s, t: _wrong_items(f),
    "slot_propensity outside (0, 1]": lambda f, s, t: _wrong_propensity(f.slot_propensity),
}
"""Reason: which rows it refuses, pages of the hours t being welcome. The first that applies is the one recorded."""


def refused(feedback: Feedback, spaces: Spaces, hours: range) -> dict[int, str]:
    """Row number -> reason, for the rows that must not enter the log."""
    reasons: dict[int, str] = {}
    for reason, rule in RULES.items():
        wrong = rule(feedback, spaces, hours)
        if wrong.any():
            for row in np.flatnonzero(wrong).tolist():
                reasons.setdefault(row, reason)
    return reasons


class Seen:
    """Keys of what entered the log lately, by the day it did, so that a duplicate is known when it comes."""

    def __init__(self) -> None:
        self._keys: set[Hashable] = set()
        self._on: dict[int, list[Hashable]] = {}

    @property
    def days(self) -> list[int]:
        """The days remembered."""
        return list(self._on)

    def add(self, keys: Sequence[Hashable], day: int) -> None:
        """Remember `keys`, which enter on `day`."""
        if keys:
            self._keys.update(keys)
            self._on.setdefault(day, []).extend(keys)

    def new(self, keys: Sequence[Hashable], day: int) -> NDArray[np.bool_]:
        """bool (len(keys),): which are new, the first of equal ones only; they are remembered as of `day`."""
        fresh = np.ones(len(keys), np.bool_)
        if not self._keys.isdisjoint(keys) or len(set(keys)) < len(keys):
            met: set[Hashable] = set()
            for place, key in enumerate(keys):
                fresh[place] = key not in self._keys and key not in met
                met.add(key)
        self.add([key for key, is_new in zip(keys, fresh.tolist(), strict=True) if is_new], day)
        return fresh

    def forget(self, last_day: int) -> None:
        """Let go of what entered up to `last_day`."""
        for day in [day for day in self._on if day <= last_day]:
            self._keys.difference_update(self._on.pop(day))


def page_keys(feedback: Feedback) -> NDArray[np.int64]:
    """int64 (P,): one number per (visit, page)."""
    keys: NDArray[np.int64] = feedback.keys.visit * MAX_PAGES + feedback.keys.page
    return keys
