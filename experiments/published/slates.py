"""The slate agents that sample, on a page of two candidates: how often each is shown has a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from perennial.agents.base import Feedback, Items, Keys, Spaces
from perennial.experiments.published.entry import Entry, Floats

if TYPE_CHECKING:
    from perennial.agents.bandits.lints import LinTS

ITEMS, PAGES, DRAWS = 12, 60, 40_000
SPACES = Spaces(
    n_items=ITEMS, n_users=20, n_categories=3, n_candidates=2, slate_size=1, history=3,
    user_dim=3, page_dim=4, calendar_dim=8, notice_dim=0,
)  # fmt: skip


def catalogue(rng: np.random.Generator) -> Items:
    return {
        "category": (np.arange(ITEMS) % 3).astype(np.int32),
        "price": rng.uniform(1.0, 9.0, ITEMS).astype(np.float32),
        "features": rng.standard_normal((ITEMS, 3)).astype(np.float32),
    }


def log(rng: np.random.Generator, pages: int) -> Feedback:
    """Pages served at random, whose clicks depend on the item's parity."""
    pair = np.argsort(rng.random((pages, ITEMS)), axis=1)[:, :2].astype(np.int32)
    zeros = np.zeros((pages, 1), dtype=bool)
    page = np.concatenate([rng.random((pages, 3)), np.ones((pages, 1))], axis=1)
    return Feedback(
        keys=Keys(np.arange(pages), np.zeros(pages, np.int32), np.zeros(pages, np.int32), np.arange(pages)),
        observations={
            "user": rng.standard_normal((pages, 3)).astype(np.float32),
            "history": rng.integers(-1, ITEMS, (pages, 3)).astype(np.int32),
            "candidates": pair,
            "page": page.astype(np.float32),
            "calendar": np.zeros((pages, 8), np.float32),
            "notice": np.zeros((pages, 0), np.float32),
        },
        slates=np.zeros((pages, 1), np.int32),
        slate_items=pair[:, :1].copy(),
        clicked=rng.random((pages, 1)) < np.where(pair[:, :1] % 2 == 0, 0.7, 0.2),
        carted=zeros, purchased=zeros, not_interested=zeros,
        reward=np.zeros(pages, np.float32),
        terminated=np.ones(pages, bool), truncated=np.zeros(pages, bool),
        slot_propensity=np.full((pages, 1), 0.5),
        version=np.zeros(pages, np.int32), explored=np.zeros(pages, bool),
    )  # fmt: skip


class Case:
    """An agent that learned a small log, and one page asked of it `DRAWS` times."""

    def __init__(self, make: Callable[[], LinTS], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.agent = make()
        self.agent.begin(catalogue(rng), SPACES, seed)
        self.seen = log(rng, PAGES)
        self.agent.fit(self.seen)
        asked = log(rng, 1)
        self.page = {name: np.repeat(array, DRAWS, axis=0) for name, array in asked.observations.items()}
        self.one = asked

    def shown(self, rng: np.random.Generator) -> Floats:
        """float64 (DRAWS,): 1 where the first candidate was shown."""
        self.agent.rng = rng
        keys = self.one.keys.take(np.zeros(DRAWS, dtype=np.int64))
        return (self.agent.act(self.page, keys).slates[:, 0] == 0).astype(np.float64)

    def posterior(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """(x - x' of the page, theta, V, the rows learned, their clicks): batch ridge regression by plain algebra."""
        agent = self.agent
        x, clicks = agent.rows(self.seen), self.seen.clicked.ravel().astype(np.float64)
        V = agent.ridge * np.eye(x.shape[1]) + x.T @ x
        pair = agent.described(self.one.observations, self.one.observations["candidates"])[0].astype(np.float64)
        return pair[0] - pair[1], np.asarray(np.linalg.solve(V, x.T @ clicks)), V, x, clicks


def lints_chance(case: Case) -> float:
    """Phi(d' theta / (scale sqrt(d' V^-1 d))), d the difference of the two candidates."""
    from scipy.stats import norm

    d, theta, V, _, _ = case.posterior()
    return float(norm.cdf(d @ theta / (case.agent.scale * math.sqrt(d @ np.linalg.solve(V, d)))))


def neural_linear_chance(case: Case) -> float:
    """Integrating sigma^2 out of the draw leaves Student's t with 2 a degrees of freedom (Riquelme et al. 2018)."""
    from scipy.stats import t

    from perennial.agents.neural_linear import NeuralLinear

    agent = case.agent
    assert isinstance(agent, NeuralLinear)
    d, theta, V, x, clicks = case.posterior()
    a = agent.a0 + len(x) / 2
    b = agent.b0 + (((clicks - x @ theta) ** 2).sum() + agent.ridge * theta @ theta) / 2
    return float(t.cdf(d @ theta / math.sqrt(b / a * (d @ np.linalg.solve(V, d))), df=2 * a))


def _make(name: str) -> LinTS:
    from perennial.agents.bandits.lints import LinTS
    from perennial.agents.neural_linear import NeuralLinear

    if name == "LinTS":
        return LinTS(scale=0.5, rank=2)
    return NeuralLinear(hidden=16, width=6, cold_steps=30, a0=1.5, b0=0.2, rank=2)


def _entry(name: str, seed: int, chance: Callable[[Case], float], source: str, fast: bool) -> Entry:
    return Entry(
        name,
        f"slate agent, 60 pages learned, page {seed}: chance of the first of two",
        lambda: chance(Case(partial(_make, name), seed)),
        source,
        lambda rng: Case(partial(_make, name), seed).shown(rng),
        fast=fast,
    )


def entries() -> list[Entry]:
    normal = "exact: normal probability of the posterior of a batch ridge regression"
    student = "exact: Student's t of the normal-inverse-gamma posterior"
    return [
        *(_entry("LinTS", seed, lints_chance, normal, seed == 1) for seed in (1, 2)),
        *(_entry("neural-linear", seed, neural_linear_chance, student, seed == 1) for seed in (1, 2, 3)),
    ]
