"""It resumes bit for bit, disturbs nobody, and what is refused leaves it as it was."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from perennial.agents.base import Decision, Feedback
from perennial.agents.mf_transformer import MfTransformer
from perennial.agents.mf_transformer.mixture import Mixture, layout
from tests.agents.mf_transformer.agents import SMALL, begun
from tests.agents.toy import ToyShop, same


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
