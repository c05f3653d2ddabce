"""`mf_transformer` learns tastes and visits, each part is worth its place, and it resumes bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from perennial.agents.base import Decision, Feedback, Keys, Spaces, top_k
from perennial.agents.mf_transformer import MfTransformer, serving
from perennial.agents.mf_transformer.mixture import Mixture, Shape, layout
from perennial.agents.mf_transformer.parameters import Parameters, Weight
from perennial.agents.mf_transformer.plackett_luce import slot_propensity
from perennial.agents.popular import Popular
from tests.agents.toy import ToyShop, toy_shop, uplift

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


def same(a: dict[str, NDArray], b: dict[str, NDArray]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def small() -> tuple[ToyShop, Feedback]:
    shop = toy_shop(3)
    return shop, shop.uniform_log(600)


# -- what it learns ----------------------------------------------------------------------------------------------------


def test_learns_the_toy_shop_and_beats_popular() -> None:
    shop = toy_shop(1)
    log = shop.uniform_log(12000)
    agent, popular = begun(shop, **QUICK), Popular()
    popular.begin(shop.items, shop.spaces, 5)
    agent.fit(log, "cold")
    popular.fit(log, "cold")
    mine, theirs = share(shop, agent), share(shop, popular)
    assert mine > 0.8
    assert mine > theirs + 0.3


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


def hits(agent: MfTransformer, log: Feedback, wanted: NDArray) -> float:
    """Share of shown items that are of the group `wanted` (B,) of each page of `log`."""
    slates = agent.act(log.observations, log.keys).slates
    return float((slates % 4 == wanted[:, None]).mean())


@pytest.mark.parametrize(("without", "part"), [({"use_mf": False}, "taste"), ({"use_transformer": False}, "focus")])
def test_each_part_learns_what_the_other_cannot(without: dict[str, bool], part: str) -> None:
    make = clicks_of_taste if part == "taste" else clicks_of_focus
    log, spaces, items = make(np.random.default_rng(0), 2000)
    wanted = log.keys.user_id % 4 if part == "taste" else log.observations["history"][:, -1] % 4
    found = []
    for options in ({}, without):
        agent = MfTransformer(
            factors=4, width=8, history=4, cold_steps=200, batch_size=128, learning_rate=0.02, **options
        )
        agent.begin(items, spaces, 1)
        agent.fit(log, "cold")
        found.append(hits(agent, log, wanted))
    assert found[0] > 0.9
    assert found[1] < 0.5


def test_transformer_overfits_a_hundred_sessions() -> None:
    rng = np.random.default_rng(2)
    log, spaces, items = clicks_of_focus(rng, 100)
    arbitrary = rng.random(log.clicked.shape) < 0.5
    log = page_log(spaces, log.keys.user_id, log.slate_items, arbitrary, log.observations["history"])
    agent = MfTransformer(
        width=48, history=6, cold_steps=350, batch_size=100, learning_rate=0.02, weight_decay=0.0, use_mf=False
    )
    agent.begin(items, spaces, 1)
    agent.fit(log, "cold")
    scores = np.take_along_axis(agent.scores(log.observations, log.keys), log.slate_items.astype(np.int64), axis=1)
    assert ((scores > 0) == arbitrary).mean() > 0.95


def test_cold_items_and_visitors_are_served_from_features() -> None:
    shop = toy_shop(4, n_users=400)
    log = shop.uniform_log(6000)
    old_items, old_users = log.slate_items < 100, log.keys.user_id < 300
    log = log.take(np.flatnonzero(old_users & old_items.all(axis=1)))
    agent = begun(shop, **QUICK)
    agent.fit(log, "cold")
    observations, keys = shop.observe(200)
    scores, truth = agent.scores(observations, keys), shop.attraction(observations, keys)
    assert np.isfinite(scores).all()
    new = keys.user_id >= 300
    fresh = observations["candidates"] >= 100
    assert new.any()
    assert fresh.any()
    assert np.corrcoef(scores[new].ravel(), truth[new].ravel())[0, 1] > 0.5
    assert np.corrcoef(scores[fresh], truth[fresh])[0, 1] > 0.4


def test_a_never_fitted_agent_serves_and_a_warm_fit_of_it_is_a_first_fit(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    decision = agent.act(log.observations, log.keys)
    assert decision.slates.shape == log.slates.shape
    assert agent.fit(log)["gradient_steps"] == SMALL["cold_steps"]
    assert agent.fit(log)["gradient_steps"] == SMALL["warm_steps"]


def test_warm_fit_follows_a_category_in_fashion() -> None:
    """After a first fit on one world, the clicks move to category 0: ten short warm fits put it first."""
    shop = toy_shop(6, focus=0.0, scale=0.3)
    agent = begun(shop, **QUICK, warm_steps=10)
    agent.fit(shop.uniform_log(4000), "cold")
    shop.taste[:, 0] += 3.0
    log = shop.uniform_log(2000)

    def rank_of_the_fashion() -> float:
        observations, keys = shop.observe(100)
        slates = agent.act(observations, keys).slates.astype(np.int64)
        shown = np.take_along_axis(observations["candidates"], slates, axis=1)
        return float((shop.category[shown] == 0).mean())

    before = rank_of_the_fashion()
    for _ in range(10):
        agent.fit(log, "warm")
    assert before < 0.3 < 0.6 < rank_of_the_fashion()


def test_reward_head_puts_what_pays_before_what_is_clicked() -> None:
    """Clicks on items of category 0 pay 5, on others 1: with the head they are shown more often, and more is earned."""
    shop = toy_shop(7)
    log = shop.uniform_log(6000)
    pays = np.where(shop.category == 0, 5.0, 1.0).astype(np.float32)
    log = replace(log, reward=(log.clicked * pays[log.slate_items]).sum(axis=1))
    earned, shares = [], []
    for weight in (0.0, 0.1):
        agent = begun(shop, **QUICK, reward_weight=weight)
        agent.fit(log, "cold")
        observations, keys = shop.observe(150)
        slates = agent.act(observations, keys).slates.astype(np.int64)
        shown = np.take_along_axis(observations["candidates"], slates, axis=1)
        chances = np.take_along_axis(shop.attraction(observations, keys), slates, axis=1)
        earned.append((chances * shop.examination * pays[shown]).sum(axis=1).mean())
        shares.append((shop.category[shown] == 0).mean())
    assert shares[1] > 2 * shares[0]
    assert earned[1] > 1.2 * earned[0]


def test_reward_head_learns_what_clicks_are_worth() -> None:
    """Worth of a click by category, to a tenth, where the reward is exactly the sum of clicks' worths."""
    shop = toy_shop(7, n_categories=3)
    log = shop.uniform_log(6000)
    pays = np.array([4.0, 1.0, 0.5], np.float32)[shop.category]
    log = replace(log, reward=(log.clicked * pays[log.slate_items]).sum(axis=1))
    agent = begun(shop, **QUICK, reward_weight=0.1)
    agent.fit(log, "cold")
    observations, keys = shop.observe(100)
    worth = serving.scores(agent._worths, observations, keys)
    assert np.abs(worth - pays[observations["candidates"]]).mean() < 0.1


