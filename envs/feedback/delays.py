"""How long something takes: distributions of delays in days."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from perennial.envs.validation import at_least

Floats = NDArray[np.float64]


class Delay(ABC):
    """A distribution of delays."""

    @abstractmethod
    def days(self, first: Floats, second: Floats) -> Floats:
        """float64 (n,): delays in days from two uniform draws in (0, 1) each."""

    def hours(self, drawn: Floats) -> NDArray[np.int64]:
        """int64 (n,): whole hours that have passed, from the last two columns of `drawn` (n, 4)."""
        return np.floor(24.0 * self.days(drawn[..., 2], drawn[..., 3])).astype(np.int64)


class Exponential(Delay):
    """Exponential with a mean of `days` > 0."""

    def __init__(self, days: float) -> None:
        self.mean = above_0("delay.days", days)

    def days(self, first: Floats, second: Floats) -> Floats:
        return -self.mean * np.log(first)


class LogNormal(Delay):
    """Log-normal with a median of `days` > 0; its log has the standard deviation `sigma` >= 0."""

    def __init__(self, days: float, sigma: float = 1.0) -> None:
        self.median = above_0("delay.days", days)
        self.sigma = at_least("delay.sigma", sigma, 0.0)

    def days(self, first: Floats, second: Floats) -> Floats:
        standard = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)  # Box and Muller 1958
        return self.median * np.exp(self.sigma * standard)


def above_0(name: str, value: float) -> float:
    """`value`, if it is a finite number > 0."""
    if at_least(name, value, 0.0) == 0:
        raise ValueError(f"'{name}' must be > 0. Got {value!r}.")
    return value


def share(name: str, value: float) -> float:
    """`value`, if it is a number in [0, 1]."""
    if at_least(name, value, 0.0) > 1:
        raise ValueError(f"'{name}' must lie in [0, 1]. Got {value!r}.")
    return value
