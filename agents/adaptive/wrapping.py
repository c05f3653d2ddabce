"""What agents around one other agent share: whatever they do not change is asked of the agent inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Keys, Observations
from perennial.agents.scores import Scorer, scorer


class Wrapping(Agent):
    """Serves as `agent` serves; a form says in `begin`, `fit` and `update` what it adds to that."""

    agent: Agent

    def fresh_seed(self) -> int:
        """A seed for `agent` where it begins anew or comes back: its draws follow from the latest `reseed`."""
        return int(self.rng.integers(2**31))

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self.agent.reseed(seed)

    def act(self, observations: Observations, keys: Keys) -> Decision:
        return self.agent.act(observations, keys)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return self.agent.slate_propensity(observations, keys, slates)

    @property
    def scores(self) -> Scorer | None:
        """Those of the agent in service, for who asks how certain a decision is."""
        return scorer(self.agent)

    @property
    def stored(self) -> tuple[str, ...]:
        return self.agent.stored

    @property
    def on_policy(self) -> bool:
        return self.agent.on_policy

    def recollect(self, pages: Feedback) -> None:
        self.agent.recollect(pages)
