"""The agent ``mf_transformer``: matrix factorisation in batch, a session transformer in micro-batches, one gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

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
from perennial.agents.mf_transformer import serving
from perennial.agents.mf_transformer.factorisation import Factorisation
from perennial.agents.mf_transformer.mixture import Mixture, Pages, Shape, layout
from perennial.agents.mf_transformer.parameters import Parameters
from perennial.agents.mf_transformer.plackett_luce import draw_slates, slot_propensity
from perennial.agents.mf_transformer.training import Budget, Optimisation, pages_of, train
from perennial.agents.validation import number, saved, whole

COLD_END, WARM_END = 0.05, 0.3  # learning rate at the end of a fit, relative to its start


class MfTransformer(Agent):
    """Ranks candidates by the logit of a click: an item's bias, a taste part and a visit part (see `Mixture`).

    With a reward head it ranks by expected reward instead: the chance of a click x what a click on this item is worth
    to this visitor now. Where every click pays the same (``reward=clicks``) that is the same ranking.

    *Taste*: factors of visitors and items by implicit alternating least squares over all remembered clicks, turned by a
    learned map and joined with the visitor's attributes and the item's features, so that new ones are served too.
    *Visit*: a transformer over the items clicked last. *Gate*: a weight in (0, 1), from the page and from how well the
    visitor is known. Everything but the factors descends the click loss over every slot shown, with a bias per slot.

    `fit` with start="cold" forgets and learns the window; with "warm" it adds the clicks later (by `tick`) than all
    remembered, moves the factors on by `warm_sweeps` (in the gift shop a sweep a night added nothing to what the free
    vectors per visitor learn by gradient) and takes a few steps on the window. `update` takes a few steps on the pages
    it is given and leaves the factors alone. Budgets are counted in gradient steps, never in seconds. Decisions carry
    the chance of a click on each slot shown as ``predicted_clicks`` float64 (B, K).

    Arguments
    ---------
    factors : number of factors of a visitor and of an item, >= 1
    width : length of the vectors of items and visits, >= 1; a multiple of `heads`
    layers, heads : attention blocks and heads of the transformer, >= 1
    history : how many of the last clicked items are attended to, >= 1; at most what the observations hold
    sweeps : sweeps of least squares in a cold fit, >= 1
    warm_sweeps : the same in a warm fit, >= 0; with 0 the vectors per visitor take up what is new
    regularisation : of the factors, > 0
    confidence : weight of a click in the least squares, over that of the absence of one, > 0
    cold_steps, warm_steps, update_steps : gradient steps of a cold fit, of a warm fit and of an update, >= 1
    batch_size : pages per step, >= 1
    learning_rate : at the start of a cold fit, > 0; falls along half a cosine
    warm_rate, update_rate : learning rate of a warm fit and of an update, relative to `learning_rate`, > 0
    weight_decay : decoupled, of matrices and of what is free per item, >= 0
    clip : largest norm of a gradient, > 0
    temperature : 0 shows the best slate; above 0, slot by slot, items are drawn by exp(score / temperature)
    use_mf, use_transformer, use_gate : False leaves the part out; without the gate, the two parts are summed
    reward_weight : weight of the reward head's squared error beside the click loss, >= 0; 0 leaves the head out
    """

    def __init__(
        self,
        factors: int = 16,
        width: int = 32,
        layers: int = 1,
        heads: int = 2,
        history: int = 10,
        sweeps: int = 5,
        warm_sweeps: int = 0,
        regularisation: float = 5.0,
        confidence: float = 1.0,
        cold_steps: int = 700,
        warm_steps: int = 8,
        update_steps: int = 1,
        batch_size: int = 512,
        learning_rate: float = 0.005,
        warm_rate: float = 0.3,
        update_rate: float = 0.1,
        weight_decay: float = 1.0,
        clip: float = 1.0,
        temperature: float = 0.0,
        use_mf: bool = True,
        use_transformer: bool = True,
        use_gate: bool = True,
        reward_weight: float = 0.0,
    ) -> None:
        self.factors = whole("factors", factors, 1)
        self.width, self.heads = whole("width", width, 1), whole("heads", heads, 1)
        if width % heads:
            raise ValueError(f"'width' must be a multiple of 'heads'. Got width={width} and heads={heads}.")
        self.layers = whole("layers", layers, 1)
        self.history = whole("history", history, 1)
        self.sweeps = whole("sweeps", sweeps, 1)
        self.warm_sweeps = whole("warm_sweeps", warm_sweeps, 0)
        self.regularisation = number("regularisation", regularisation, 0.0, above=True)
        self.confidence = number("confidence", confidence, 0.0, above=True)
        self.cold_steps = whole("cold_steps", cold_steps, 1)
        self.warm_steps = whole("warm_steps", warm_steps, 1)
        self.update_steps = whole("update_steps", update_steps, 1)
        self.warm_rate = number("warm_rate", warm_rate, 0.0, above=True)
        self.update_rate = number("update_rate", update_rate, 0.0, above=True)
        self.optimisation = Optimisation(
            batch_size=whole("batch_size", batch_size, 1),
            learning_rate=number("learning_rate", learning_rate, 0.0, above=True),
            weight_decay=number("weight_decay", weight_decay, 0.0),
            clip=number("clip", clip, 0.0, above=True),
            reward_weight=number("reward_weight", reward_weight, 0.0),
        )
        self.temperature = number("temperature", temperature, 0.0)
        for name, used in (("use_mf", use_mf), ("use_transformer", use_transformer), ("use_gate", use_gate)):
            if not isinstance(used, bool):
                raise TypeError(f"'{name}' must be True or False. Got {type(used).__name__}: {used!r}.")
        self.use_mf, self.use_transformer, self.use_gate = use_mf, use_transformer, use_gate

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        shape = Shape(
            self.factors, self.width, self.layers, self.heads, min(self.history, spaces.history),
            self.use_mf, self.use_transformer, self.use_gate, self.optimisation.reward_weight > 0,
        )  # fmt: skip
        self.mixture = Mixture(shape, items)
        self.mf = Factorisation((spaces.n_users, spaces.n_items), self.factors, self.regularisation, self.confidence)
        self._forget()

    def _forget(self) -> None:
        self.mf.forget()
        n_inputs = self.mixture.inputs.shape[1]
        self.parameters = Parameters(layout(self.mixture.shape, self.spaces, n_inputs), self.rng)
        self.fits = 0
        self._refresh()

    def _refresh(self) -> None:
        """Make the tables that serving needs from the weights and factors as they are now."""
        with torch.inference_mode():
            self._weights = {name: view.clone() for name, view in self.parameters.views().items()}
            table = self.mixture.item_table(self._weights, torch.from_numpy(self.mf.item_factors))
            self._tables = serving.tables(self.mixture.shape, self._weights, table, self.mf)
            self._worths = None if table.worth is None else self._tables._replace(row=table.worth.numpy())

    # -- serving -------------------------------------------------------------------------------------------------------

    def _pages(self, observations: Observations, keys: Keys) -> Pages:
        history = self.mixture.shape.history
        return pages_of(observations, keys.user_id, observations["candidates"], self.mf, history)

    def scores(self, observations: Observations, keys: Keys) -> NDArray[np.float32]:
        """float32 (B, M): logit of a click on each candidate in a slot of bias 0; with a reward head, what showing it
        there is expected to pay."""
        return self._scored(observations, keys)[1]

    def _scored(self, observations: Observations, keys: Keys) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 (B, M) each: logits of a click in a slot of bias 0, and what is ranked by."""
        logits = serving.scores(self._tables, observations, keys)
        if self._worths is None:
            return logits, logits
        return logits, serving.scores(self._worths, observations, keys) / (1 + np.exp(-logits))

    def gate(self, observations: Observations, keys: Keys) -> NDArray[np.float32]:
        """float32 (B,): weight of the taste part against the visit part, in (0, 1); 1/2 where there is no gate."""
        if not self.mixture.shape.gated:
            return np.full(len(keys), 0.5, dtype=np.float32)
        with torch.inference_mode():
            return self.mixture.gate(self._weights, self._pages(observations, keys))[:, 0].numpy()

    def act(self, observations: Observations, keys: Keys) -> Decision:
        clicks, scores = self._scored(observations, keys)
        if self.temperature == 0.0:
            slates = top_k(scores, self.spaces.slate_size)
            return Decision(slates, np.ones(slates.shape), self._foretold(clicks, slates))
        logits = scores.astype(np.float64) / self.temperature
        slates = draw_slates(logits, self.spaces.slate_size, self.rng)
        return Decision(slates, slot_propensity(logits, slates), self._foretold(clicks, slates))

    def _foretold(self, logits: NDArray[np.float32], slates: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """The chance of a click on each slot shown, its bias included."""
        shown = np.take_along_axis(logits, slates, axis=1) + self._weights["bias.slot"].numpy()
        return {"predicted_clicks": expit(shown.astype(np.float64))}

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        if self.temperature == 0.0:
            return super().slate_propensity(observations, keys, slates)
        return slot_propensity(self.scores(observations, keys).astype(np.float64) / self.temperature, slates)

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        if len(window) == 0:
            return {}
        first = self.fits == 0
        self.fits += 1
        clicks = 0
        if self.use_mf:
            clicks = self.mf.remember(window)
            self.mf.refit(self.sweeps if first else self.warm_sweeps, self.rng)
        cold, warm = Budget(self.cold_steps, 1.0, COLD_END), Budget(self.warm_steps, self.warm_rate, WARM_END)
        return self._descend(window, cold if first else warm) | {"new_clicks": float(clicks)}

    def update(self, feedback: Feedback) -> dict[str, float]:
        if len(feedback) == 0:
            return {}
        return self._descend(feedback, Budget(self.update_steps, self.update_rate, few=True))

    def _descend(self, pages: Feedback, budget: Budget) -> dict[str, float]:
        figures = train(self.parameters, self.mixture, self.mf, pages, self.optimisation, budget, self.rng)
        self._refresh()
        return figures

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            **self.parameters.state(),
            **self.mf.state(),
            "fits": np.array([self.fits], dtype=np.int64),
            "generator": generator_state(self.rng),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        fits, generator = saved(state, "fits", (1,)), saved(state, "generator", (6,))
        parts = (self.parameters.check(state), self.mf.check(state))
        self.parameters.restore(parts[0])
        self.mf.restore(parts[1])
        self.fits = int(fits[0])
        set_generator_state(self.rng, generator)
        self._refresh()
