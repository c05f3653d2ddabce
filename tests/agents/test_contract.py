"""What every agent of ``conf/agent`` promises: whole slates, honest propensities, and no learning from bad pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.labels import Labels
from perennial.agents.lifecycle.review import certainty
from perennial.agents.lifecycle.training import with_labels
from tests.agents import yamls
from tests.agents.toy import ToyShop, same, toy_shop

SIZES = {"n_users": 80, "n_items": 60, "n_candidates": 15, "slate_size": 3}
every_agent = pytest.mark.parametrize("name", yamls.NAMES)


def begun(name: str, seed: int = 1) -> Agent:
    agent = yamls.agent(name)
    shop = toy_shop(**SIZES)
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def served(agent: Agent, shop: ToyShop, batches: int, batch: int = 40) -> list[Feedback]:
    """What came of the pages the agent served, batch by batch; it learns from each before it serves the next."""
    parts = []
    for _ in range(batches):
        observations, keys = shop.observe(batch)
        parts.append(shop.respond(observations, keys, agent.act(observations, keys)))
        agent.update(in_log_order(parts[-1]))
    return parts


def in_log_order(pages: Feedback) -> Feedback:
    """The pages of one hour as the event log orders them."""
    return pages.take(np.argsort(pages.keys.visit))


def lived(name: str, seed: int = 1) -> tuple[Agent, ToyShop]:
    """An agent that was fitted on a log of uniform slates and then served and learned for a while."""
    agent, shop = begun(name, seed), toy_shop(**SIZES)
    agent.fit(shop.uniform_log(320, batch=40), "cold")
    served(agent, shop, 3)
    agent.fit(shop.uniform_log(80, batch=40), "warm")
    return agent, shop


def finite(state: dict[str, NDArray[Any]]) -> bool:
    """All numbers are finite; a spare normal draw that is not there is NaN by declaration."""
    return all(np.isfinite(array).all() for name, array in state.items() if not name.endswith("gauss"))


def check_decision(agent: Agent, shop: ToyShop) -> None:
    observations, keys = shop.observe(40)
    decision = agent.act(observations, keys)
    slates, propensity = decision.slates, decision.slot_propensity
    assert (slates.dtype, slates.shape) == (np.int32, (40, shop.spaces.slate_size))
    assert ((slates >= 0) & (slates < shop.spaces.n_candidates)).all()
    assert all(len(set(slate)) == len(slate) for slate in slates.tolist())
    assert (propensity.dtype, propensity.shape) == (np.float64, slates.shape)
    unknown = np.isnan(propensity)
    assert unknown.all() or not unknown.any()
    if not unknown.any():
        assert ((propensity > 0) & (propensity <= 1 + 1e-9)).all()
        again = agent.slate_propensity(observations, keys, slates)
        np.testing.assert_allclose(again, propensity, rtol=1e-5)


@every_agent
def test_slates_are_whole_and_propensities_honest(name: str) -> None:
    fresh, shop = begun(name), toy_shop(**SIZES)
    check_decision(fresh, shop)
    check_decision(*lived(name))


@every_agent
def test_figures_and_state_are_finite_numbers(name: str) -> None:
    agent, shop = begun(name), toy_shop(**SIZES)
    log = shop.uniform_log(320, batch=40)
    for figures in (agent.fit(log, "cold"), agent.fit(log, "warm"), agent.update(served(agent, shop, 1)[0])):
        assert all(isinstance(value, float) and np.isfinite(value) for value in figures.values()), figures
    assert finite(agent.state())


@every_agent
def test_learns_from_pages_with_gaps_and_from_none(name: str) -> None:
    """Every third page is lost on the way, so that visits lack pages at either end and in the middle."""
    agent, shop = begun(name), toy_shop(**SIZES)
    log = shop.uniform_log(240, batch=40)
    holes = log.take(np.arange(240) % 3 != 1)
    agent.fit(holes, "cold")
    agent.update(holes.take(np.arange(0)))
    agent.fit(holes.take(np.arange(0)), "warm")
    agent.update(served(agent, shop, 1)[0].take(np.arange(5)))
    assert finite(agent.state())
    check_decision(agent, shop)


@every_agent
def test_its_decisions_can_be_reviewed_and_labels_taught(name: str) -> None:
    """Asking how certain it is leaves no trace in it, and lessons of reviewers are pages that it can learn."""
    agent, shop = lived(name)
    observations, keys = shop.observe(40)
    before = {name: array.copy() for name, array in agent.state().items()}
    twin = begun(name)
    twin.restore({name: array.copy() for name, array in before.items()})
    decision = agent.act(observations, keys)
    values, measure = certainty(agent, observations, keys, decision)
    assert (values.shape, measure in ("margin", "propensity", "prediction", "chance")) == ((40,), True)
    assert np.isfinite(values).all()
    assert len(set(values.tolist())) > 1 or measure == "propensity"  # all 1, or all a uniform slate's
    twin.act(observations, keys)
    assert same(agent.state(), twin.state())
    pages = shop.uniform_log(120, batch=40)
    judged = pages.take(np.arange(30))
    hour = np.full(30, pages.keys.tick[-1])
    labels = Labels(replace(judged, extras={}), hour, hour, np.zeros(30, np.int8), ("hand",) * 30)
    agent.fit(with_labels(pages, labels), "warm")
    assert finite(agent.state())
    check_decision(agent, shop)


@every_agent
def test_same_seed_same_bits(name: str) -> None:
    (a, shop), (b, twin) = lived(name), lived(name)
    assert same(a.state(), b.state())
    for left, right in zip(served(a, shop, 2), served(b, twin, 2), strict=True):
        assert left.slates.tobytes() == right.slates.tobytes()


def draw_on(agent: Agent) -> None:
    """Draws as serving does, from the agent's generator and those of the agents it holds."""
    agent.rng.random(100)
    for held in (getattr(agent, "agent", None), *getattr(agent, "members", [])):
        if held is not None:
            draw_on(held)


