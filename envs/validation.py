"""Checks whose messages name the argument, what is allowed, what came and what to do."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from perennial.envs.compiled import kernel

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def at_least(name: str, value: Number, low: float) -> Number:
    """`value`, if it is a number of the right kind and >= `low`."""
    kind = "an integer" if isinstance(low, int) else "a finite number"
    right = (
        isinstance(value, int | np.integer) if isinstance(low, int) else isinstance(value, int | float | np.floating)
    )
    if isinstance(value, bool) or not right or not low <= value < float("inf"):
        raise ValueError(f"'{name}' must be {kind} >= {low}. Got {value!r}.")
    return value


def one_of_type(name: str, value: Any, kind: type[T]) -> T:
    """`value`, if it is a `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"'{name}' must be a {kind.__name__}. Got {type(value).__name__}: {value!r}.")
    return value


def check_slates(slates: Any, pages: int, slate_size: int, candidates: int) -> NDArray[np.int64]:
    """int64 (pages, slate_size): `slates`, if every entry is an integer slot in [0, candidates)."""
    given = np.asarray(slates)
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"A slate is made of integers, slots into 'candidates'. Got dtype {given.dtype}; round or cast it yourself."
        )
    if given.shape != (pages, slate_size):
        raise ValueError(f"'slates' must have shape ({pages}, {slate_size}), pages x slots. Got {given.shape}.")
    slots = np.ascontiguousarray(given, dtype=np.int64)
    if not within(slots, candidates):
        row, slot = np.argwhere((given < 0) | (given >= candidates))[0]
        raise ValueError(
            f"A slate holds slots into 'candidates', in [0, {candidates}). "
            f"Got {given[row, slot]} at page {row}, slot {slot}."
        )
    return slots


@kernel
def within(slots: Any, candidates: Any) -> Any:
    """Whether all of `slots` int64 (n, K) lie in [0, candidates)."""
    worst = np.uint64(0)
    for n in range(slots.shape[0]):
        for k in range(slots.shape[1]):
            worst = max(worst, np.uint64(slots[n, k]))  # below 0 becomes huge
    return worst < np.uint64(candidates)
