"""Slates drawn slot by slot in proportion to exp(logit), without replacement, with their exact probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import top_k


def draw_slates(logits: NDArray[np.float64], slate_size: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """int32 (B, K): the largest of `logits` (B, M) plus Gumbel noise, which is such a draw (Yellott 1977)."""
    return top_k(logits + rng.gumbel(size=logits.shape), slate_size)


def slot_propensity(logits: NDArray[np.float64], slates: NDArray[np.int32]) -> NDArray[np.float64]:
    """float64 (B, K): exp(l_k) over the sum of exp(l) of those not shown before k (Plackett 1975); 0 for a repeat."""
    repeated = ((slates[:, :, None] == slates[:, None, :]) & np.tri(slates.shape[1], k=-1, dtype=np.bool_)).any(axis=2)
    chosen = np.where(repeated, -np.inf, np.take_along_axis(logits, slates.astype(np.int64), axis=1))
    left = logits.copy()
    np.put_along_axis(left, slates.astype(np.int64), -np.inf, axis=1)
    rest = np.logaddexp.reduce(left, axis=1, keepdims=True)
    open_mass = np.logaddexp.accumulate(np.concatenate([rest, chosen[:, ::-1]], axis=1), axis=1)[:, :0:-1]
    possible = np.logical_and.accumulate(~repeated, axis=1)
    return np.exp(chosen - open_mass, out=np.zeros(slates.shape), where=possible)
