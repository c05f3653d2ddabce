"""Off-policy estimates: what a policy would have earned on pages that others served, with intervals.

The value is the mean click value of a page on the logged contexts: the sum over its K slots of what is earned there.
Weights say how much a logged slot tells of another policy; estimators average what was earned with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """An estimate per page and its interval [low, high]; ``effective``: the effective sample size of its weights."""

    value: float
    low: float
    high: float
    effective: float


@dataclass(frozen=True)
class Weighted:
    """What estimators are made from; float64 (P, K) each but ``users`` (P,), whose pages count as one observation.

    ``weights`` of the logged slots (mean 1 under the logging policy), ``earned`` there, ``predicted``: what a model
    expects there, ``target``: what it expects of the evaluated policy's own slots.
    """

    weights: Floats
    earned: Floats
    predicted: Floats
    target: Floats
    users: NDArray[np.int32]


# -- weights ----------------------------------------------------------------------------------------------------------


def slot_weights(
    pages: Feedback, slates: NDArray[np.int32], epsilon: float, served: NDArray[np.int32] | None = None
) -> Floats:
    """float64 (P, K): P(target puts this item here) / P(the log does), slot by slot ("independent").

    The item-position model of Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen 2018, "Offline evaluation of
    ranking policies with click models", equation 4: right if what a slot earns depends on its own item only, and its
    weights stay bounded by M / epsilon where those of whole slates explode. `slates` int32 (P, K) are drawn by the
    target; one draw of a policy that draws lots is enough, and leaves the mean right.

    Where the policy that served is deterministic and known, `served` are its own slates: the log's chance of an item
    is (1 - epsilon) [served] + epsilon / M. Elsewhere only explored pages count, epsilon / M each, whatever served.
    """
    chance = epsilon / pages.observations["candidates"].shape[1]
    matched = pages.slates == slates
    if served is None:
        return np.where(matched & pages.explored[:, None], 1.0 / chance, 0.0)
    return np.asarray(matched / ((1.0 - epsilon) * (served == slates) + chance), np.float64)


def cascade_weights(pages: Feedback, target: Agent) -> Floats:
    """float64 (P, K): the product over the slots down to this one of P_target(a_j | a_<j) / P_log(a_j | a_<j).

    Right if what a slot earns depends on it and those above (McInerney, Brost, Chandar, Mehrotra and Carterette 2020,
    "Counterfactual evaluation of slate recommendations with sequential reward interactions"). NaN where the log does
    not know its propensities.
    """
    propensity = target.slate_propensity(pages.observations, pages.keys, pages.slates)
    return np.asarray(np.cumprod(propensity / pages.slot_propensity, axis=1), np.float64)


def slate_weights(pages: Feedback, target: Agent) -> Floats:
    """float64 (P, K): the whole slate's ratio in every slot; nothing is assumed, and hardly ever is there support."""
    return np.repeat(cascade_weights(pages, target)[:, -1:], pages.slates.shape[1], axis=1)


def own_slates(agent: Agent, pages: Feedback) -> NDArray[np.int32]:
    """int32 (P, K): what `agent` shows on these pages; an agent that draws lots is left where it stood."""
    before = {name: array.copy() for name, array in agent.state().items()}
    slates = agent.act(pages.observations, pages.keys).slates
    agent.restore(before)
    return slates


def known_slates(agent: Agent, pages: Feedback, version: int) -> NDArray[np.int32] | None:
    """What `agent` shows on pages it served as `version`; None unless it provably is what served all of them.

    It must have served every page, be sure of its slates, and show again exactly what it showed where nothing was
    explored: one updated in place since does not, and one whose batch was another may not.
    """
    if not len(pages) or (pages.version != version).any():
        return None
    before = {name: array.copy() for name, array in agent.state().items()}
    decision = agent.act(pages.observations, pages.keys)
    agent.restore(before)
    same = (decision.slates == pages.slates).all(axis=1) | pages.explored
    return decision.slates if same.all() and (decision.slot_propensity == 1.0).all() else None


# -- estimators -----------------------------------------------------------------------------------------------------


def ips(data: Weighted) -> tuple[float, Floats]:
    """Inverse propensity scoring (Horvitz and Thompson 1952): the mean of sum_k w_k r_k."""
    pages = (data.weights * data.earned).sum(axis=1)
    return float(pages.mean()), pages - pages.mean()


def snips(data: Weighted) -> tuple[float, Floats]:
    """Self-normalised (Swaminathan and Joachims 2015), each slot by the mean of its own weights."""
    total = data.weights.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slots = (data.weights * data.earned).mean(axis=0) / total
        influence = (data.weights * (data.earned - slots) / total).sum(axis=1)
    return float(slots.sum()), influence


def dm(data: Weighted) -> tuple[float, Floats]:
    """Direct method: what the model expects of the target's slates; its interval is blind to the model's errors."""
    pages = data.target.sum(axis=1)
    return float(pages.mean()), pages - pages.mean()


def dr(data: Weighted) -> tuple[float, Floats]:
    """Doubly robust (Dudik, Langford and Li 2011): the model, and the weighted mean of what it gets wrong.

    With the weights of `cascade_weights` and a model in which a slot's clicks depend on its own item this is
    Cascade-DR (Kiyohara, Saito, Matsuhiro, Narita, Shimizu and Yamamoto 2022, equation 8): their later-slot values
    telescope. On the logged contexts the model's part is no source of chance; the interval is that of the second.
    """
    rest = (data.weights * (data.earned - data.predicted)).sum(axis=1)
    return float(data.target.sum(axis=1).mean() + rest.mean()), rest - rest.mean()


ESTIMATORS = {"ips": ips, "snips": snips, "dm": dm, "dr": dr}
"""Name: function giving the estimate and each page's influence on it, float64 (P,), of mean 0."""


def evaluate(data: Weighted, estimator: str, alpha: float = 0.05) -> Value:
    """A policy's value by one of ESTIMATORS."""
    value, influence = ESTIMATORS[estimator](data)
    size = effective_size(data.weights)
    return _interval(value, influence, data.users, size, alpha, blind=estimator != "dm" and size == 0)


def compare(first: Weighted, second: Weighted, estimator: str, alpha: float = 0.05) -> Value:
    """The value of `first` less that of `second` on the same pages; where both show the same, nothing is unsure.

    ``effective`` counts the pages on which the two differ; if none of them was ever seen, the interval is infinite.
    """
    value1, influence1 = ESTIMATORS[estimator](first)
    value2, influence2 = ESTIMATORS[estimator](second)
    size = effective_size(np.maximum(first.weights - second.weights, 0.0))
    blind = estimator != "dm" and size == 0 and not np.array_equal(first.target, second.target)
    return _interval(value1 - value2, influence1 - influence2, first.users, size, alpha, blind)


def effective_size(weights: Floats) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2, of all slots; 0 where no weight is left."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _interval(
    value: float, influence: Floats, users: NDArray[Any], effective: float, alpha: float, blind: bool
) -> Value:
    """A normal interval from the influence summed by user; infinite where nothing was seen."""
    groups = np.unique(users, return_inverse=True)[1]
    sums = np.bincount(groups, influence)
    n = len(sums)
    spread = np.sqrt((sums**2).sum() * n / (n - 1)) / len(influence) if n > 1 and not blind else np.inf
    reach = NormalDist().inv_cdf(1 - alpha / 2) * float(spread)
    return Value(value, value - reach, value + reach, effective)
