"""What all linear slate agents share: features of visitor and item, a ridge regression of the click, a memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear import Ridge
from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.bandits.memory import Memory
from perennial.agents.base import (
    Agent,
    Decision,
    Feedback,
    Items,
    Keys,
    Observations,
    Spaces,
    generator_state,
    set_generator_state,
    top_k,
)
from perennial.agents.pair_features import PairFeatures
from perennial.agents.validation import number, saved, whole

CHUNK = 1024  # pages whose features are held at once while learning
PREFIX = "memory."
LEAST = 1e-6  # chance of a click: a line falls below 0, a chance does not, and 0 says that none is foretold


class LinearSlates(Agent):
    """A ridge regression of the click of a slot on x; one theta for all items.

    x is `PairFeatures`. While learning, x also says in which slot the item stood (one-hot, the first slot left out):
    items are judged as if shown first, so that a low slot is not held against them. All sums are exact float64, so
    learning page by page, in batches or at once is the same ridge regression; serving takes float32 copies.

    `fit` with start="cold" forgets and learns the window. With "warm" it adds those pages of the window that are
    later (by `tick`) than all it has learned from. `update` adds all pages it is given, oldest first. What is forgotten
    is up to `memory`. Pages with NaN or unknown items are refused before anything is learned.

    Decisions carry the click rates that theta expects of the slots shown as ``predicted_clicks`` float64 (B, K).
    """

    def __init__(self, ridge: float, rank: int, memory: Memory) -> None:
        if not isinstance(memory, Memory):
            raise TypeError(
                f"'memory' must be a Memory, such as Everything(). Got {type(memory).__name__}: {memory!r}."
            )
        self.ridge = number("ridge", ridge, 0.0, above=True)
        self.rank = whole("rank", rank, 1)
        self.memory = memory

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.features = PairFeatures(items, spaces, self.rank, self.rng)
        self.size = self.served + spaces.slate_size - 1
        self.model = Ridge(self.memory, self.ridge)
        self._forget()

    def _forget(self) -> None:
        self.last_tick = np.full(1, -1, dtype=np.int64)
        self.model.begin(self.size)
        self._refresh()

    # -- serving -------------------------------------------------------------------------------------------------------

    @property
    def served(self) -> int:
        """How many numbers of x serving knows: all but those of the slot."""
        return self.features.size

    def _refresh(self) -> None:
        """What follows from the memory: theta, its precision A, and for serving float32 copies of theta and of a root
        of its covariance, both of the served numbers of x."""
        self.theta, self.A = self.model.theta, self.model.precision
        self._weights = self.theta[: self.served].astype(np.float32)
        self._root = self._served_root(self.model.root).astype(np.float32)

    def _served_root(self, root: Floats) -> Floats:
        """float64 (served, served): a root of the served part of ``root root'``."""
        part = root[: self.served]
        return np.asarray(np.linalg.cholesky(part @ part.T))

    def described(self, observations: Observations, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 (B, M, served): x of each page with each of its `items`, int32 (B, M)."""
        return self.features.of(observations, items)

    @abstractmethod
    def ranked(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (B, M): what candidates described by `x` (B, M, served) are ranked by."""

    def scores(self, observations: Observations) -> NDArray[np.float32]:
        """float32 (B, M): what candidates are ranked by."""
        return self.ranked(self.described(observations, observations["candidates"]))

    def act(self, observations: Observations, keys: Keys) -> Decision:
        x = self.described(observations, observations["candidates"])
        slates = top_k(self.ranked(x), self.spaces.slate_size)
        return Decision(slates, np.ones(slates.shape), {"predicted_clicks": self._chances(x, slates)})

    def _chances(self, x: NDArray[np.float32], slates: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64 (B, K): the regression's mean for each slot shown, its position included, as far as it is a chance.

        Without bonus or draw: what a slate is ranked by is more, or something else, than what is expected of it.
        """
        shown = np.take_along_axis(x, slates[:, :, None], axis=1)
        position = np.concatenate([[0.0], self.theta[self.served :]])
        return np.clip(shown @ self._weights + position, LEAST, 1.0)

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        return self._learn(window.take(window.keys.tick > self.last_tick[0]))

    def update(self, feedback: Feedback) -> dict[str, float]:
        return self._learn(feedback)

    def _learn(self, pages: Feedback) -> dict[str, float]:
        """Add pages to the memory; how many, and the squared error that the present theta makes on them."""
        if len(pages) == 0:
            return {"pages": 0.0}
        error = 0.0
        for first in range(0, len(pages), CHUNK):
            part = pages.take(np.arange(first, min(first + CHUNK, len(pages))))
            x, clicks = self.rows(part), part.clicked.astype(np.float64)
            error += float(((clicks.ravel() - x @ self.theta) ** 2).sum())
            self.model.memory.add(x.reshape(*clicks.shape, self.size), clicks, part.keys.tick)
        self.last_tick = np.maximum(self.last_tick, pages.keys.tick.max())
        self.model.solve()
        self._refresh()
        return {"pages": float(len(pages)), "squared_error_before": error / pages.clicked.size}

    def rows(self, feedback: Feedback) -> NDArray[np.float64]:
        """float64 (P x K, size): x of every slot shown, its position included."""
        pairs = self.described(feedback.observations, feedback.slate_items)
        slots = feedback.slate_items.shape[1]
        position = np.broadcast_to(np.eye(slots)[:, 1:], (len(pairs), slots, slots - 1))
        return np.concatenate([pairs, position], axis=2).reshape(-1, self.size)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            **{PREFIX + name: array for name, array in self.model.state().items()},
            "last_tick": self.last_tick.copy(),
            "user_directions": self.features.user_directions.copy(),
            "item_directions": self.features.item_directions.copy(),
            "generator": generator_state(self.rng),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        user, item = (self.spaces.user_dim, self.rank), (self.features.n_features, self.rank)
        self.features.turn(saved(state, "user_directions", user), saved(state, "item_directions", item))
        self.last_tick = saved(state, "last_tick", (1,))
        set_generator_state(self.rng, saved(state, "generator", (6,)))
        self.model.restore({name[len(PREFIX) :]: v for name, v in state.items() if name.startswith(PREFIX)})
        self._refresh()


def bonus(x: NDArray[np.float32], root: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (n,): length of each row of ``x root``, for rows x (n, d)."""
    turned = x @ root
    return np.sqrt(np.einsum("nd,nd->n", turned, turned))
