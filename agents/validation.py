"""Checks of what an agent is given; each message names the argument, what is allowed, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