@every_agent
def test_reseeded_its_training_draws_the_same_whatever_was_served(name: str) -> None:
    (one, shop), (other, _) = lived(name), lived(name)
    draw_on(other)
    pages = shop.uniform_log(80, batch=40)
    for agent in (one, other):
        agent.reseed(9)
        agent.fit(pages, "warm")
    assert same(one.state(), other.state())


@every_agent
def test_saved_and_loaded_it_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    first, shop = lived(name)
    first.save(tmp_path / "agent.safetensors")
    second = begun(name, seed=7)
    second.load(tmp_path / "agent.safetensors")
    assert same(first.state(), second.state())
    for _ in range(3):
        (part,) = served(first, shop, 1)
        other = second.act(part.observations, part.keys)
        assert part.slates.tobytes() == other.slates.tobytes()
        assert part.slot_propensity.tobytes() == other.slot_propensity.tobytes()
        second.update(in_log_order(replace(part, extras=other.extras)))
        log = shop.uniform_log(40, batch=40)
        first.fit(log, "warm")
        second.fit(log, "warm")
    assert same(first.state(), second.state())


@every_agent
def test_learning_from_the_log_is_learning_online(name: str, tmp_path: Path) -> None:
    """The same pages in the same order, once handed over as they were served and once read from the event log. The
    agent acts again on each of them, as it may draw, and gets its extras back from that."""
    online, shop = begun(name), toy_shop(**SIZES)
    parts = served(online, shop, 24)
    log = FeedbackLog(tmp_path / "log", shop.spaces)
    for part in parts:
        log.append(replace(part, extras={}))
        log.close(int(part.keys.tick[0]))
    log.commit(0)
    offline = begun(name)
    for tick, part in enumerate(parts):
        extras = offline.act(part.observations, part.keys).extras
        extras = in_log_order(replace(part, extras=extras)).extras
        offline.update(replace(log.between(tick, tick), extras=extras))
    assert same(online.state(), offline.state())


@every_agent
def test_what_the_log_stores_of_its_decisions_is_all_that_an_update_needs(name: str, tmp_path: Path) -> None:
    """An agent as it was before a day, given that day's pages out of the log, becomes the one that served the day."""
    live, shop = begun(name), toy_shop(**SIZES)
    live.fit(shop.uniform_log(80, batch=40), "cold")
    before = {part: array.copy() for part, array in live.state().items()}
    shop.tick = 48
    log, parts = FeedbackLog(tmp_path / "log", shop.spaces, stored=live.stored), []
    for tick in range(48, 52):
        observations, keys = shop.observe(40)
        parts.append(shop.respond(observations, keys, live.act(observations, keys)))
        log.append(parts[-1])
        log.close(tick)
    log.commit(2)
    rebuilt = begun(name)
    rebuilt.restore(before)
    pages = log.with_extras(log.read(2, 2))
    assert set(pages.extras) == set(live.stored)
    rebuilt.recollect(pages)
    assert draws_apart(rebuilt.state(), live.state())
    for agent, learned in ((live, Feedback.concatenate([in_log_order(part) for part in parts])), (rebuilt, pages)):
        agent.reseed(9)
        agent.update(learned)
    assert same(rebuilt.state(), live.state())