# -- parts -------------------------------------------------------------------------------------------------------------


def test_flags_remove_their_part(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    full = set(begun(shop, **SMALL).parameters.layout)
    for flag, gone in (("use_mf", "taste."), ("use_transformer", "block0."), ("use_gate", "gate.")):
        agent = begun(shop, **SMALL, **{flag: False})
        agent.fit(log, "cold")
        assert any(name.startswith(gone) for name in full)
        assert not any(name.startswith(gone) for name in agent.parameters.layout)
        assert np.isfinite(agent.scores(log.observations, log.keys)).all()
    no_visit, no_taste = begun(shop, **SMALL, use_transformer=False), begun(shop, **SMALL, use_mf=False)
    for agent in (no_visit, no_taste):
        agent.fit(log, "cold")
    empty = {**log.observations, "history": np.full_like(log.observations["history"], -1)}
    others = Keys(log.keys.visit, log.keys.page, log.keys.user_id[::-1].copy(), log.keys.tick)
    assert np.array_equal(no_visit.scores(empty, log.keys), no_visit.scores(log.observations, log.keys))
    assert not np.array_equal(no_visit.scores(log.observations, others), no_visit.scores(log.observations, log.keys))
    assert np.array_equal(no_taste.scores(log.observations, others), no_taste.scores(log.observations, log.keys))
    assert no_visit.mf.item_factors.any()
    assert not no_taste.mf.item_factors.any()


def test_gate_lies_inside_and_turns_with_the_page(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **{**SMALL, "cold_steps": 60, "learning_rate": 0.02})
    agent.fit(log, "cold")
    gate = agent.gate(log.observations, log.keys)
    assert (gate > 0).all()
    assert (gate < 1).all()
    assert np.ptp(gate) > 0.01
    assert (begun(shop, **SMALL, use_gate=False).gate(log.observations, log.keys) == 0.5).all()


def test_score_is_bias_plus_gated_taste_plus_gated_visit(small: tuple[ToyShop, Feedback]) -> None:
    """The mixed score is affine in the gate: at 1 twice the taste, at 0 twice the visit, at 1/2 their sum."""
    shop, log = small
    agent = begun(shop, **SMALL)
    agent.fit(log, "cold")
    trained, by_gate = agent._tables, {}
    for logit in (-40.0, 0.0, 40.0):
        shift = np.full_like(trained.gate_shift, logit)
        agent._tables = trained._replace(gate=np.zeros_like(trained.gate), gate_shift=shift)
        by_gate[logit] = agent.scores(log.observations, log.keys)
    np.testing.assert_allclose(by_gate[0.0], (by_gate[-40.0] + by_gate[40.0]) / 2, atol=1e-5)
    assert np.abs(by_gate[40.0] - by_gate[-40.0]).max() > 1e-3


def test_attention_follows_the_formula() -> None:
    """One block on hand-made weights against softmax(q k / sqrt(d) + place) v written out per head in NumPy."""
    from perennial.agents.mf_transformer import session_transformer as st

    rng = np.random.default_rng(0)
    shape = Shape(2, 6, 1, 2, 3, False, True, False)
    w = {k: torch.from_numpy(rng.normal(size=v.shape)) for k, v in st.layout(6, 1, 3, 5).items()}
    clicked, reader = torch.from_numpy(rng.normal(size=(4, 3, 12))), torch.from_numpy(rng.normal(size=(4, 6)))
    own = st.own_columns(shape.width, shape.heads).double()
    got = st._attend(w, 0, reader, clicked, own).numpy()
    normed = (reader - reader.mean(1, keepdim=True)) / torch.sqrt(reader.var(1, unbiased=False, keepdim=True) + 1e-5)
    query = ((normed * w["block0.gain"][0]) @ w["block0.query"]).numpy()
    place, key, value = query @ w["block0.position"].numpy(), clicked[..., :6].numpy(), clicked[..., 6:].numpy()
    read = np.zeros((4, 6))
    for head in (slice(0, 3), slice(3, 6)):
        logits = (np.einsum("bd,bhd->bh", query[:, head], key[..., head]) + place) / np.sqrt(3)
        weight = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        read[:, head] = np.einsum("bh,bhd->bd", weight, value[..., head])
    np.testing.assert_allclose(got, read @ w["block0.out"].numpy(), rtol=1e-10)


def test_adam_follows_the_paper() -> None:
    """Ten steps beside Loshchilov and Hutter 2019, algorithm 2, written out in float64, below the clip."""
    ours = Parameters({"a": Weight((5,), 1.0, decay=True), "b": Weight((2,), 1.0, rate=3.0)}, np.random.default_rng(0))
    theta = ours.flat.detach().numpy().astype(np.float64)
    decay, rate, m, v = np.array([0.1] * 5 + [0.0] * 2), np.array([1.0] * 5 + [3.0] * 2), 0.0, 0.0
    for t in range(1, 11):
        views = ours.views()
        ((views["a"] ** 4).sum() + (views["b"] ** 4).sum()).backward()
        ours.step(0.05, 0.1, clip=1e9)
        gradient = 4 * theta**3
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        theta = theta - 0.05 * (rate * step + decay * theta)
    np.testing.assert_allclose(ours.flat.detach().numpy(), theta, rtol=1e-4, atol=1e-6)


def test_gradient_is_clipped() -> None:
    weights = Parameters({"a": Weight((2,))}, np.random.default_rng(0))
    (1000.0 * weights.views()["a"]).sum().backward()
    assert weights.step(0.1, 0.0, clip=1.0) == pytest.approx(1000 * np.sqrt(2))
    np.testing.assert_allclose(weights.first.numpy(), 0.1 / np.sqrt(2), rtol=1e-5)


def test_a_nudge_uses_the_moments_and_leaves_them_alone() -> None:
    """After steps with gradient 2 the spread of `a` is 2; a nudge with gradient 1 then moves 1 / 2 of the rate. `b` had
    no gradient so far: its nudge is bounded by 3 rates."""
    weights = Parameters({"a": Weight((1,)), "b": Weight((1,))}, np.random.default_rng(0))
    for _ in range(5):
        (2.0 * weights.views()["a"].sum()).backward()
        weights.step(0.1, 0.0, clip=1e9)
    before = weights.state()
    weights.views()["a"].sum().add(weights.views()["b"].sum()).backward()
    weights.nudge(0.1, 0.0, clip=1e9)
    after = weights.state()
    moved = before["parameters"] - after["parameters"]
    np.testing.assert_allclose(moved, [0.05, 0.3], rtol=1e-4)
    assert all(np.array_equal(before[k], after[k]) for k in ("first_moment", "second_moment", "gradient_steps"))


def test_overlapping_windows_count_a_click_once(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    twice, once = begun(shop, **SMALL), begun(shop, **SMALL)
    early = log.take(log.keys.tick < 4)
    assert 0 < len(early) < len(log)
    assert twice.fit(early)["new_clicks"] == early.clicked.sum()
    assert twice.fit(log)["new_clicks"] == log.clicked.sum() - early.clicked.sum()
    once.fit(log)
    assert (twice.mf.clicks != once.mf.clicks).nnz == 0
    assert once.mf.clicks.sum() == log.clicked.sum()


# -- serving -----------------------------------------------------------------------------------------------------------


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


# -- slates ------------------------------------------------------------------------------------------------------------


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


# -- repeatability -----------------------------------------------------------------------------------------------------


def life(agent: MfTransformer, log: Feedback) -> None:
    agent.fit(log.take(np.arange(400)), "cold")
    agent.update(log.take(np.arange(400, 420)))
    agent.fit(log.take(np.arange(100, 500)), "warm")


def test_same_seed_same_bits_and_another_seed_others(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    a, b, c = (begun(shop, seed, **SMALL) for seed in (1, 1, 2))
    for agent in (a, b, c):
        life(agent, log)
    assert same(a.state(), b.state())
    assert not np.array_equal(a.state()["parameters"], c.state()["parameters"])


def test_two_agents_do_not_disturb_each_other(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    alone, a, b = begun(shop, 1, **SMALL), begun(shop, 1, **SMALL), begun(shop, 2, **SMALL)
    life(alone, log)
    b.fit(log, "cold")
    a.fit(log.take(np.arange(400)), "cold")
    b.update(log)
    a.update(log.take(np.arange(400, 420)))
    b.fit(log, "warm")
    a.fit(log.take(np.arange(100, 500)), "warm")
    assert same(alone.state(), a.state())


def test_global_generators_are_neither_drawn_from_nor_moved(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    numpys, torchs, pythons = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    agent = begun(shop, 1, **SMALL)
    life(agent, log)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torchs)
    assert random.getstate() == pythons
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    again = begun(shop, 1, **SMALL)
    life(again, log)
    assert same(agent.state(), again.state())


@pytest.mark.parametrize(
    "options", [{}, {"use_mf": False}, {"use_transformer": False}, {"temperature": 0.5}, {"reward_weight": 0.1}]
)
def test_save_load_and_go_on_is_never_interrupted(
    small: tuple[ToyShop, Feedback], tmp_path: Path, options: dict[str, object]
) -> None:
    shop, log = small
    straight, first, second = (begun(shop, seed, **SMALL, **options) for seed in (1, 1, 9))
    for agent in (straight, first):
        life(agent, log)
        agent.act(log.observations, log.keys)
    first.save(tmp_path / "agent.safetensors")
    second.load(tmp_path / "agent.safetensors")
    assert same(first.state(), second.state())
    for agent in (straight, second):
        agent.fit(log.take(np.arange(200, 550)), "warm")
        agent.update(log.take(np.arange(550, 600)))
    assert same(straight.state(), second.state())
    decisions: list[Decision] = [agent.act(log.observations, log.keys) for agent in (straight, second)]
    assert np.array_equal(decisions[0].slates, decisions[1].slates)
    assert np.array_equal(decisions[0].slot_propensity, decisions[1].slot_propensity)


def test_a_state_stays_as_it_was_taken(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    life(agent, log)
    taken = agent.state()
    kept = {name: array.copy() for name, array in taken.items()}
    other = begun(shop, **SMALL)
    other.restore(taken)
    for a in (agent, other):
        a.fit(log, "warm")
    assert same(taken, kept)


def test_cold_fit_forgets_all_but_the_generator(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    agent.fit(log.take(np.arange(300)), "cold")
    agent.fit(log.take(np.arange(300, 600)), "cold")
    assert agent.fits == 1
    assert agent.parameters.steps == SMALL["cold_steps"]
    assert agent.mf.clicks.sum() == log.clicked[300:].sum()


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_bad_feedback_is_refused_and_nothing_changes(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    life(agent, log)
    before = agent.state()
    broken = log.take(np.arange(50))
    broken.observations["user"][7, 0] = np.nan
    with pytest.raises(ValueError, match=r"'window.observations\['user'\]' must hold finite numbers.*1 of 50.*page 7"):
        agent.fit(broken, "cold")
    broken = log.take(np.arange(50))
    broken.reward[3] = np.nan
    with pytest.raises(ValueError, match=r"'feedback.reward' must hold finite numbers.*Got NaN"):
        agent.update(broken)
    broken = log.take(np.arange(50))
    broken.slate_items[0, 0] = shop.spaces.n_items
    with pytest.raises(ValueError, match=r"'window.slate_items' must hold ids in \[0, 120\)"):
        agent.fit(broken)
    with pytest.raises(ValueError, match="'start' must be one of 'warm', 'cold'. Got 'hot'"):
        agent.fit(log, "hot")
    assert same(before, agent.state())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 10, "heads": 3}, ValueError, "'width' must be a multiple of 'heads'. Got width=10 and heads=3"),
        ({"cold_steps": 0}, ValueError, "'cold_steps' must be an integer >= 1. Got 0"),
        ({"learning_rate": 0.0}, ValueError, "'learning_rate' must be a number in"),
        ({"learning_rate": "fast"}, TypeError, "'learning_rate' must be a number in"),
        ({"temperature": float("nan")}, ValueError, "'temperature' must be a number in"),
        ({"use_gate": "no"}, TypeError, "'use_gate' must be True or False. Got str: 'no'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MfTransformer(**options)  # type: ignore[arg-type]


def test_a_state_of_another_size_is_refused_and_nothing_changes(small: tuple[ToyShop, Feedback]) -> None:
    shop, _ = small
    agent, other = begun(shop, **SMALL), begun(shop, **{**SMALL, "width": 16})
    before = agent.state()
    with pytest.raises(ValueError, match="'parameters' must have shape"):
        agent.restore(other.state())
    assert same(before, agent.state())


def test_empty_feedback_teaches_nothing(small: tuple[ToyShop, Feedback]) -> None:
    shop, log = small
    agent = begun(shop, **SMALL)
    before = agent.state()
    assert agent.update(log.take(np.arange(0))) == {}
    assert agent.fit(log.take(np.arange(0))) == {}
    assert same(before, agent.state())


def test_layout_counts_what_the_tables_need(small: tuple[ToyShop, Feedback]) -> None:
    shop, _ = small
    agent = begun(shop, **SMALL)
    mixture: Mixture = agent.mixture
    expected = layout(mixture.shape, shop.spaces, mixture.inputs.shape[1])
    assert agent.state()["parameters"].size == sum(weight.size for weight in expected.values())
