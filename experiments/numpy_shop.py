"""The work of a vector step in straightforward vectorised NumPy: what the compiled kernels are measured against.

A yardstick for `perennial-bench`, not a world: the same sums on the same tables, but draws from one generator (so no
identity), candidates with replacement, and no drift. All of that makes it faster than a true twin would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import World
from perennial.envs.lanes import APPEAL, BUY, CART, NOT_INTERESTED, PRICE, QUALITY

Floats = NDArray[Any]


def logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


class NumpyShop:
    """B visits side by side in the tables of `world`."""

    def __init__(self, world: World, width: int, seed: int = 0) -> None:
        self.tables, self.rules, self.sizes = world._tables, world._rules, world.sizes
        self.features = world.visitors.features
        self.rng = np.random.default_rng(seed)
        users = world.sizes["n_users"]
        self.satiation = np.zeros((users, world.sizes["n_categories"]), np.float32)
        self.history = np.full((users, world.sizes["history"]), -1, np.int32)
        self.loyalty = np.full(users, 0.45, np.float32)
        self.user = self.rng.permutation(users)[:width]
        self.page = np.zeros(width, np.int32)
        self.clicks, self.quiet = np.zeros(width, np.int32), np.zeros(width, np.int32)
        self.quality = np.zeros(width, np.float32)
        self.focus = np.zeros(width, np.int64)
        self.patience = self.rng.standard_normal(width)
        self.level = float(world.conditions(0).level[0])
        self.candidates = self._draw(width)

    def _draw(self, count: int) -> NDArray[np.int64]:
        return self.rng.integers(0, self.sizes["n_items"], (count, self.sizes["n_candidates"]))

    def logits(self, items: NDArray[np.int64]) -> Floats:
        """(B, n): attractions of `items` (B, n)."""
        t, user = self.tables, self.user
        category, values = t.item_category[items], t.item_values[items]
        logit = np.einsum("bd,bnd->bn", t.user_latent[user], t.item_latent[items])
        logit += np.take_along_axis(t.taste[user] - self.satiation[user], category, axis=1) + self.level
        logit += values[..., APPEAL] - t.user_values[user, 0, None] * values[..., PRICE]
        return logit + t.focus[self.focus[:, None], category]

    def regret(self, slates: NDArray[np.int64]) -> Floats:
        """(B,): what the best slate of each page would add to `slates`, under clicks."""
        chance = logistic(self.logits(self.candidates))
        theta = self._persistence() ** np.arange(slates.shape[1])
        best = -np.sort(-chance, axis=1)[:, : slates.shape[1]]
        return ((best - np.take_along_axis(chance, slates, axis=1)) * theta).sum(axis=1)

    def _persistence(self) -> Floats:
        return np.exp(-self.rules.examination_decay * np.exp(-self.rules.attention_spread * self.patience))[:, None]

    def step(self, slates: NDArray[np.int64]) -> tuple[dict[str, Floats], Floats, Floats, Floats]:
        """Serve `slates` (B, K): observations, rewards, terminated, truncated."""
        t, rng, rules = self.tables, self.rng, self.rules
        items = np.take_along_axis(self.candidates, slates, axis=1)
        values, category = t.item_values[items], t.item_category[items]
        draws = rng.random((5, *slates.shape))
        seen = draws[0] < self._persistence() ** np.arange(slates.shape[1])
        clicked = seen & (draws[1] < logistic(self.logits(items)))
        carted = clicked & (draws[2] < logistic(values[..., CART]))
        bought = carted & (draws[3] < values[..., BUY])
        waved = seen & ~clicked & (draws[4] < values[..., NOT_INTERESTED])
        w = t.weights
        reward = w[0] * clicked.sum(1) + w[1] * carted.sum(1) + w[2] * bought.sum(1) - w[3] * waved.sum(1)
        self._move_on(items, category, values, clicked, bought)
        leave, content = rng.random((2, len(items)))
        satisfied = np.where(bought, values[..., QUALITY], 0).max(axis=1)
        logit = rules.leave_base - rules.leave_spread * self.patience - rules.leave_click * clicked.any(1)
        terminated = (leave < logistic(logit)) | (content < satisfied)
        self.page += 1
        truncated = ~terminated & (self.page >= rules.page_limit)
        self._begin(np.flatnonzero(terminated | truncated))
        self.candidates = self._draw(len(items))
        return self._observe(), reward, terminated, truncated

    def _move_on(
        self, items: NDArray[np.int64], category: Floats, values: Floats, clicked: Floats, bought: Floats
    ) -> None:
        rules = self.rules
        self.satiation[self.user] *= rules.satiation_keep
        lane, slot = np.nonzero(clicked)
        more = rules.satiation_click + rules.satiation_purchase * bought[lane, slot]
        np.add.at(self.satiation, (self.user[lane], category[lane, slot]), more)
        made = clicked.sum(1)
        self.clicks += made
        self.quiet = np.where(made > 0, 0, self.quiet + 1)
        self.quality += np.where(clicked, values[..., QUALITY], 0).sum(1)
        self.focus[lane] = category[lane, slot]
        joined = np.concatenate([self.history[self.user], np.where(clicked, items, -1)], axis=1)
        order = np.argsort(joined >= 0, axis=1, kind="stable")
        self.history[self.user] = np.take_along_axis(joined, order, axis=1)[:, -self.history.shape[1] :]

    def _begin(self, rows: NDArray[np.int64]) -> None:
        left = self.user[rows]
        mean = self.quality[rows] / np.maximum(self.clicks[rows], 1)
        pleased = mean * (1 - np.exp(-self.rules.pleasure_scale * self.clicks[rows]))
        self.loyalty[left] += self.rules.loyalty_rate * (pleased - self.loyalty[left])
        self.user[rows] = self.rng.integers(0, len(self.loyalty), len(rows))
        self.patience[rows] = self.rng.standard_normal(len(rows))
        for column in (self.page, self.clicks, self.quiet, self.quality):
            column[rows] = 0

    def _observe(self) -> dict[str, Floats]:
        width = len(self.user)
        return {
            "user": self.features[self.user],
            "history": self.history[self.user],
            "candidates": self.candidates.astype(np.int32),
            "page": np.stack(
                [self.page, self.clicks, self.quiet == 0, self.quiet, self.page, self.page], 1, dtype=np.float32
            ),
            "calendar": np.zeros((width, 8), np.float32),
            "notice": np.zeros((width, 1), np.float32),
        }
