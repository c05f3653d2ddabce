"""Uniform slates: the floor every agent has to beat, and the exploration inside `Exploring`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import (
    Agent,
    Decision,
    Keys,
    Observations,
    generator_state,
    set_generator_state,
    top_k,
)
from perennial.agents.validation import saved


def uniform_slates(rng: np.random.Generator, pages: int, candidates: int, slate_size: int) -> NDArray[np.int32]:
    """int32 (pages, slate_size): slots drawn uniformly without replacement, every order equally likely."""
    return top_k(rng.random((pages, candidates)), slate_size)


def uniform_propensity(slates: NDArray[np.int32], candidates: int) -> NDArray[np.float64]:
    """float64 (B, K): P(a_k | a_<k) of given slates under `uniform_slates`: 1 / (M - k), and 0 from a repeat on."""
    k = np.arange(slates.shape[1])
    repeats = ((slates[:, :, None] == slates[:, None, :]) & (k[:, None] > k)).any(axis=2)
    return np.where(np.logical_or.accumulate(repeats, axis=1), 0.0, 1.0 / (candidates - k))


class RandomSlates(Agent):
    """Shows K of the M candidates, drawn uniformly without replacement; learns nothing.

    >>> import numpy as np
    >>> from perennial.agents.base import Keys, Spaces
    >>> agent = RandomSlates()
    >>> agent.begin({}, Spaces(100, 10, 3, 20, 4, 8, 6, 6, 8, 0), seed=1)
    >>> agent.act({"candidates": np.zeros((1, 20), np.int32)}, Keys(*[np.zeros(1, np.int64)] * 4)).slates
    array([[ 1,  3,  6, 13]], dtype=int32)
    """

    def act(self, observations: Observations, keys: Keys) -> Decision:
        pages, candidates = observations["candidates"].shape
        size = self.spaces.slate_size
        chance = 1.0 / (candidates - np.arange(size))
        return Decision(uniform_slates(self.rng, pages, candidates, size), np.tile(chance, (pages, 1)))

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return uniform_propensity(slates, observations["candidates"].shape[1])

    def state(self) -> dict[str, NDArray[Any]]:
        return {"generator": generator_state(self.rng)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        set_generator_state(self.rng, saved(state, "generator", (6,)))
