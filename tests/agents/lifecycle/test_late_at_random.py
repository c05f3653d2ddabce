"""The log against a plain list of everything that came: any order, any delay, at any step, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.conversions import CART, PURCHASE
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.windows import Past
from tests.agents.lifecycle.hand import SPACES, assert_equal
from tests.agents.lifecycle.test_late import plain, told

DAYS = 6
Told = tuple[int, int, int, int, int, int, float]


@dataclass
class Everything:
    """All that came, in the order in which the log has to take it: (day it came, what)."""

    pages: list[tuple[int, int, int]] = field(default_factory=list)  # day, tick, visit
    conversions: list[tuple[int, Told]] = field(default_factory=list)

    def as_of(self, day: int) -> list[tuple[int, int, tuple[bool, ...], tuple[bool, ...], float]]:
        """(tick, visit, carted, purchased, reward) of every page known by the end of `day`, in order."""
        known = {visit: tick for came, tick, visit in self.pages if came <= day}
        flags = {visit: np.zeros((2, SPACES.slate_size), bool) for visit in known}
        reward = {visit: np.float32(2.0) for visit in known}
        heard = sorted({row[:5]: row for came, row in reversed(self.conversions) if came <= day}.values())
        for _, visit, _, slot, kind, _, value in heard:
            if visit in known and not flags[visit][kind, slot]:
                flags[visit][kind, slot] = True
                reward[visit] += np.float32(value)
        return [
            (tick, visit, tuple(flags[visit][CART]), tuple(flags[visit][PURCHASE]), float(reward[visit]))
            for visit, tick in sorted(known.items(), key=lambda pair: (pair[1], pair[0]))
        ]


def rows(pages: Feedback) -> list[tuple[int, int, tuple[bool, ...], tuple[bool, ...], float]]:
    flags = (map(tuple, table.tolist()) for table in (pages.carted, pages.purchased))
    return list(zip(pages.keys.tick.tolist(), pages.keys.visit.tolist(), *flags, pages.reward.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_log_knows_what_came_and_when(tmp_path: Path, seed: int) -> None:
    rng, everything = np.random.default_rng(seed), Everything()
    step, memory = int(rng.choice([1, 6, 24])), int(rng.choice([DAYS, 40]))
    pages, conversions = made(rng)
    log, names, evenings = FeedbackLog(tmp_path / "log", SPACES, memory), [], []
    closed: dict[int, tuple[Feedback, str, Feedback, str]] = {}
    for last in range(step - 1, 24 * DAYS, step):
        day = last // 24
        for tick, visit in [page[1:] for page in pages if last - step < page[0] <= last]:
            log.append(plain(tick, [visit]))
            everything.pages.append((day, tick, visit))
        heard = [row for row in conversions if last - step < row[0] <= last]
        if heard:
            log.convert(told(*heard))
            everything.conversions += [(day, row) for row in heard]
        log.close(last)
        known, new = log.between(0, last), log.since(last // 24 * 24 + last % 24 // 12 * 12)
        closed[last] = known, log.version_of(known), new, log.version_of(new)
        if last % 24 == 23:
            evenings.append(log.read(0, day))
            names.append(log.data_version(0, day))
            log.commit(day)
            assert_equal(evenings[-1], log.read(0, day))
            if rng.random() < 0.3:
                log = FeedbackLog(tmp_path / "log", SPACES, memory)
    for reader in (log, FeedbackLog(tmp_path / "log", SPACES, memory), FeedbackLog(tmp_path / "log", SPACES, 1)):
        for day in range(DAYS):
            then = reader.read(0, day, as_of=day)
            assert rows(then) == everything.as_of(day) == rows(evenings[day])
            assert_equal(then, evenings[day])
            assert reader.data_version(0, day, as_of=day) == names[day]
        assert rows(reader.read(0, DAYS - 1)) == everything.as_of(DAYS - 1)
        for last in rng.choice(list(closed), min(len(closed), 16), replace=False).tolist():  # what was seen in mid-day
            known, name, new, new_name = closed[last]
            past = Past(reader, last)
            assert_equal(past.between(0, last), known)
            assert reader.version_of(known, as_of=last) == name
            again = past.since(last // 24 * 24 + last % 24 // 12 * 12)
            assert_equal(again, new)
            assert reader.version_of(again, as_of=last) == new_name
    assert log.counts["pages"] == len(everything.as_of(DAYS - 1))
    assert log.counts["quarantined"] == 0


def made(rng: np.random.Generator) -> tuple[list[tuple[int, int, int]], list[Told]]:
    """Pages (hour they come, tick, visit), some twice; conversions, some twice, some of pages that come later or never.

    Something happens on every day, so that no day is missing from the log.
    """
    pages, conversions = [], []
    for visit in range(60):
        tick = visit % DAYS * 24 + int(rng.integers(24))
        came = tick + int(rng.choice([0, 0, rng.integers(24), rng.integers(24 * DAYS)]))
        pages += [(came, tick, visit)] * int(rng.random() < 0.9)
        pages += [(came + int(rng.integers(30)), tick, visit)] * int(rng.random() < 0.2)
        for _ in range(rng.integers(4)):
            slot, kind, due = int(rng.integers(2)), int(rng.integers(2)), tick + int(rng.integers(24 * DAYS))
            conversions.append((due, visit, 0, slot, kind, tick, float(rng.choice([0.1, 0.7, 3.3]))))
    return sorted(pages), sorted(conversions)
