"""What a linear model knows of a visitor and an item: about seventy numbers for each pair, built in one sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Items, Observations, Spaces

MATCHES = 4
CLICKS_IN_VISIT = 1  # the column of ``page`` that counts this visit's clicks


class PairFeatures:
    """Features x(page, item), float32 (B, M, size), in this order:

    - ``page`` (P): where the visit stands, the constant 1 included
    - price (1): log price, standardised over the catalogue
    - item features (F), standardised
    - category (C), one-hot
    - interactions (rank x rank): `rank` fixed random directions of the user's attributes times as many of the item's
      features; random projections keep inner products on average (Johnson and Lindenstrauss 1984)
    - matches (4) of the item with the visitor's past clicks: share of them in its category; likeness of its features
      to their mean; same category as the last one; the same if that click was made in this visit
    """

    def __init__(self, items: Items, spaces: Spaces, rank: int, rng: np.random.Generator) -> None:
        price = _standard(np.log(items["price"])[:, None])
        features = _standard(items["features"])
        self.one_hot = items["category"][:, None] == np.arange(spaces.n_categories)
        self.n_features, self.rank = features.shape[1], rank
        self._described = np.concatenate([price, features, self.one_hot], axis=1)
        self.size = spaces.page_dim + self._described.shape[1] + rank * rank + MATCHES
        self.turn(_directions(rng, spaces.user_dim, rank), _directions(rng, self.n_features, rank))

    def turn(self, user_directions: NDArray[np.float32], item_directions: NDArray[np.float32]) -> None:
        """Use these directions, float32 (D, rank) and (F, rank), for the interactions."""
        self.user_directions, self.item_directions = user_directions, item_directions
        turned = self._described[:, 1 : 1 + self.n_features] @ item_directions
        table = np.concatenate([self._described, turned], axis=1).astype(np.float32)
        # Row -1 stands for "no item", the padding of a history.
        self._table = np.concatenate([table, np.zeros_like(table[:1])])

    def of(self, observations: Observations, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 (B, M, size): the features of each page with each of its `items`, int32 (B, M)."""
        page, shown = observations["page"], self._table[items]
        end = page.shape[1] + self._described.shape[1]
        x = np.empty((*items.shape, self.size), dtype=np.float32)
        x[..., : page.shape[1]] = page[:, None]
        x[..., page.shape[1] : end] = shown[..., : -self.rank]
        # Page by page, so that a page's bits do not depend on how many others stand beside it.
        user = (observations["user"][:, None, :] @ self.user_directions)[:, 0]
        square = x[..., end:-MATCHES].reshape(*items.shape, self.rank, self.rank)
        np.multiply(user[:, None, :, None], shown[..., None, -self.rank :], out=square)
        x[..., end:-MATCHES] = square.reshape(*items.shape, -1)
        self._match(observations, shown, x[..., -MATCHES:])
        return x

    def _match(self, observations: Observations, shown: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill in how each item fits the visitor's past clicks."""
        history = observations["history"]
        past = self._table[history]
        mean = past.sum(axis=1) / np.maximum(1, (history >= 0).sum(axis=1))[:, None]
        f, c = slice(1, 1 + self.n_features), slice(1 + self.n_features, -self.rank)
        probes = np.zeros((len(history), shown.shape[2], 3), dtype=np.float32)
        probes[:, c, 0] = mean[:, c]
        probes[:, f, 1] = mean[:, f] / self.n_features
        probes[:, c, 2] = past[:, -1, c]
        np.matmul(shown, probes, out=out[..., :3])
        clicked = observations["page"][:, CLICKS_IN_VISIT, None] > 0
        np.multiply(out[..., 2], clicked, out=out[..., 3])


def _standard(table: NDArray[Any]) -> NDArray[np.float64]:
    """Each column with mean 0 and spread 1."""
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))


def _directions(rng: np.random.Generator, dim: int, rank: int) -> NDArray[np.float32]:
    """float32 (dim, rank): random directions, orthonormal as far as `dim` allows."""
    turned = np.linalg.qr(rng.standard_normal((max(dim, rank), rank)))[0]
    return turned[:dim].astype(np.float32)