def draws_apart(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    """Equal but for the positions of generators, which a training sets anew."""
    positions = ("rng", "generator")
    kept = [{n: array for n, array in s.items() if n.rpartition("/")[2].split(".")[0] not in positions} for s in (a, b)]
    return same(*kept)


def spoiled(log: Feedback, what: str) -> Feedback:
    """A copy of `log` with one fault."""
    log = log.take(np.arange(len(log)))
    if what == "NaN in an observation":
        log.observations["user"][3, 0] = np.nan
    elif what == "NaN in the calendar":
        log.observations["calendar"][3, 0] = np.nan
    elif what == "NaN in the reward":
        log.reward[3] = np.nan
    elif what == "an item nobody sells":
        log.slate_items[3, 0] = 10**6
    elif what == "a candidate nobody sells":
        log.observations["candidates"][3, 0] = -5
    elif what == "a visitor nobody knows":
        log.keys.user_id[3] = -1
    else:
        log.keys.visit[3], log.keys.page[3] = log.keys.visit[1], log.keys.page[1]
    return log


FAULTS = {
    "NaN in an observation": r"observations\['user'\]' must hold finite numbers only. Got NaN or infinity on 1 of 60",
    "NaN in the calendar": r"observations\['calendar'\]' must hold finite numbers only",
    "NaN in the reward": "reward' must hold finite numbers only",
    "an item nobody sells": r"slate_items' must hold ids in \[0, 60\). Got ids outside on 1 of 60",
    "a candidate nobody sells": r"observations\['candidates'\]' must hold ids in \[0, 60\)",
    "a visitor nobody knows": r"keys.user_id' must hold ids in \[0, 80\)",
    "a page twice": "keys' must hold each page of a visit once. Got a page again on 1 of 60 pages, first on page 3",
}


@every_agent
def test_bad_feedback_is_refused_with_a_count_and_teaches_nothing(name: str) -> None:
    agent, shop = lived(name)
    before = agent.state()
    log = shop.uniform_log(60, batch=60)
    for fault, message in FAULTS.items():
        bad = spoiled(log, fault)
        learners: tuple[Callable[[], Any], ...] = (lambda: agent.fit(bad, "cold"), lambda: agent.update(bad))  # noqa: B023
        for learn in learners:
            with pytest.raises(ValueError, match=message):
                learn()
    assert same(before, agent.state())
    assert finite(agent.state())


@every_agent
def test_an_unknown_start_is_refused(name: str) -> None:
    agent, shop = begun(name), toy_shop(**SIZES)
    with pytest.raises(ValueError, match="'start' must be one of 'warm', 'cold'. Got 'hot'"):
        agent.fit(shop.uniform_log(60, batch=60), "hot")


@every_agent
def test_a_tampered_or_foreign_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    agent, _ = lived(name)
    before = agent.state()
    path, bad = tmp_path / "agent.safetensors", tmp_path / "bad.safetensors"
    agent.save(path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-1] ^= 1
    other = begun("random" if name != "random" else "popular")
    other.save(tmp_path / "other.safetensors")
    cases = [
        (content[: len(content) // 2], "must be a file that an agent's save\\(\\) wrote"),
        (b"\x80\x04K*.", "must be a file that an agent's save\\(\\) wrote"),
        ((tmp_path / "other.safetensors").read_bytes(), "'path' must hold an agent of the kind"),
    ]
    if before:
        cases.append((bytes(flipped), "whose content was changed afterwards"))
    for given, message in cases:
        bad.write_bytes(given)
        with pytest.raises(ValueError, match=message):
            agent.load(bad)
    assert same(before, agent.state())


def test_the_checks_see() -> None:
    """An agent that lies about its propensity, or repeats an item, does not pass."""

    class Liar(Agent):
        def act(self, observations, keys):
            slates = np.zeros((len(keys), self.spaces.slate_size), np.int32)
            return Decision(slates, np.ones(slates.shape))

    shop = toy_shop(**SIZES)
    liar = Liar()
    liar.begin(shop.items, shop.spaces, 0)
    with pytest.raises(AssertionError):
        check_decision(liar, shop)
