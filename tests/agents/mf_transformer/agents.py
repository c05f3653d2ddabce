"""Small agents and logs for the tests of `mf_transformer`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Keys, Spaces
from perennial.agents.mf_transformer import MfTransformer
from tests.agents.toy import ToyShop, uplift

SMALL = {"factors": 4, "width": 8, "cold_steps": 8, "warm_steps": 3, "batch_size": 64, "history": 4}
QUICK = {"factors": 4, "width": 16, "cold_steps": 150, "batch_size": 256, "history": 4, "learning_rate": 0.01}


def begun(shop: ToyShop, seed: int = 5, **options: object) -> MfTransformer:
    agent = MfTransformer(**options)  # type: ignore[arg-type]
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def share(shop: ToyShop, agent: object) -> float:
    """Share of the way from uniform to best slates, in expected clicks."""
    mine, uniform, best = uplift(shop, agent, n_batches=10)
    return (mine - uniform) / (best - uniform)


def clicks_of_taste(rng: np.random.Generator, pages: int, groups: int = 4) -> tuple[Feedback, Spaces, dict]:
    """Visitor u clicks items of group u % groups only; attributes, features and categories say nothing."""
    spaces = Spaces(40, 60, 1, 40, 8, 6, 3, 6, 8, 1)
    items = {
        "category": np.zeros(40, np.int32),
        "price": np.ones(40, np.float32),
        "features": np.zeros((40, 2), np.float32),
    }
    user = rng.integers(60, size=pages).astype(np.int32)
    slates = rng.permuted(np.tile(np.arange(40, dtype=np.int32), (pages, 1)), axis=1)[:, :8]
    clicked = (slates % groups == user[:, None] % groups) & (rng.random(slates.shape) < 0.7)
    return page_log(spaces, user, slates, clicked, np.full((pages, 6), -1, np.int32)), spaces, items


def clicks_of_focus(rng: np.random.Generator, pages: int, groups: int = 4) -> tuple[Feedback, Spaces, dict]:
    """Whoever comes clicks items of the group of the item clicked last, whatever the visitor."""
    log, spaces, items = clicks_of_taste(rng, pages, groups)
    history = rng.integers(40, size=(pages, 6)).astype(np.int32)
    clicked = (log.slate_items % groups == history[:, -1:] % groups) & (rng.random(log.clicked.shape) < 0.7)
    return page_log(spaces, log.keys.user_id, log.slate_items, clicked, history), spaces, items


def page_log(spaces: Spaces, user: NDArray, slates: NDArray, clicked: NDArray, history: NDArray) -> Feedback:
    """Pages whose candidates are all items in order of id, so that slots and ids are the same thing."""
    n = len(user)
    observations = {
        "user": np.zeros((n, spaces.user_dim), np.float32),
        "history": history,
        "candidates": np.tile(np.arange(spaces.n_candidates, dtype=np.int32), (n, 1)),
        "page": np.tile(np.array([0, 0, 0, 0, 0, 1], np.float32), (n, 1)),
        "calendar": np.zeros((n, 8), np.float32),
        "notice": np.zeros((n, 1), np.float32),
    }
    no = np.zeros_like(clicked)
    ends, index = np.ones(n, np.bool_), np.arange(n)
    return Feedback(
        Keys(index, np.zeros(n, np.int32), user, index), observations, slates, slates, clicked, no, no, no,
        clicked.sum(axis=1).astype(np.float32), ends, ~ends, np.full(clicked.shape, np.nan),
        np.zeros(n, np.int32), ~ends,
    )  # fmt: skip
