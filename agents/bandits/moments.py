"""What a ridge regression needs of its data: weighted sums of products, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.validation import saved


@dataclass
class Moments:
    """Sums over rows x (d numbers) with target y and weight w; each field has the same leading batch axes.

    ``A`` (..., d, d) sum of w x x'; ``b`` (..., d) sum of w y x; ``yy`` (...) sum of w y^2; ``rows`` (...) sum of w.
    All float64.
    """

    A: Floats
    b: Floats
    yy: Floats
    rows: Floats

    @staticmethod
    def zeros(size: int, batch: tuple[int, ...] = ()) -> Moments:
        return Moments(np.zeros((*batch, size, size)), np.zeros((*batch, size)), np.zeros(batch), np.zeros(batch))

    @staticmethod
    def of(x: Floats, y: Floats, weights: Floats | None = None) -> Moments:
        """The sums over P pages of K rows: x (..., P, K, d), y (..., P, K), weights (P,) or all 1."""
        size = x.shape[-1]
        scaled = y if weights is None else y * weights[:, None]
        total = np.float64(x.shape[-3] if weights is None else weights.sum()) * x.shape[-2]
        flat, targets = x.reshape(*x.shape[:-3], -1, size), scaled.reshape(*x.shape[:-3], -1)
        weighted = flat if weights is None else (x * weights[:, None, None]).reshape(flat.shape)
        return Moments(
            weighted.mT @ flat,
            (flat.mT @ targets[..., None])[..., 0],
            (scaled * y).sum(axis=(-2, -1)),
            np.full(x.shape[:-3], total),
        )

    def add(self, other: Moments) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    def fade(self, factor: float) -> None:
        """Multiply all sums."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) * factor)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of the sums; a single number as an array of one, which files of arrays can hold."""
        return {f.name: np.array(getattr(self, f.name), ndmin=1) for f in fields(self)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for f in fields(self):
            shape = np.shape(getattr(self, f.name))
            setattr(self, f.name, saved(state, f.name, shape or (1,)).reshape(shape))
