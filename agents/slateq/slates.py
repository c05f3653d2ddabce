"""Slates under a conditional logit: what one is worth, and which is worth most.

A slot may pull by its place: `pull` (K,) > 0 multiplies the attraction of whatever stands there, as a visitor who
looks at later slots less often makes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import top_k

Floats = NDArray[np.floating[Any]]


def slate_value(weight: Floats, value: Floats, nothing: Floats, pull: Floats) -> Floats:
    """(B,): expected value of B slates, of whose items the visitor chooses one or none (Ie et al. 2019, section 4).

    `weight` (B, K): attraction of each item, > 0, that of choosing none being 1. `value` (B, K): worth of its choice.
    `nothing` (B,): worth of choosing none.
    """
    drawn = weight * pull
    return np.asarray(((drawn * value).sum(axis=1) + nothing) / (1.0 + drawn.sum(axis=1)))


def top_k_slates(weight: Floats, value: Floats, nothing: Floats, pull: Floats) -> NDArray[np.int32]:
    """int32 (B, K): the candidates of the largest weight x value, best first; the paper's cheap form, not optimal.

    `weight`, `value` (B, M) of all candidates.
    """
    return top_k(weight * value, len(pull))


def exact_slates(weight: Floats, value: Floats, nothing: Floats, pull: Floats) -> NDArray[np.int32]:
    """int32 (B, K): the candidates of the best slate, slot by slot, for `weight` and `value` (B, M) of all candidates.

    The paper solves the fractional programme as a linear one. It is solved here by Dinkelbach's method
    (1967), which has the same optimum: with l the value of the slate in hand, the best slate of sum pull weight (value
    - l) is the top K by weight (value - l), the best of them in the slot that pulls most, and so on (rearrangement
    inequality); its own value is the next l. Values rise until the optimum is reached.
    """
    rows = np.arange(len(weight))
    place = np.argsort(np.argsort(-pull, kind="stable"), kind="stable")  # of each slot among all, by its pull
    slates = top_k_slates(weight, value, nothing, pull)[:, place]
    level = np.full(len(weight), -np.inf)
    while len(rows):
        w, v = (np.take_along_axis(part[rows], slates[rows], axis=1) for part in (weight, value))
        better = slate_value(w, v, nothing[rows], pull)
        rose = better > level[rows]
        rows = rows[rose]
        level[rows] = better[rose]
        slates[rows] = top_k(weight[rows] * (value[rows] - level[rows, None]), len(pull))[:, place]
    return slates


OPTIMISERS = {"exact": exact_slates, "top_k": top_k_slates}
"""The forms of slate optimisation, by name."""
