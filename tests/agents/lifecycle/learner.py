"""A small agent that learns, fails on demand and stores extras, for tests of the lifecycle."""

from __future__ import annotations

import numpy as np

from perennial.agents.base import Agent, Decision, generator_state, set_generator_state, top_k


class Learner(Agent):
    """Ranks items by clicks counted plus its own noise. `broken` names the methods that raise."""

    broken: frozenset[str] = frozenset()

    def __init__(self, broken=()):
        self.broken = frozenset(broken)

    def begin(self, items, spaces, seed):
        super().begin(items, spaces, seed)
        self.clicks = np.zeros(spaces.n_items)

    def act(self, observations, keys):
        noise = self.rng.random(observations["candidates"].shape)
        slates = top_k(self.clicks[observations["candidates"]] + noise, self.spaces.slate_size)
        return Decision(slates, np.full(slates.shape, np.nan), {"noise": noise[:, 0]})

    def fit(self, window, start="warm"):
        if start == "cold":
            self.clicks[:] = 0
        return self._learn("fit", window) | {"passes": 3.0}

    def update(self, feedback):
        return self._learn("update", feedback)

    def _learn(self, name, pages):
        np.add.at(self.clicks, pages.slate_items, pages.clicked)
        self.rng.random()
        if name in self.broken:
            raise RuntimeError(f"{name} went wrong half-way")
        return {"pages": float(len(pages))}

    def state(self):
        return {"clicks": self.clicks, "generator": generator_state(self.rng)}

    def restore(self, state):
        self.clicks = state["clicks"].copy()
        set_generator_state(self.rng, state["generator"])


def begun(spaces, broken=(), seed=0):
    """A learner that has met the catalogue."""
    agent = Learner(broken)
    agent.begin({}, spaces, seed)
    return agent
