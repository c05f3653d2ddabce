"""What holds for every fault of conf/feedback: keyed by page, whatever the batch; outcomes of the world untouched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from perennial import conf
from perennial.envs.feedback import (
    ClickSpam,
    ComposedFaults,
    DelayedConversions,
    Duplication,
    Fault,
    LateArrival,
    Loss,
    NoFaults,
    Noise,
    Reports,
)
from perennial.envs.random_numbers import key_of
from perennial.envs.rewards import Reward
from perennial.experiments import configuration
from perennial.experiments.run import WORLD_GETS
from tests.envs.feedback.pages import NOISE, facts, happened, sent

NAMES = sorted(path.stem for path in (Path(next(iter(conf.__path__))) / "feedback").glob("*.yaml"))


def declared(name: str) -> Fault:
    node = configuration.compose("config", [f"feedback={name}"], WORLD_GETS).node
    fault: Fault = configuration.build(node["feedback"], "feedback")
    return fault


def part(reports: Reports, rows: np.ndarray) -> Reports:
    """The same about some of the pages only."""
    keys = {name: getattr(reports, name)[rows] for name in ("visit", "page", "tick")}
    names = ("clicked", "carted", "purchased", "not_interested")
    return Reports.of(keys, SimpleNamespace(**{name: getattr(reports, name)[rows] for name in names}))


@pytest.mark.parametrize("name", NAMES)
def test_what_befalls_a_page_does_not_depend_on_the_batch(name: str) -> None:
    fault, everything = declared(name), happened(3000)
    whole = facts(sent(fault, everything))
    rows = np.random.default_rng(1).permutation(3000)
    pieces = [facts(sent(fault, part(everything, chunk))) for chunk in (rows[:1], rows[1:8], rows[8:1500], rows[1500:])]
    assert whole == [sorted(fact for piece in pieces for fact in piece[n]) for n in (0, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_pages_suffer_whatever_was_shown_on_them(name: str) -> None:
    """Another policy: other clicks, other purchases. The same reports are lost, doubled and late."""
    fault = declared(name)
    fates = []
    for seed in (0, 1):
        one = sent(fault, happened(3000, seed))
        fates.append(sorted(zip(one.row.tolist(), one.copy.tolist(), one.due.tolist())))
    assert fates[0] == fates[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_another_seed_is_another_fate(name: str) -> None:
    pages = happened(3000)
    assert facts(sent(declared(name), pages)) != facts(sent(declared(name), pages, Noise(key_of(12))))


@pytest.mark.parametrize("name", NAMES)
def test_what_happened_stays_as_it_was(name: str) -> None:
    pages, before = happened(3000), facts(happened(3000))
    sent(declared(name), pages)
    assert facts(pages) == before


def test_without_faults_the_reports_are_those_that_were_sent() -> None:
    pages = happened(30)
    assert sent(NoFaults(), pages) is pages


def test_faults_follow_one_another() -> None:
    pages = happened(600)
    lost = sent(Loss(pages=0.5), pages)
    doubled = sent(ComposedFaults([Loss(pages=0.5), Duplication(pages=1.0)]), pages)
    assert np.bincount(doubled.row, minlength=600).tolist() == (2 * np.bincount(lost.row, minlength=600)).tolist()
    each = sent(ComposedFaults([Duplication(pages=1.0), Loss(pages=0.5)]), pages)
    counts = np.bincount(each.row, minlength=600)
    assert set(counts.tolist()) == {0, 1, 2}  # a copy has a fate of its own


def test_streams_are_apart() -> None:
    kinds = (Loss, Duplication, LateArrival, ClickSpam, DelayedConversions)
    assert len({kind.stream for kind in kinds}) == len(kinds)
    pages = happened(300)
    assert not np.array_equal(NOISE.of_pages(1, pages), NOISE.of_pages(2, pages))


def test_the_reward_of_a_report_is_that_of_its_outcomes() -> None:
    pages = happened(50)
    weights = Reward(click=1.0, cart=0.5, purchase=4.0, not_interested=0.25).weights()
    by_hand = [
        sum(1.0 * c + 0.5 * a + 4.0 * p - 0.25 * n for c, a, p, n in zip(*slots, strict=True))
        for slots in zip(pages.clicked, pages.carted, pages.purchased, pages.not_interested, strict=True)
    ]
    assert pages.reward(weights).tolist() == by_hand


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"each class once. Got Loss twice: merge them into one"):
        ComposedFaults([Loss(), Duplication(), Loss(0.1)])
    with pytest.raises(ValueError, match=r"Got none: use NoFaults"):
        ComposedFaults([])
    with pytest.raises(TypeError, match=r"'feedback.parts' must be a Fault. Got int"):
        ComposedFaults([3])  # type: ignore[list-item]
    for make in (Loss, Duplication, LateArrival, ClickSpam, DelayedConversions):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]. Got 1.5"):
            make(1.5)
