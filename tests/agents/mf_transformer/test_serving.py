"""The compiled scores are those that are trained, and what they cannot serve they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perennial.agents.base import Feedback, top_k
from perennial.agents.mf_transformer import serving
from perennial.agents.mf_transformer.plackett_luce import slot_propensity
from tests.agents.mf_transformer.agents import SMALL, begun
from tests.agents.toy import ToyShop, toy_shop


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_gate": False},
        {"use_mf": False},
        {"use_transformer": False},
        {"use_mf": False, "use_transformer": False},
        {"layers": 3, "heads": 4},
        {"width": 9, "heads": 3, "layers": 2, "factors": 3},
        {"width": 7, "heads": 1, "history": 1},
    ],
    ids=str,
)
def test_compiled_scores_are_those_that_are_trained(options: dict[str, object]) -> None:
    """Of visitors with and without clicks, with full and empty histories; a page's bits do not know its batch."""
    shop = toy_shop(3, n_users=200)
    log = shop.uniform_log(600)
    agent = begun(shop, **{**SMALL, "cold_steps": 40, "learning_rate": 0.05, **options})
    agent.fit(log.take(np.flatnonzero(log.keys.user_id < 150)), "cold")
    observations, keys = shop.observe(64)
    observations["history"][::4] = -1
    pages = agent._pages(observations, keys)
    with torch.inference_mode():
        table = agent.mixture.item_table(agent._weights, torch.from_numpy(agent.mf.item_factors))
        trained = agent.mixture.scores(agent._weights, table, pages).numpy()
    served = agent.scores(observations, keys)
    assert (keys.user_id >= 150).any()
    assert (observations["history"] >= 0).any()
    assert np.ptp(trained) > 0.1
    assert served.dtype == np.float32
    np.testing.assert_allclose(served, trained, rtol=0, atol=1e-4)
    for row in range(64):
        one = np.array([row])
        alone = agent.scores({name: array[one] for name, array in observations.items()}, keys.take(one))
        assert np.array_equal(alone[0], served[row])


def test_arrays_in_any_order_and_read_only_are_served_alike_by_the_kernel_there_is(
    small: tuple[ToyShop, Feedback],
) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    expected = agent.scores(log.observations, log.keys)
    compiled = list(serving._scores.signatures)
    other = {name: np.asfortranarray(array) for name, array in log.observations.items()}
    for array in other.values():
        array.flags.writeable = False
    assert np.array_equal(agent.scores(other, log.keys), expected)
    assert agent.scores({name: array[:0] for name, array in other.items()}, log.keys.take(np.arange(0))).size == 0
    assert serving._scores.signatures == compiled


@pytest.mark.parametrize(
    ("name", "bad", "error", "message"),
    [
        ("candidates", 120, IndexError, "'observations\\['candidates'\\]' must hold ids of items"),
        ("candidates", -1, IndexError, "'observations\\['candidates'\\]' must hold ids of items"),
        ("history", 120, IndexError, "'observations\\['history'\\]' must hold ids of items, or -1"),
        ("user", None, ValueError, "'observations' must hold rows as long as `begin` was told"),
        ("page", None, ValueError, "'observations' must hold rows as long as `begin` was told"),
        ("history", None, ValueError, "'observations' must hold rows as long as `begin` was told"),
    ],
)
def test_pages_that_do_not_fit_are_not_served(
    small: tuple[ToyShop, Feedback], name: str, bad: int | None, error: type[Exception], message: str
) -> None:
    """A compiled kernel has no bounds of its own: what it cannot serve it must refuse."""
    shop, log = small
    array = log.observations[name].copy()
    if bad is None:
        array = array[:, :3]
    else:
        array[-1, -1] = bad
    with pytest.raises(error, match=message):
        begun(shop, **SMALL).scores({**log.observations, name: array}, log.keys)


def test_slates_hold_no_repeats_and_are_the_best_scores(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    agent.fit(log, "cold")
    decision = agent.act(log.observations, log.keys)
    assert np.array_equal(decision.slates, top_k(agent.scores(log.observations, log.keys), shop.spaces.slate_size))
    assert (decision.slot_propensity == 1).all()
    assert np.array_equal(agent.slate_propensity(log.observations, log.keys, decision.slates), decision.slot_propensity)


def test_propensities_of_drawn_slates_are_exact(small: tuple[ToyShop, Feedback]) -> None:
    logits = np.log(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(slot_propensity(logits, np.array([[2, 0, 1]], np.int32)), [[3 / 6, 1 / 3, 1.0]])
    np.testing.assert_allclose(slot_propensity(logits, np.array([[1, 1, 0]], np.int32)), [[2 / 6, 0.0, 0.0]])
    shop, log = small
    agent = begun(shop, **SMALL, temperature=1.0)
    one = log.take(np.zeros(20000, np.int64))
    decision = agent.act(one.observations, one.keys)
    assert np.array_equal(agent.slate_propensity(one.observations, one.keys, decision.slates), decision.slot_propensity)
    first = decision.slates[:, 0]
    shares = np.bincount(first, minlength=shop.spaces.n_candidates) / len(first)
    chance = np.zeros(shop.spaces.n_candidates)
    chance[first] = decision.slot_propensity[:, 0]
    assert np.abs(shares - chance).max() < 4 * np.sqrt(chance.max() / len(first))
