"""Checks of what an agent is given; each message names the argument, what is allowed, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from perennial.agents.base import Feedback, Spaces


def number(name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> float:
    """`value` as a float, if it is a finite number in [low, high], or in (low, high] with `above`."""
    edge = "(" if above else "["
    allowed = f"a number in {edge}{low:g}, {high:g}{')' if high == math.inf else ']'}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"'{name}' must be {allowed}. Got {type(value).__name__}: {value!r}.")
    if not (low < value if above else low <= value) or not value <= high or not math.isfinite(value):
        raise ValueError(f"'{name}' must be {allowed}. Got {value!r}.")
    return float(value)


def whole(name: str, value: Any, low: int) -> int:
    """`value` as an int, if it is an integer >= `low`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"'{name}' must be an integer >= {low}. Got {type(value).__name__}: {value!r}.")
    if value < low:
        raise ValueError(f"'{name}' must be an integer >= {low}. Got {value!r}.")
    return int(value)


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """`value`, if it is one of the words `allowed`."""
    if value not in allowed:
        raise ValueError(f"'{name}' must be one of {', '.join(map(repr, allowed))}. Got {value!r}.")
    return str(value)


def saved(state: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A copy of the array `name` of a saved state, if it is there and fits an agent of this size."""
    if name not in state:
        raise ValueError(f"The state must hold '{name}'. Got {sorted(state)}: was it saved by another kind of agent?")
    if state[name].shape != shape:
        raise ValueError(
            f"'{name}' must have shape {shape}. Got {state[name].shape}: load into an agent with the same options, "
            "begun with the same items and spaces."
        )
    return state[name].copy()


def check_feedback(feedback: Feedback, spaces: Spaces, argument: str) -> None:
    """Refuse pages that no agent can learn from, naming the array, the fault, how many pages have it and the first."""
    seen = feedback.observations
    named = {"observations": seen, "extras": feedback.extras}
    floats = {
        f"{kind}['{name}']": array
        for kind, arrays in named.items()
        for name, array in arrays.items()
        if array.dtype.kind == "f"
    }
    for name, array in {**floats, "reward": feedback.reward, "clicked": feedback.clicked}.items():
        _refuse(argument, name, "finite numbers only", "NaN or infinity", np.logical_not(np.isfinite(array)))
    ids = {
        "slates": (feedback.slates, 0, spaces.n_candidates),
        "slate_items": (feedback.slate_items, 0, spaces.n_items),
        "keys.user_id": (feedback.keys.user_id, 0, spaces.n_users),
    }
    for name, low in (("history", -1), ("candidates", 0)):
        if name in seen:
            ids[f"observations['{name}']"] = (seen[name], low, spaces.n_items)
    for name, (array, low, high) in ids.items():
        _refuse(argument, name, f"ids in [{low}, {high})", "ids outside", (array < low) | (array >= high))
    _refuse(argument, "keys", "each page of a visit once", "a page again", _repeated(feedback))


def _repeated(feedback: Feedback) -> NDArray[np.bool_]:
    """bool (P,): an earlier row is the same page of the same visit."""
    order = np.lexsort((feedback.keys.page, feedback.keys.visit))
    visit, page = feedback.keys.visit[order], feedback.keys.page[order]
    again = np.zeros(len(order), dtype=np.bool_)
    again[order[1:]] = (visit[1:] == visit[:-1]) & (page[1:] == page[:-1])
    return again


def _refuse(argument: str, name: str, allowed: str, got: str, fault: Any) -> None:
    """Raise if `fault` bool (P, ...) holds anywhere."""
    bad = fault.reshape(len(fault), -1).any(axis=1) if fault.size else np.zeros(0, dtype=np.bool_)
    if bad.any():
        raise ValueError(
            f"'{argument}.{name}' must hold {allowed}. Got {got} on {bad.sum()} of {len(bad)} pages, first on page "
            f"{int(bad.argmax())}. Take these pages out (feedback.take) before the agent learns from the rest."
        )
