"""What a decision costs, declared and never measured, so that a run can be repeated on any machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback
from perennial.agents.validation import number

REMEMBERED = 256
"""Versions whose cost is kept: pages of one that no longer serves may still be on their way."""


class DeclaredCost:
    """What a decision on one page takes, declared and never measured: the same on every machine.

    An agent may declare it itself as an attribute ``latency_ms``; else it is a base and a price for each parameter it
    keeps.

    Arguments
    ---------
    base_ms : milliseconds of any decision
    ms_per_million : milliseconds for each million numbers in the agent's state
    """

    def __init__(self, base_ms: float = 0.5, ms_per_million: float = 2.0) -> None:
        self.base_ms = number("base_ms", base_ms, 0.0)
        self.ms_per_million = number("ms_per_million", ms_per_million, 0.0)

    def of(self, agent: Agent) -> float:
        """Declared milliseconds of one decision."""
        declared = getattr(agent, "latency_ms", None)
        if declared is not None:
            return float(declared)
        return self.base_ms + self.ms_per_million * 1e-6 * sum(array.size for array in agent.state().values())


class VersionCosts:
    """The declared cost of each version that serves, and so of each page it served.

    Arguments
    ---------
    model : what a decision of an agent costs
    """

    def __init__(self, model: DeclaredCost) -> None:
        self.model = model
        self._of: dict[int, float] = {}

    def settle(self, version: int, agent: Agent) -> float:
        """`agent` serves, or will, as `version`, as it is now: milliseconds of one of its decisions."""
        self._of.pop(version, None)
        self._of[version] = self.model.of(agent)
        if len(self._of) > REMEMBERED:
            del self._of[next(iter(self._of))]
        return self._of[version]

    def __call__(self, pages: Feedback) -> NDArray[np.float64]:
        """float64 (P,): milliseconds of the decision of each page; NaN where its version is unknown, or forgotten."""
        versions, row = np.unique(pages.version, return_inverse=True)
        return np.array([self._of.get(version, np.nan) for version in versions.tolist()], np.float64)[row]
