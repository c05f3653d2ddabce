"""Its parts, each against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perennial.agents.base import Feedback, Keys
from perennial.agents.mf_transformer.mixture import Shape
from perennial.agents.mf_transformer.parameters import Parameters, Weight
from tests.agents.mf_transformer.agents import SMALL, begun
from tests.agents.toy import ToyShop


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
