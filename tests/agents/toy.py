"""A small shop with a known click model, so that tests of agents need no simulator: observe, respond, best slates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Decision, Feedback, Items, Keys, Observations, Spaces, top_k


class ToyShop:
    """Visitors with linear tastes; a click at slot k has probability ``examination[k] * sigmoid(attraction)``.

    Lanes of visits run side by side: after `respond`, the next `observe` of the same size serves the next page of
    the visits that went on and opens new visits in the other lanes. Attraction = taste for the category + user
    x item features + appeal + `focus` where the last click of the history shares the category.
    """

    def __init__(self, seed: int, spaces: Spaces, focus: float, scale: float, page_limit: int) -> None:
        self.spaces, self.focus, self.page_limit = spaces, focus, page_limit
        self.rng = rng = np.random.default_rng(seed)
        n_items, n_users, dim = spaces.n_items, spaces.n_users, spaces.user_dim
        self.features = rng.normal(size=(n_items, dim)).astype(np.float32)
        self.category = (np.arange(n_items) % spaces.n_categories).astype(np.int32)
        self.items: Items = {
            "category": self.category,
            "price": rng.uniform(1.0, 20.0, n_items).astype(np.float32),
            "features": self.features,
        }
        self.user = rng.normal(size=(n_users, dim)).astype(np.float32)
        mixing = rng.normal(size=(dim, spaces.n_categories)) / np.sqrt(dim)
        self.taste = scale * self.user @ mixing
        self.appeal = scale * 0.5 * rng.normal(size=n_items)
        self.weight = scale / np.sqrt(dim)
        self.examination = np.linspace(1.0, 0.5, spaces.slate_size)
        self.history = np.full((n_users, spaces.history), -1, dtype=np.int32)
        self._restart(0)
        self.visits = 0
        self.tick = 0

    def _restart(self, lanes: int) -> None:
        self.lane_user = np.full(lanes, -1, dtype=np.int32)
        self.lane_visit = np.zeros(lanes, dtype=np.int64)
        self.lane_page = np.zeros(lanes, dtype=np.int32)
        self.lane_open = np.zeros(lanes, dtype=bool)
        self.lane_clicked = np.zeros(lanes, dtype=np.float32)
        self.lane_total = np.zeros(lanes, dtype=np.float32)

    def _open(self) -> None:
        new = np.flatnonzero(~self.lane_open)
        free = np.setdiff1d(np.arange(self.spaces.n_users), self.lane_user[self.lane_open])
        self.lane_user[new] = self.rng.permutation(free)[: len(new)]
        self.lane_visit[new] = self.visits + np.arange(len(new))
        self.lane_page[new], self.lane_clicked[new], self.lane_total[new] = 0, 0.0, 0.0
        self.lane_open[new] = True
        self.visits += len(new)

    def observe(self, n_pages: int) -> tuple[dict[str, NDArray], Keys]:
        """The next page of `n_pages` visits side by side (at most `n_users`), with their keys."""
        if n_pages != len(self.lane_user):
            self._restart(n_pages)
        self._open()
        sizes, rng = self.spaces, self.rng
        candidates = rng.permuted(np.tile(np.arange(sizes.n_items, dtype=np.int32), (n_pages, 1)), axis=1)
        page = np.zeros((n_pages, sizes.page_dim), dtype=np.float32)
        page[:, 0] = self.lane_page / self.page_limit
        page[:, 1] = self.lane_total / 10
        page[:, 2] = self.lane_clicked
        page[:, -1] = 1.0
        angles = 2 * np.pi * np.array([self.tick / 8766, self.tick / 4383, self.tick / 168, self.tick / 24])
        calendar = np.stack([np.sin(angles), np.cos(angles)], axis=1).ravel().astype(np.float32)
        observations = {
            "user": self.user[self.lane_user],
            "history": self.history[self.lane_user].copy(),
            "candidates": np.ascontiguousarray(candidates[:, : sizes.n_candidates]),
            "page": page,
            "calendar": np.tile(calendar, (n_pages, 1)),
            "notice": np.zeros((n_pages, sizes.notice_dim), dtype=np.float32),
        }
        tick = np.full(n_pages, self.tick, dtype=np.int64)
        keys = Keys(self.lane_visit.copy(), self.lane_page.copy(), self.lane_user.copy(), tick)
        self.tick += 1
        return observations, keys

    def attraction(self, observations: Observations, keys: Keys) -> NDArray[np.float64]:
        """float64 (B, M): probability that each candidate is clicked once it is looked at."""
        items, last = observations["candidates"], observations["history"][:, -1]
        users = keys.user_id[:, None]
        logits = self.taste[users, self.category[items]] + self.appeal[items] - 1.5
        logits = logits + self.weight * np.einsum("bd,bmd->bm", self.user[keys.user_id], self.features[items])
        focused = (last >= 0)[:, None] & (self.category[last][:, None] == self.category[items])
        return 1.0 / (1.0 + np.exp(-(logits + self.focus * focused)))

    def expected_clicks(self, observations: Observations, keys: Keys, slates: NDArray) -> NDArray[np.float64]:
        """float64 (B,): expected clicks (= expected reward) of these slates."""
        chances = np.take_along_axis(self.attraction(observations, keys), slates.astype(np.int64), axis=1)
        return chances @ self.examination

    def best_slates(self, observations: Observations, keys: Keys) -> NDArray[np.int32]:
        """int32 (B, K): the slates with the most expected clicks."""
        return top_k(self.attraction(observations, keys), self.spaces.slate_size)

    def random_slates(self, n_pages: int) -> NDArray[np.int32]:
        """int32 (B, K): uniform slates without repeats, from the shop's own generator."""
        return top_k(self.rng.random((n_pages, self.spaces.n_candidates)), self.spaces.slate_size)

    def respond(self, observations: Observations, keys: Keys, decision: Decision) -> Feedback:
        """What the visitors do; histories, pages and ends of visits move on."""
        rng, slates = self.rng, decision.slates.astype(np.int64)
        shown = np.take_along_axis(observations["candidates"], slates, axis=1)
        chances = np.take_along_axis(self.attraction(observations, keys), slates, axis=1) * self.examination
        clicked = rng.random(slates.shape) < chances
        carted = clicked & (rng.random(slates.shape) < 0.4)
        purchased = carted & (rng.random(slates.shape) < 0.4)
        disliked = ~clicked & (rng.random(slates.shape) < 0.02)
        for row, slot in np.argwhere(clicked):
            past = self.history[keys.user_id[row]]
            past[:-1], past[-1] = past[1:].copy(), shown[row, slot]
        terminated = rng.random(len(slates)) < 0.3
        truncated = ~terminated & (self.lane_page + 1 >= self.page_limit)
        self.lane_open &= ~(terminated | truncated)
        self.lane_page += 1
        self.lane_clicked = clicked.any(axis=1).astype(np.float32)
        self.lane_total += clicked.sum(axis=1)
        return Feedback(
            keys=keys,
            observations=dict(observations),
            slates=decision.slates,
            slate_items=shown.astype(np.int32),
            clicked=clicked,
            carted=carted,
            purchased=purchased,
            not_interested=disliked,
            reward=clicked.sum(axis=1).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            slot_propensity=decision.slot_propensity,
            version=np.zeros(len(slates), dtype=np.int32),
            explored=np.zeros(len(slates), dtype=bool),
            extras=dict(decision.extras),
        )

    def uniform_log(self, n_pages: int, batch: int = 100) -> Feedback:
        """`n_pages` pages served by uniform slates, in batches of `batch` lanes: a first window to fit on."""
        parts = []
        for _ in range(-(-n_pages // batch)):
            observations, keys = self.observe(batch)
            chance = 1.0 / (self.spaces.n_candidates - np.arange(self.spaces.slate_size))
            decision = Decision(self.random_slates(batch), np.tile(chance, (batch, 1)))
            parts.append(self.respond(observations, keys, decision))
        return Feedback.concatenate(parts).take(np.arange(n_pages))


def toy_shop(
    seed: int = 0,
    n_users: int = 200,
    n_items: int = 120,
    n_categories: int = 6,
    n_candidates: int = 20,
    slate_size: int = 4,
    history: int = 8,
    dim: int = 6,
    focus: float = 1.0,
    scale: float = 1.5,
    page_limit: int = 4,
) -> ToyShop:
    """A shop whose click chances spread by `scale`; `dim` is both the user's and the items' number of features."""
    spaces = Spaces(
        n_items=n_items,
        n_users=n_users,
        n_categories=n_categories,
        n_candidates=n_candidates,
        slate_size=slate_size,
        history=history,
        user_dim=dim,
        page_dim=6,
        calendar_dim=8,
        notice_dim=1,
    )
    return ToyShop(seed, spaces, focus, scale, page_limit)


def uplift(shop: ToyShop, agent, n_batches: int = 20, batch: int = 100) -> tuple[float, float, float]:
    """Mean expected clicks a page of (the agent, uniform slates, the best slates) on the same fresh pages."""
    totals = np.zeros(3)
    for _ in range(n_batches):
        observations, keys = shop.observe(batch)
        decision = agent.act(observations, keys)
        for i, slates in enumerate((decision.slates, shop.random_slates(batch), shop.best_slates(observations, keys))):
            totals[i] += shop.expected_clicks(observations, keys, slates).mean()
        shop.respond(observations, keys, decision)
    mine, uniform, best = totals / n_batches
    return float(mine), float(uniform), float(best)


def same(a: dict[str, NDArray], b: dict[str, NDArray]) -> bool:
    """Whether two states hold the same bits under the same names."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )
