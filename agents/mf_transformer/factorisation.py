"""Matrix factorisation: who clicked what, as a sparse matrix, and its factors by alternating least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from perennial.agents.base import Feedback
from perennial.agents.validation import saved

START_SPREAD = 0.1  # of the items' factors before the first sweep


class Factorisation:
    """Factors of U visitors and N items from clicks (Hu, Koren and Volinsky 2008), refitted in batch.

    ``user_factors`` float32 (U, f), ``item_factors`` float32 (N, f): zero for visitors and items without a click.
    ``clicks`` sparse float32 (U, N): number of clicks. ``familiarity`` float32 (U, 1): log of one plus a visitor's.
    ``seen``: newest tick among them; only later pages are added, so that overlapping windows are not counted twice.
    """

    def __init__(self, shape: tuple[int, int], factors: int, regularisation: float, confidence: float) -> None:
        self.shape, self.factors = shape, factors
        self.regularisation, self.confidence = regularisation, confidence
        self.forget()

    def forget(self) -> None:
        """Back to no clicks and zero factors."""
        n_users, n_items = self.shape
        self.user_factors = np.zeros((n_users, self.factors), dtype=np.float32)
        self.item_factors = np.zeros((n_items, self.factors), dtype=np.float32)
        self._keep(csr_matrix(self.shape, dtype=np.float32))
        self.seen = -1

    def _keep(self, clicks: csr_matrix) -> None:
        self.clicks = clicks
        self.familiarity = np.log1p(np.asarray(clicks.sum(axis=1), dtype=np.float32))

    def remember(self, window: Feedback) -> int:
        """Add the clicks of the pages newer than all remembered; returns how many clicks that were."""
        new = window.keys.tick > self.seen
        rows, slots = np.nonzero(window.clicked & new[:, None])
        users, items = window.keys.user_id[rows], window.slate_items[rows, slots]
        ones = np.ones(len(rows), dtype=np.float32)
        self._keep((self.clicks + csr_matrix((ones, (users, items)), shape=self.shape)).tocsr())
        self.seen = max(self.seen, int(window.keys.tick.max(initial=-1)))
        return len(rows)

    def refit(self, sweeps: int, rng: np.random.Generator) -> None:
        """`sweeps` rounds of least squares, visitors then items, from where the factors stand (from noise at first)."""
        if self.clicks.nnz == 0 or sweeps == 0:
            return
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=self.factors,
            regularization=self.regularisation,
            alpha=self.confidence,
            iterations=sweeps,
            num_threads=1,
            random_state=0,  # unused, as the factors are given: it keeps the library off the global generator
        )
        if not self.item_factors.any():
            self.item_factors = rng.normal(0.0, START_SPREAD, self.item_factors.shape).astype(np.float32)
        model.user_factors, model.item_factors = self.user_factors.copy(), self.item_factors.copy()
        model.fit(self.clicks, show_progress=False)
        self.user_factors, self.item_factors = np.array(model.user_factors), np.array(model.item_factors)

    def state(self) -> dict[str, NDArray[Any]]:
        """Factors and clicks as arrays; counts and ids in the smallest type that holds them."""
        return {
            "user_factors": self.user_factors.copy(),
            "item_factors": self.item_factors.copy(),
            "clicks_start": self.clicks.indptr.astype(np.int64),
            "clicks_item": self.clicks.indices.astype(np.min_scalar_type(self.shape[1])),
            "clicks_count": self.clicks.data.astype(np.min_scalar_type(int(self.clicks.data.max(initial=0)))),
            "clicks_seen": np.array([self.seen], dtype=np.int64),
        }

    def check(self, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The parts of `state` that belong here, or an error that says which does not fit."""
        (n_users, n_items), f = self.shape, self.factors
        start = saved(state, "clicks_start", (n_users + 1,))
        count = (int(start[-1]),)
        shapes = {"user_factors": (n_users, f), "item_factors": (n_items, f), "clicks_seen": (1,)}
        shapes |= {"clicks_item": count, "clicks_count": count}
        return {"clicks_start": start} | {name: saved(state, name, shape) for name, shape in shapes.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave, once `check` has passed it."""
        self.user_factors, self.item_factors = state["user_factors"], state["item_factors"]
        counts, items = state["clicks_count"].astype(np.float32), state["clicks_item"].astype(np.int32)
        self._keep(csr_matrix((counts, items, state["clicks_start"].astype(np.int32)), shape=self.shape))
        self.seen = int(state["clicks_seen"][0])
