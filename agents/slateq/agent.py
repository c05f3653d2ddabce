"""The agent ``slateq``: Q-learning over slates, item by item, from logged pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
)
from perennial.agents.mf_transformer.parameters import Parameters
from perennial.agents.mf_transformer.training import batches, rates
from perennial.agents.pair_features import PairFeatures
from perennial.agents.slateq import network, transitions
from perennial.agents.slateq.slates import OPTIMISERS, slate_value
from perennial.agents.validation import number, one_of, saved, whole

CHUNK = 256  # pages whose candidates are judged at once while learning
LOGITS = 20.0  # beyond this a choice is as good as certain, or impossible
MAX_WAITING = 4096  # pages that wait for the next page of their visit
COLD_END, WARM_END = 0.05, 0.3  # learning rate at the end of a fit, relative to its start
VECTORS = ("user", "page", "calendar", "notice")


class SlateQ(Agent):
    """Shows the slate of the greatest long-term worth, by items' own worth and how a visitor chooses among them.

    Ie, Jain, Wang et al. 2019, "SlateQ: A tractable decomposition for reinforcement learning with recommendation sets".
    If a visitor chooses one item of a slate or none (a conditional logit with weights v, each times what its slot pulls
    by its place), and what follows depends on the choice alone, then ``Q(s, A) = sum_i P(i | s, A) q(s, i)``
    (proposition 1), where q is learned item by item::

        q(s, i) <- r + gamma max_A' Q(s', A')        for the i that was chosen, or for "nothing"

    The maximum is over slates of the *next* page's candidates, with weights and worths of the next page; a well-known
    public version takes those of the present one.

    **Exact** under ``choice=single``, as far as the network can hold q. **A heuristic elsewhere**: where several items
    of a page can be clicked, each click is learned from as a choice of its own, and the value of a page counts one.
    There the exact optimiser errs: it shows what makes the one choice worth most, not what is clicked most, and in the
    gift shop falls back to the level of `Popular`; keep to "top_k". Decisions carry the chance that each slot shown is
    chosen as ``predicted_clicks`` float64 (B, K): with several clicks a page, less than its chance of a click.

    v and q are heads of one network (`network`). `fit` repeats `rounds` times: settle the targets of all pages with the
    network as it is, then take gradient steps towards them (fitted Q iteration, Riedmiller 2005): the target network is
    the one of the round before. The last page of a visit is an end; where the log lacks the next page, nothing is
    learned from a page in `fit`, and in `update` it waits for it. With "cold" it forgets first.

    Arguments
    ---------
    gamma : discount from page to page of a visit, in [0, 1)
    optimiser : "top_k" shows the items of the largest v x q; "exact" the slate of the greatest value of a single choice
    rank : user directions and item directions that are multiplied with each other, >= 1 (see `PairFeatures`)
    width : size of hidden layers, >= 1
    embedding : size of an item's free vector, >= 1
    rounds : backups of a cold fit, >= 1; a warm fit and an update make one
    cold_steps, warm_steps, update_steps : gradient steps after each backup of a cold fit, a warm fit, an update, >= 1
    batch_size : pages per step, >= 1
    learning_rate : at the start of a cold fit, > 0; falls along half a cosine
    warm_rate, update_rate : learning rate of a warm fit and of an update, relative to `learning_rate`, > 0
    weight_decay : decoupled, >= 0
    clip : largest norm of a gradient, > 0
    """

    def __init__(
        self,
        gamma: float = 0.9,
        optimiser: str = "top_k",
        rank: int = 5,
        width: int = 64,
        embedding: int = 8,
        rounds: int = 5,
        cold_steps: int = 120,
        warm_steps: int = 8,
        update_steps: int = 1,
        batch_size: int = 512,
        learning_rate: float = 0.005,
        warm_rate: float = 0.3,
        update_rate: float = 0.1,
        weight_decay: float = 1.0,
        clip: float = 1.0,
    ) -> None:
        self.gamma = number("gamma", gamma, 0.0, 1.0)
        if self.gamma == 1.0:
            raise ValueError("'gamma' must lie in [0, 1). Got 1: far enough ahead is 0.99.")
        self.optimiser = one_of("optimiser", optimiser, tuple(OPTIMISERS))
        self.rank, self.width, self.embedding = (
            whole("rank", rank, 1), whole("width", width, 1), whole("embedding", embedding, 1)
        )  # fmt: skip
        self.rounds = whole("rounds", rounds, 1)
        self.cold_steps = whole("cold_steps", cold_steps, 1)
        self.warm_steps = whole("warm_steps", warm_steps, 1)
        self.update_steps = whole("update_steps", update_steps, 1)
        self.batch_size = whole("batch_size", batch_size, 1)
        self.learning_rate = number("learning_rate", learning_rate, 0.0, above=True)
        self.warm_rate = number("warm_rate", warm_rate, 0.0, above=True)
        self.update_rate = number("update_rate", update_rate, 0.0, above=True)
        self.weight_decay = number("weight_decay", weight_decay, 0.0)
        self.clip = number("clip", clip, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.features = PairFeatures(items, spaces, self.rank, self.rng)
        state = spaces.user_dim + spaces.page_dim + spaces.calendar_dim + spaces.notice_dim
        sizes = (self.features.size, state, spaces.n_items, spaces.slate_size, self.width, self.embedding)
        self.layout = network.layout(*sizes)
        self._forget()

    def _forget(self) -> None:
        self.parameters = Parameters(self.layout, self.rng)
        self.fits = 0
        self.waiting = transitions.none(self.spaces)

    # -- serving -------------------------------------------------------------------------------------------------------

    def _inputs(
        self, observations: Observations, items: NDArray[np.int32]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pair features, state and ids of `items` (B, S) on B pages, as `network` takes them."""
        state = np.concatenate([observations[name] for name in VECTORS], axis=1, dtype=np.float32)
        pairs = self.features.of(observations, items)
        return torch.from_numpy(pairs), torch.from_numpy(state), torch.from_numpy(items.astype(np.int64))

    def judge(self, observations: Observations) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """float32 (B, M), (B, M) and (B,): weight and worth of choosing each candidate, and worth of choosing none."""
        with torch.inference_mode():
            weights = self.parameters.views()
            pairs, state, items = self._inputs(observations, observations["candidates"])
            both = network.of_items(weights, pairs, state, items).numpy()
            nothing = network.of_nothing(weights, state).numpy()
        return np.exp(np.clip(both[..., network.CHOICE], -LOGITS, LOGITS)), both[..., network.WORTH], nothing

    def act(self, observations: Observations, keys: Keys) -> Decision:
        judged, pull = self.judge(observations), self.pull
        slates = OPTIMISERS[self.optimiser](*judged, pull)
        drawn = np.take_along_axis(judged[0], slates, axis=1) * pull
        chances = np.asarray(drawn / (1.0 + drawn.sum(axis=1, keepdims=True)), np.float64)  # of being the one chosen
        return Decision(slates, np.ones(slates.shape), {"predicted_clicks": chances})

    @property
    def pull(self) -> NDArray[np.float32]:
        """float32 (K,): what the place of a slot multiplies an item's weight by; 1 for the first slot."""
        slot = self.parameters.views()["slot"].detach().numpy()
        return np.exp(np.clip(np.concatenate([np.zeros(1, slot.dtype), slot]), -LOGITS, LOGITS))

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        pages = transitions.pages_of(window)
        ready = transitions.successors(pages) != -2
        if not ready.any():
            return {"pages_dropped": float(len(window))}
        first = self.fits == 0
        self.fits += 1
        rounds, steps = (self.rounds, self.cold_steps) if first else (1, self.warm_steps)
        rate, end = (1.0, COLD_END) if first else (self.warm_rate, WARM_END)
        schedule = np.split(rates(rate * self.learning_rate, rounds * steps, end), rounds)
        figures = [self._backup(pages, part) for part in schedule]
        return figures[-1] | {"pages_dropped": float((~ready).sum()), "passes": self._passes(rounds * steps, pages)}

    def update(self, feedback: Feedback) -> dict[str, float]:
        pages = transitions.merge(self.waiting, transitions.pages_of(feedback))
        after = transitions.successors(pages)
        self.waiting = transitions.take(pages, np.flatnonzero(after == -2)[-MAX_WAITING:])
        waiting = {"pages_waiting": float(transitions.count(self.waiting))}
        if (after == -2).all():
            return waiting
        figures = self._backup(pages, np.full(self.update_steps, self.update_rate * self.learning_rate), few=True)
        return figures | waiting | {"passes": self._passes(self.update_steps, pages)}

    def _passes(self, steps: int, pages: transitions.Pages) -> float:
        return steps * min(self.batch_size, transitions.count(pages)) / transitions.count(pages)

    def _backup(self, pages: transitions.Pages, schedule: NDArray[np.float64], few: bool = False) -> dict[str, float]:
        """Settle the targets of all pages whose successor is known, and take a gradient step per rate in `schedule`."""
        after = transitions.successors(pages)
        targets = pages["reward"] + np.float32(self.gamma) * self._values_of(pages, after)[:, None]
        ready = np.flatnonzero(after != -2)
        move = self.parameters.nudge if few else self.parameters.step
        losses, norms = np.zeros(len(schedule)), np.zeros(len(schedule))
        for step, picked in enumerate(batches(len(ready), self.batch_size, len(schedule), self.rng)):
            rows = ready[picked]
            part = transitions.take(pages, rows)
            inputs = self._inputs(_observations(part), part["slate_items"])
            chosen = torch.from_numpy(part["choices"]), torch.from_numpy(targets[rows])
            loss = network.loss(self.parameters.views(), *inputs, *chosen)
            loss.backward()
            losses[step], norms[step] = loss.item(), move(schedule[step], self.weight_decay, self.clip)
        return {
            "loss": float(losses.mean()),
            "gradient_norm": float(norms.mean()),
            "mean_target": float((targets * pages["choices"])[ready].sum() / pages["choices"][ready].sum()),
        }

    def _values_of(self, pages: transitions.Pages, after: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (P,): value of the best slate of each page's next page by the present network; 0 without one."""
        values, pull = np.zeros(len(after), dtype=np.float32), self.pull
        for rows in _chunks(np.flatnonzero(after >= 0)):
            weight, worth, nothing = self.judge(_observations(transitions.take(pages, after[rows])))
            slates = OPTIMISERS[self.optimiser](weight, worth, nothing, pull).astype(np.int64)
            shown = [np.take_along_axis(part, slates, axis=1) for part in (weight, worth)]
            values[rows] = slate_value(shown[0], shown[1], nothing, pull)
        return values

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            **self.parameters.state(),
            "user_directions": self.features.user_directions.copy(),
            "item_directions": self.features.item_directions.copy(),
            "fits": np.array([self.fits], dtype=np.int64),
            "generator": generator_state(self.rng),
            **{f"waiting/{name}": column.copy() for name, column in self.waiting.items()},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        fits, generator = saved(state, "fits", (1,)), saved(state, "generator", (6,))
        user, item = (self.spaces.user_dim, self.rank), (self.features.n_features, self.rank)
        directions = saved(state, "user_directions", user), saved(state, "item_directions", item)
        rows = len(state["waiting/visit"]) if "waiting/visit" in state else 0
        none = transitions.none(self.spaces)
        waiting = {name: saved(state, f"waiting/{name}", (rows, *column.shape[1:])) for name, column in none.items()}
        self.parameters.restore(self.parameters.check(state))
        self.features.turn(*directions)
        self.fits, self.waiting = int(fits[0]), waiting
        set_generator_state(self.rng, generator)


def _observations(pages: transitions.Pages) -> Observations:
    return {name: pages[f"observations/{name}"] for name in transitions.OBSERVED}


def _chunks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(rows), CHUNK):
        yield rows[first : first + CHUNK]
