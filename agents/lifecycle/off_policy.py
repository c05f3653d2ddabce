"""Off-policy estimates: what a policy would have earned on pages that others served, with intervals.

The value is the mean click value of a page on the logged contexts: the sum over its K slots of what is earned there.
Weights say how much a logged slot tells of another policy; estimators average what was earned with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import isotonic_regression

from perennial.agents.base import Agent, Feedback
from perennial.agents.lifecycle.rollout import asked

Floats = NDArray[np.float64]
Slates = NDArray[np.int32]


@dataclass(frozen=True)
class Value:
    """An estimate per page and its interval [low, high]; ``effective``: the effective sample size it rests on."""

    value: float
    low: float
    high: float
    effective: float


@dataclass(frozen=True)
class Weighted:
    """What estimators are made from; float64 (P, K) each but ``users`` (P,), whose pages count as one observation.

    ``weights`` of the logged slots (mean 1 under the logging policy), ``earned`` there, ``predicted``: what a model
    expects there, ``target``: what it expects of the evaluated policy's own slots. ``looks`` (K,): the examination of
    the slots where weights follow items from slot to slot (`position_weights`), None where they stay in theirs.
    """

    weights: Floats
    earned: Floats
    predicted: Floats
    target: Floats
    users: NDArray[np.int32]
    looks: Floats | None = None

    def cut(self, rows: NDArray[np.bool_]) -> Weighted:
        """The same on some of the pages."""
        return Weighted(
            self.weights[rows], self.earned[rows], self.predicted[rows], self.target[rows], self.users[rows], self.looks
        )


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


def examination(pages: Feedback, prior: float = 10.0) -> Floats:
    """float64 (K,) in (0, 1]: how often each slot is looked at, relative to the first.

    The clicks of each slot on explored pages, whose items are uniform in every slot, as a sequence that never rises:
    the mean of neighbours out of order (Ayer, Brunk, Ewing, Reid and Silverman 1955). `prior` clicks are added to
    each, so that slots are taken for alike where there are few.
    """
    clicks = pages.clicked[pages.explored].sum(axis=0).astype(np.float64)
    level = np.asarray(isotonic_regression(clicks + prior, increasing=False).x, np.float64)
    return np.asarray(level / level[0], np.float64)


def position_weights(
    pages: Feedback, slates: Slates, epsilon: float, looks: Floats, served: Slates | None = None
) -> Floats:
    """float64 (P, K): how much the target lets the item here be looked at, over how much the log does.

    The position-based estimator of Li et al. 2018: a click takes a look at the slot and an item that attracts
    (Craswell, Zoeter, Taylor and Ramsey 2008), so that an item tells of itself wherever it is shown, by as much as
    `looks` (K,) says. An item that is only moved needs no exploration, and a new one is found in any of the K slots:
    the greatest weight is about M / (epsilon x K), a K-th of that of `slot_weights`. `served` as there.
    """
    shape = pages.observations["candidates"].shape
    aimed = _placed(slates, looks, shape)
    chance = epsilon * looks.sum() / shape[1]
    if served is None:
        return np.where(pages.explored[:, None], _at(aimed, pages.slates) / chance, 0.0)
    return _at(aimed / ((1.0 - epsilon) * _placed(served, looks, shape) + chance), pages.slates)


def _placed(slates: Slates, looks: Floats, shape: tuple[int, ...]) -> Floats:
    """float64 (P, M): how much each candidate is looked at under `slates`; a repeated one in its first slot."""
    table = np.zeros(shape)
    for slot in reversed(range(len(looks))):
        table[np.arange(shape[0]), slates[:, slot]] = looks[slot]
    return table


def _at(table: Floats, slates: Slates) -> Floats:
    return np.asarray(np.take_along_axis(table, slates, axis=1), np.float64)


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
    return asked(agent, pages).slates


def known_slates(agent: Agent, pages: Feedback, version: int) -> NDArray[np.int32] | None:
    """What `agent` shows on pages it served as `version`; None unless it provably is what served all of them.

    It must have served every page, be sure of its slates, and show again exactly what it showed where nothing was
    explored: one updated in place since does not, and one whose batch was another may not.
    """
    if not len(pages) or (pages.version != version).any():
        return None
    decision = asked(agent, pages)
    same = (decision.slates == pages.slates).all(axis=1) | pages.explored
    return decision.slates if same.all() and (decision.slot_propensity == 1.0).all() else None


def expected_support(
    pages: Feedback,
    first: Slates,
    second: Slates | None,
    epsilon: float,
    looks: Floats | None = None,
    served: Slates | None = None,
) -> Floats:
    """float64 (P, 2): expectations, under the log's lots, of D^2 and D^4, D being the sum over a page's slots of |d|.

    d is the weight of `first` less that of `second` (0 if None), by `position_weights` or, if `looks` is None, by
    `slot_weights`. No click and no lot drawn enters: what is said on this ground is not said the sooner because
    chance has hidden what is rare. On an explored page D is taken for compound Poisson, whose cumulant r is the
    expected sum of |d|^r, though its items are drawn without replacement.
    """
    if looks is None:
        explored, plain = _slot_differences(pages, first, second, epsilon, served)
    else:
        explored, plain = _position_differences(pages, first, second, epsilon, looks, served)
    k1, k2, k3, k4 = ((explored**power).sum(axis=1) * _rate(pages, looks) for power in (1, 2, 3, 4))
    squares, fourths = k2 + k1**2, k4 + 4 * k3 * k1 + 3 * k2**2 + 6 * k2 * k1**2 + k1**4
    known = plain.sum(axis=1)
    parts = (epsilon * squares + (1.0 - epsilon) * known**2, epsilon * fourths + (1.0 - epsilon) * known**4)
    return np.stack(parts, axis=1)


def _rate(pages: Feedback, looks: Floats | None) -> float:
    """The chance that an explored page shows what a column of `explored` stands for: an item, or an item in a slot."""
    return (1 if looks is None else len(looks)) / pages.observations["candidates"].shape[1]


def _position_differences(
    pages: Feedback, first: Slates, second: Slates | None, epsilon: float, looks: Floats, served: Slates | None
) -> tuple[Floats, Floats]:
    """|d| of each candidate if explored (P, M), and of what is served if not (P, K)."""
    shape = pages.observations["candidates"].shape
    change = _placed(first, looks, shape) - (0.0 if second is None else _placed(second, looks, shape))
    own = 0.0 if served is None else (1.0 - epsilon) * _placed(served, looks, shape)
    size = np.abs(change) / (own + epsilon * looks.sum() / shape[1])
    return size, np.zeros((len(first), 1)) if served is None else _at(size, served)


def _slot_differences(
    pages: Feedback, first: Slates, second: Slates | None, epsilon: float, served: Slates | None
) -> tuple[Floats, Floats]:
    """|d| of each target's item in each slot (P, K or 2 K), if explored; the same where it is what is served."""
    chance = epsilon / pages.observations["candidates"].shape[1]
    targets = first if second is None else np.concatenate([first, second], axis=1)
    differ = np.ones(first.shape, np.bool_) if second is None else first != second
    differ = np.tile(differ, targets.shape[1] // first.shape[1])
    own = np.zeros(targets.shape, np.bool_)
    if served is not None:
        own = targets == np.tile(served, targets.shape[1] // first.shape[1])
    size = differ / ((1.0 - epsilon) * own + chance)
    return size, size * own


def expected_size(support: Floats) -> float:
    """How many pages will carry the estimate's error: (sum D^2)^2 / sum D^4, over the pages in `expected_support`.

    The degrees of freedom of a variance that is the sum of such parts (Satterthwaite 1946). Where all weights are
    alike it is Kish's size; where a few heavy ones stand among many light ones it counts the heavy ones, on which the
    normal law of the estimate hangs, and Kish's counts both. 0 where nothing differs.
    """
    squares, fourths = (float(part) for part in support.sum(axis=0))
    return squares**2 / fourths if fourths > 0 else 0.0


# -- estimators -----------------------------------------------------------------------------------------------------


def ips(data: Weighted) -> tuple[float, Floats]:
    """Inverse propensity scoring (Horvitz and Thompson 1952): the mean of sum_k w_k r_k."""
    pages = (data.weights * data.earned).sum(axis=1)
    return float(pages.mean()), pages - pages.mean()


def snips(data: Weighted) -> tuple[float, Floats]:
    """Self-normalised (Swaminathan and Joachims 2015), each slot by the mean of its own weights.

    Where weights follow items, all slots together by what the weights make of the looks, which must be the looks' sum.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if data.looks is not None:
            share = data.weights @ data.looks / data.looks.sum()
            value = float((data.weights * data.earned).sum() / share.sum())
            return value, ((data.weights * data.earned).sum(axis=1) - value * share) / share.mean()
        total = data.weights.mean(axis=0)
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


def evaluate(data: Weighted, estimator: str, alpha: float = 0.05, freedom: float = np.inf) -> Value:
    """A policy's value by one of ESTIMATORS; the interval is Student's with `freedom`, such as `expected_size`."""
    value, influence = ESTIMATORS[estimator](data)
    size = effective_size(data.weights)
    return _interval(value, influence, data.users, size, alpha, estimator != "dm" and size == 0, freedom)


def compare(first: Weighted, second: Weighted, estimator: str, alpha: float = 0.05, freedom: float = np.inf) -> Value:
    """The value of `first` less that of `second` on the same pages; where both show the same, nothing is unsure.

    ``effective`` counts the pages on which the two differ; if none of them was ever seen, the interval is infinite.
    """
    value1, influence1 = ESTIMATORS[estimator](first)
    value2, influence2 = ESTIMATORS[estimator](second)
    size = effective_size(np.maximum(first.weights - second.weights, 0.0))
    blind = estimator != "dm" and size == 0 and not np.array_equal(first.target, second.target)
    return _interval(value1 - value2, influence1 - influence2, first.users, size, alpha, blind, freedom)


def without_exploration(pages: Feedback, first: Slates, second: Slates, looks: Floats, alpha: float = 0.05) -> Value:
    """What pages that were not explored leave of the value of `first` less that of `second`: bounds, and their errors.

    Whoever served such a page, it shows what that policy chose, so each item on it is known to have had its chance
    in full; items not on it were never seen, and earn between nothing and a click at every look (Manski 1990; for
    weights cut off, the inner and outer intervals of Bottou et al. 2013, section 4). By the position-based model, as
    `position_weights`. If `first` shows an item or two that `second` does not, it loses at most what these replaced
    would have earned, and that is known well. ``value`` is the middle. Each bound errs with chance alpha / 2.
    """
    pages, first, second = pages.take(~pages.explored), first[~pages.explored], second[~pages.explored]
    if not len(pages):
        return Value(np.nan, -np.inf, np.inf, 0.0)
    shape = pages.observations["candidates"].shape
    more = _placed(first, looks, shape) - _placed(second, looks, shape)
    shown = _placed(pages.slates, looks, shape)
    unseen = np.where(shown > 0, 0.0, more)
    known = (_at(more, pages.slates) / looks * pages.clicked).sum(axis=1)
    worst, best = known + np.minimum(unseen, 0.0).sum(axis=1), known + np.maximum(unseen, 0.0).sum(axis=1)
    low, high = (
        _interval(float(part.mean()), part - part.mean(), pages.keys.user_id, len(pages), alpha)
        for part in (worst, best)
    )
    return Value((low.value + high.value) / 2, low.low, high.high, float(len(pages)))


def both(first: Value, second: Value) -> Value:
    """The part that two intervals for the same value share; their errors add. The first one's estimate is kept."""
    return replace(first, low=max(first.low, second.low), high=min(first.high, second.high))


def effective_size(weights: Floats) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2, of all slots; 0 where no weight is left."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _interval(
    value: float,
    influence: Floats,
    users: NDArray[Any],
    effective: float,
    alpha: float,
    blind: bool = False,
    freedom: float = np.inf,
) -> Value:
    """Student's interval from the influence summed by user; infinite where nothing was seen."""
    groups = np.unique(users, return_inverse=True)[1]
    sums = np.bincount(groups, influence)
    n = len(sums)
    spread = np.sqrt((sums**2).sum() * n / (n - 1)) / len(influence) if n > 1 and not blind else np.inf
    reach = _quantile(1 - alpha / 2, freedom) * float(spread)
    return Value(value, value - reach, value + reach, effective)


def _quantile(chance: float, freedom: float) -> float:
    """Of Student's t, the normal one's as `freedom` grows; below one degree nothing is said."""
    if freedom == np.inf:
        return NormalDist().inv_cdf(chance)
    return float(stats.t.ppf(chance, freedom)) if freedom >= 1 else np.inf
