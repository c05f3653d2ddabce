"""An agent that knows the date: the harmonics of the year stand among the visitor's attributes, shrunken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.adaptive.keeping import an_agent
from perennial.agents.adaptive.wrapping import Wrapping
from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces
from perennial.agents.scores import Scorer, scorer
from perennial.agents.validation import number, whole

YEARS = 4  # the first columns of ``calendar``: sine and cosine of the year and of half a year


class CalendarConditioned(Wrapping):
    """Lets `agent` see sine and cosine of the year (and of half a year) as attributes of every visitor.

    Whatever `agent` learns of attributes and items together (the taste part of ``mf_transformer``, a neural network)
    it then learns of seasons and items: a harmonic regression (as in Harvey 1989, section 2.3.4), one season for each
    category and item. A season that was seen once comes back by itself a year later, with nothing retrained.

    Shrinkage: the columns are multiplied by `scale`. Under a prior of fixed variance on the weights (ridge, weight
    decay) an effect's prior variance is that times ``scale^2``, so a small scale believes in a season only on evidence.
    It matters: over less than a year the harmonics are nearly a trend, and a trend can be extrapolated too far.

    Arguments
    ---------
    agent : the agent to be told the date; begun, taught and saved by this one
    harmonics : 1, the year, or 2, half a year as well
    scale : size of the columns, > 0
    """

    def __init__(self, agent: Agent, harmonics: int = 1, scale: float = 0.5) -> None:
        self.agent = an_agent("agent", agent)
        self.harmonics = whole("harmonics", harmonics, 1)
        if 2 * harmonics > YEARS:
            raise ValueError(f"'harmonics' must be 1 or 2: the calendar has no more. Got {harmonics}.")
        self.scale = number("scale", scale, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.agent.begin(items, replace(spaces, user_dim=spaces.user_dim + 2 * self.harmonics), seed)

    def dated(self, observations: Observations) -> dict[str, NDArray[Any]]:
        """The observations, with the date among the visitor's attributes."""
        date = np.float32(self.scale) * observations["calendar"][:, : 2 * self.harmonics]
        return {**observations, "user": np.concatenate([observations["user"], date], axis=1)}

    def act(self, observations: Observations, keys: Keys) -> Decision:
        return self.agent.act(self.dated(observations), keys)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return self.agent.slate_propensity(self.dated(observations), keys, slates)

    @property
    def scores(self) -> Scorer | None:
        """Those of the agent, for who asks how certain a decision is."""
        scores = scorer(self.agent)
        return None if scores is None else lambda observations, keys: scores(self.dated(observations), keys)

    def recollect(self, pages: Feedback) -> None:
        self.agent.recollect(replace(pages, observations=self.dated(pages.observations)))

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        return self.agent.fit(replace(window, observations=self.dated(window.observations)), start)

    def update(self, feedback: Feedback) -> dict[str, float]:
        return self.agent.update(replace(feedback, observations=self.dated(feedback.observations)))

    def state(self) -> dict[str, NDArray[Any]]:
        return self.agent.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.agent.restore(state)
