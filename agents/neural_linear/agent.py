"""The agent ``neural_linear``: a network describes, a Bayesian regression with unknown noise decides by sampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.lints import LinTS
from perennial.agents.bandits.memory import Memory
from perennial.agents.base import Feedback, Items, Observations, Spaces
from perennial.agents.mf_transformer.parameters import Parameters
from perennial.agents.neural_linear import network
from perennial.agents.validation import check_feedback, number, one_of, saved, whole

WEIGHTS = "network."


class NeuralLinear(LinTS):
    """Thompson sampling with a Bayesian linear regression on the last layer of a network.

    Riquelme, Tucker and Snoek 2018, "Deep Bayesian bandits showdown", section 3 ("neural linear") and its linear
    posterior: with prior sigma^2 ~ IG(a0, b0) and theta | sigma^2 ~ N(0, sigma^2 / ridge), after n rows
    ``a = a0 + n / 2`` and ``b = b0 + (y'y - theta' V theta) / 2``; a page draws sigma^2, then theta.

    The network reads `PairFeatures` and is trained by `fit` alone, on the mean squared error of clicks over the window;
    the regression is then made anew from the window, since the old sums belong to old features. `update` adds pages to
    the regression and leaves the network as it is. The slot's position enters as in `LinearSlates`. Forms of forgetting
    are those of the regression. Propensities are declared unknown (NaN), as in `LinTS`.

    Arguments
    ---------
    hidden, width : units of the first layer and of the representation, >= 1
    cold_steps, warm_steps : gradient steps of a cold (or the first) fit and of a warm fit, >= 0
    batch_size : pages per step, >= 1
    learning_rate : at the start of a fit, > 0; falls along half a cosine
    weight_decay : decoupled, >= 0
    clip : largest norm of a gradient, > 0
    a0, b0 : prior of the noise's variance, mean b0 / (a0 - 1); a0 > 1 and b0 > 0
    scale : standard deviation of the draw relative to the posterior's, >= 0; 1 is Thompson sampling
    ridge : strength of the prior that theta is 0, > 0
    rank : user and item directions that are multiplied with each other in the network's input, >= 1
    memory : what the regression remembers, see `perennial.agents.bandits.memory`; by default everything since `fit`
    """

    def __init__(
        self,
        hidden: int = 64,
        width: int = 32,
        cold_steps: int = 300,
        warm_steps: int = 40,
        batch_size: int = 512,
        learning_rate: float = 0.003,
        weight_decay: float = 0.1,
        clip: float = 1.0,
        a0: float = 6.0,
        b0: float = 1.0,
        scale: float = 1.0,
        ridge: float = 0.25,
        rank: int = 5,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(scale, ridge, rank, memory)
        self.hidden, self.width = whole("hidden", hidden, 1), whole("width", width, 1)
        self.cold_steps, self.warm_steps = whole("cold_steps", cold_steps, 0), whole("warm_steps", warm_steps, 0)
        self.batch_size = whole("batch_size", batch_size, 1)
        self.learning_rate = number("learning_rate", learning_rate, 0.0, above=True)
        self.weight_decay, self.clip = number("weight_decay", weight_decay, 0.0), number("clip", clip, 0.0, above=True)
        self.a0, self.b0 = number("a0", a0, 1.0, above=True), number("b0", b0, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        self.trained = False
        super().begin(items, spaces, seed)

    @property
    def served(self) -> int:
        return self.width + 1

    def _forget(self) -> None:
        sizes = self.features.size, self.hidden, self.width, self.spaces.slate_size
        self.parameters = Parameters(network.layout(*sizes), self.rng)
        self.trained = False
        self._layers = network.arrays(self.parameters)
        super()._forget()

    # -- serving -------------------------------------------------------------------------------------------------------

    def described(self, observations: Observations, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return network.represent(self._layers, super().described(observations, items))

    def noise(self) -> tuple[float, float]:
        """(a, b) of the inverse gamma posterior of the noise's variance."""
        sums = self.model.memory.moments
        explained = float(self.theta @ self.A @ self.theta)
        return self.a0 + float(sums.rows) / 2, self.b0 + max(0.0, float(sums.yy) - explained) / 2

    def draw(self, pages: int) -> NDArray[np.float32]:
        """float32 (pages, served): one draw of the weights for each page, its noise's variance drawn first."""
        a, b = self._noise
        deviation = np.sqrt(b / self.rng.gamma(a, size=(pages, 1))).astype(np.float32)
        noise = self.rng.standard_normal((pages, self.served), dtype=np.float32)
        return self._weights + np.float32(self.scale) * deviation * (noise @ self._root.T)

    def _refresh(self) -> None:
        super()._refresh()
        self._noise = self.noise()

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        one_of("start", start, ("warm", "cold"))
        check_feedback(window, self.spaces, "window")
        if start == "cold":
            self._forget()
        if len(window) == 0:
            return {"pages": 0.0}
        steps = self.warm_steps if self.trained else self.cold_steps
        error = self._train(window, steps)
        self.trained = True
        self.model.begin(self.size)
        return {**self._learn(window), "loss": error, "passes": max(1.0, steps * self.batch_size / len(window))}

    def _train(self, window: Feedback, steps: int) -> float:
        """`steps` of gradient descent on random batches of the window; the mean error of the last tenth of them."""
        errors = []
        for i in range(steps):
            rows = self.rng.integers(len(window), size=min(self.batch_size, len(window)))
            seen = {name: array[rows] for name, array in window.observations.items()}
            x = self.features.of(seen, window.slate_items[rows])
            rate = self.learning_rate * 0.5 * (1 + math.cos(math.pi * i / steps))
            errors.append(network.step(self.parameters, x, window.clicked[rows], rate, self.weight_decay, self.clip))
        self._layers = network.arrays(self.parameters)
        return float(np.mean(errors[-max(1, steps // 10) :])) if errors else math.nan

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        weights = {WEIGHTS + name: array for name, array in self.parameters.state().items()}
        return {**super().state(), **weights, "trained": np.array([self.trained])}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        weights = {name[len(WEIGHTS) :]: array for name, array in state.items() if name.startswith(WEIGHTS)}
        self.parameters.restore(self.parameters.check(weights))
        self._layers = network.arrays(self.parameters)
        self.trained = bool(saved(state, "trained", (1,))[0])
        super().restore(state)
