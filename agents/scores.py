"""Asking an agent how it ranks the candidates, without leaving a trace in what it will serve."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from numpy.typing import NDArray

from perennial.agents.base import Agent, Keys, Observations

Scorer = Callable[[Observations, Keys], NDArray[Any]]
"""float (B, M): the score of each candidate, the higher the better."""


def scorer(agent: Agent) -> Scorer | None:
    """The agent's `scores`, with or without keys as it takes them; None where it ranks by no scores.

    Thompson sampling draws its scores: the generator is put back to where it was.
    """
    scores = getattr(agent, "scores", None)
    if not callable(scores):
        return None

    def asked(observations: Observations, keys: Keys) -> NDArray[Any]:
        before = agent.rng.bit_generator.state
        try:
            found: NDArray[Any] = (
                scores(observations, keys) if len(signature(scores).parameters) > 1 else scores(observations)
            )
        finally:
            agent.rng.bit_generator.state = before
        return found

    return asked
