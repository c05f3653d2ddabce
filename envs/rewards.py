"""What a shop is paid for: the weights that turn a page's response into a reward."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reward:
    """Reward of a page = sum over its slots of click + cart + purchase - not_interested, each times its weight.

    All weights are finite and >= 0. The reward of a slot does not depend on the other slots, save that a repeated item
    earns nothing in its later slots.
    """

    click: float = 1.0
    cart: float = 0.0
    purchase: float = 0.0
    not_interested: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"'reward.{f.name}' must be a finite number >= 0. Got {value!r}.")

    def weights(self) -> NDArray[np.float64]:
        """float64 (4,): click, cart, purchase, not interested."""
        return np.array(astuple(self), dtype=np.float64)
