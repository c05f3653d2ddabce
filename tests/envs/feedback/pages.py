"""Hand-made pages and what happened on them, for the tests of faults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from perennial.envs.feedback import Fault, Noise, Reports
from perennial.envs.random_numbers import key_of

SLOTS = 4
NOISE = Noise(key_of(11))


def happened(pages: int, seed: int = 0, bought: float = 0.3) -> Reports:
    """Pages 0, 1 and 2 of visits 0, 1, 2, ..., a visit an hour; every click leads to a cart, some of them further."""
    rng = np.random.default_rng(seed)
    number = np.arange(pages)
    keys = {"visit": number // 3, "page": number % 3, "tick": 100 + number // 3}
    clicked = rng.random((pages, SLOTS)) < 0.4
    answer = SimpleNamespace(
        clicked=clicked,
        carted=clicked,
        purchased=clicked & (rng.random(clicked.shape) < bought),
        not_interested=~clicked & (rng.random(clicked.shape) < 0.2),
    )
    return Reports.of(keys, answer)


def sent(fault: Fault, reports: Reports, noise: Noise = NOISE) -> Reports:
    return fault.apply(reports, noise)


def facts(reports: Reports) -> list[Any]:
    """Everything about the reports in plain numbers, sorted, so that two ways to the same can be compared."""
    visit, page = reports.visit[reports.row], reports.page[reports.row]
    flags = [getattr(reports, name) for name in ("clicked", "carted", "purchased", "not_interested")]
    pages = zip(
        visit.tolist(), page.tolist(), reports.copy.tolist(), reports.due.tolist(), *(f.tolist() for f in flags)
    )
    told = reports.told
    where = reports.visit[told.row].tolist(), reports.page[told.row].tolist(), told.slot.tolist(), told.kind.tolist()
    return [sorted(pages), sorted(zip(*where, told.copy.tolist(), told.due.tolist()))]


def assert_share(hits: Any, expected: float) -> None:
    """The share of True in `hits` is within four standard errors of what was declared."""
    assert abs(np.mean(hits) - expected) < 4 * np.sqrt(expected * (1 - expected) / np.size(hits))
