"""LinUCB (Li et al. 2010): a linear model of the click, plus a bonus for what it is not sure of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces, top_k
from perennial.agents.pair_features import PairFeatures
from perennial.agents.validation import number, one_of, saved, whole

CHUNK = 1024  # pages whose features are held at once while learning


class LinUCB(Agent):
    """Ranks candidates by ``theta . x + alpha sqrt(x' A^-1 x)``, with one theta for all items.

    Li, Chu, Langford and Schapire 2010, "A contextual-bandit approach to personalized news article recommendation",
    algorithm 1 with shared parameters (one model per item, as printed there, would have thousands of models to fill).
    x is `PairFeatures`; the target is the click of a slot, 0 or 1. While learning, x also says in which slot the item
    stood (one-hot, the first slot left out): items are judged as if shown first, so that a low slot is not held
    against them. ``A = ridge I + sum x x'`` and ``b = sum x r`` are summed exactly in float64, so learning page by
    page, in batches or at once is the same ridge regression, theta = A^-1 b.

    `fit` with start="cold" forgets and learns the window. With "warm" it adds those pages of the window that are
    later (by `tick`) than all it has learned from, and forgets nothing. `update` adds all pages it is given.

    Arguments
    ---------
    alpha : width of the bonus in standard deviations, >= 0; 0 is greedy
    ridge : strength of the prior that theta is 0, > 0
    rank : user directions and item directions that are multiplied with each other, >= 1; gives rank^2 features
    """

    def __init__(self, alpha: float = 0.3, ridge: float = 1.0, rank: int = 5) -> None:
        self.alpha = number("alpha", alpha, 0.0)
        self.ridge = number("ridge", ridge, 0.0, above=True)
        self.rank = whole("rank", rank, 1)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.features = PairFeatures(items, spaces, self.rank, self.rng)
        self.size = self.features.size + spaces.slate_size - 1
        self._forget()

    def _forget(self) -> None:
        self.A = self.ridge * np.eye(self.size)
        self.b = np.zeros(self.size)
        self.last_tick = np.full(1, -1, dtype=np.int64)
        self._solve()

    def _solve(self) -> None:
        """theta, and the root of A^-1 whose product with x has the bonus as its length; float32 parts for serving."""
        root = np.linalg.inv(np.linalg.cholesky(self.A))  # root' root = A^-1
        self.theta = root.T @ (root @ self.b)
        served = self.features.size
        self._weights = self.theta[:served].astype(np.float32)
        inverse = root[:, :served].T @ root[:, :served]
        self._root = np.linalg.cholesky(inverse).astype(np.float32)

    def scores(self, observations: Observations) -> NDArray[np.float32]:
        """float32 (B, M): the upper confidence bound of each candidate's click rate in the first slot."""
        items = observations["candidates"]
        x = self.features.of(observations, items).reshape(items.size, -1)
        mean = x @ self._weights
        if self.alpha > 0.0:
            bonus = x @ self._root
            mean += np.float32(self.alpha) * np.sqrt(np.einsum("nd,nd->n", bonus, bonus))
        return mean.reshape(items.shape)

    def act(self, observations: Observations, keys: Keys) -> Decision:
        slates = top_k(self.scores(observations), self.spaces.slate_size)
        return Decision(slates, np.ones(slates.shape))

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if one_of("start", start, ("warm", "cold")) == "cold":
            self._forget()
        return self.update(window.take(window.keys.tick > self.last_tick[0]))

    def update(self, feedback: Feedback) -> dict[str, float]:
        if len(feedback) == 0:
            return {"pages": 0.0}
        error = 0.0
        for first in range(0, len(feedback), CHUNK):
            error += self._add(feedback.take(np.arange(first, min(first + CHUNK, len(feedback)))))
        self.last_tick = np.maximum(self.last_tick, feedback.keys.tick.max())
        self._solve()
        return {"pages": float(len(feedback)), "squared_error_before": error / feedback.clicked.size}

    def _add(self, feedback: Feedback) -> float:
        """Add pages to A and b; the squared error the present theta makes on them."""
        x = self.rows(feedback)
        clicks = feedback.clicked.ravel().astype(np.float64)
        error = float(((clicks - x @ self.theta) ** 2).sum())
        self.A += x.T @ x
        self.b += x.T @ clicks
        return error

    def rows(self, feedback: Feedback) -> NDArray[np.float64]:
        """float64 (P x K, size): the features of every slot shown, those of its position included."""
        pairs = self.features.of(feedback.observations, feedback.slate_items)
        slots = feedback.slate_items.shape[1]
        position = np.broadcast_to(np.eye(slots)[:, 1:], (len(pairs), slots, slots - 1))
        return np.concatenate([pairs, position], axis=2).reshape(-1, self.size)

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "A": self.A.copy(),
            "b": self.b.copy(),
            "last_tick": self.last_tick.copy(),
            "user_directions": self.features.user_directions.copy(),
            "item_directions": self.features.item_directions.copy(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        user, item = (self.spaces.user_dim, self.rank), (self.features.n_features, self.rank)
        self.features.turn(saved(state, "user_directions", user), saved(state, "item_directions", item))
        self.A = saved(state, "A", (self.size, self.size))
        self.b = saved(state, "b", (self.size,))
        self.last_tick = saved(state, "last_tick", (1,))
        self._solve()
