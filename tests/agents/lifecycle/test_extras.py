"""What an agent notes while serving is kept beside the pages, bit for bit, and only where it asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.feedback import FeedbackLog
from tests.agents.lifecycle.hand import SPACES, assert_equal, wave

STORED = ("memory", "masks", "step", "value")


def noted(tick: int, visits: list[int], page: int = 0) -> Feedback:
    """Pages whose agent noted numbers and arrays of all kinds, and something that nobody stores."""
    rng, n = np.random.default_rng([tick, page]), len(visits)
    value = rng.normal(size=(n, 2)).astype(np.float32)
    value[0] = -0.0, np.nan
    extras: dict[str, NDArray[Any]] = {
        "value": value,
        "step": np.arange(n) + 2**40,
        "masks": rng.random((n, 3)) < 0.5,
        "memory": rng.normal(size=(n, 2, 1, 3)),
        "predicted_clicks": rng.random((n, 2)),
    }
    return wave(tick, visits, page, extras=extras)


def lived(path: Path, days: Iterable[int], stored: tuple[str, ...] = STORED) -> FeedbackLog:
    log = FeedbackLog(path, SPACES, stored=stored)
    for day in days:
        for hour in (3, 5):
            log.append(noted(24 * day + hour, [100 * day + 9, 100 * day + 2, 100 * day + 5], hour))
        log.close(24 * day + 23)
        log.commit(day)
    return log


def in_order(*parts: Feedback) -> Feedback:
    pages = Feedback.concatenate(list(parts))
    return pages.take(np.lexsort((pages.keys.page, pages.keys.visit, pages.keys.tick)))


def test_the_stored_extras_come_back_bit_for_bit(tmp_path: Path) -> None:
    log = lived(tmp_path, range(3))
    served = in_order(*(noted(24 * d + h, [100 * d + 9, 100 * d + 2, 100 * d + 5], h) for d in (1, 2) for h in (3, 5)))
    for reader in (log, FeedbackLog(tmp_path, SPACES), log.fork(tmp_path / "fork")):
        read = reader.with_extras(reader.read(1, 2))
        assert_equal(read, served)
        assert set(read.extras) == set(STORED)
        for name in STORED:
            there, back = served.extras[name], read.extras[name]
            assert (back.dtype, back.shape, back.tobytes()) == (there.dtype, there.shape, there.tobytes()), name
    some = log.read(0, 2).take(np.array([7, 1, 12]))
    assert log.with_extras(some).extras["step"].tolist() == [2**40 + 2, 2**40 + 2, 2**40 + 1]
    assert log.read(1, 2).extras == {}  # what a fit is given stays as it was


def test_a_log_that_stores_none_has_no_such_table_and_the_same_bits(tmp_path: Path) -> None:
    plain, storing = lived(tmp_path / "plain", range(2), ()), lived(tmp_path / "storing", range(2))
    assert not (tmp_path / "plain" / "extras").exists()
    assert plain.with_extras(plain.read(0, 1)).extras == {}
    assert (tmp_path / "plain" / "days.jsonl").read_bytes() == (tmp_path / "storing" / "days.jsonl").read_bytes()
    assert plain.data_version(0, 1) == storing.data_version(0, 1)
    for table in ("pages", "impressions", "conversions"):
        left, right = (pl.read_delta(str(tmp_path / name / table)) for name in ("plain", "storing"))
        assert left.equals(right, null_equal=True)


def test_pages_on_which_nobody_noted_anything_take_nothing_from_the_others(tmp_path: Path) -> None:
    """As late ones do that were served before the agent that serves now was deployed."""
    log = FeedbackLog(tmp_path, SPACES, stored=("step", "memory"))
    log.append(wave(3, [1, 2], extras={}))
    log.close(3)
    assert log.since(0).extras == {}
    log.commit(0)
    log.append(wave(5, [3], extras={}))  # late
    log.append(noted(30, [7]))
    log.append(wave(31, [9, 4], extras={}))
    log.close(31)
    log.append(wave(6, [8], extras={}))  # late, and alone in its hour
    log.close(32)
    fresh, own = log.since(24), noted(30, [7]).extras
    assert fresh.keys.visit.tolist() == [3, 8, 7, 4, 9]
    assert fresh.extras["step"].tolist() == [0, 0, *own["step"].tolist(), 0, 0]
    np.testing.assert_array_equal(fresh.extras["memory"][2], own["memory"][0])
    assert not fresh.extras["memory"][[0, 1, 3, 4]].any()
    assert log.since(32).extras == {}
    log.commit(1)
    for name in ("step", "memory"):
        np.testing.assert_array_equal(log.since(24, as_of=32).extras[name], fresh.extras[name])
        np.testing.assert_array_equal(log.with_extras(log.between(3, 31)).extras[name][4], fresh.extras[name][2])
    assert log.since(32, as_of=32).extras == {}
    assert log.with_extras(log.between(3, 3)).extras == {}


def test_extras_that_cannot_be_stored_are_refused_at_once(tmp_path: Path) -> None:
    log, pages = FeedbackLog(tmp_path, SPACES, stored=("step", "value")), noted(3, [1, 2])
    with pytest.raises(ValueError, match="'feedback.extras' must hold step, value, or none of them. Got step only"):
        log.append(replace(pages, extras={"step": pages.extras["step"]}))
    for bad in (np.zeros(2, complex), np.zeros(2, np.uint8), np.zeros(3), np.zeros((2, 0)), np.array(["a", "b"])):
        with pytest.raises(ValueError, match=r"'feedback.extras\['step'\]' must be one of bool, int8, .* Nothing was"):
            log.append(replace(pages, extras=pages.extras | {"step": bad}))
    log.append(pages)
    assert len(log.close(3)) == 2


def test_a_day_that_was_never_finished_leaves_no_notes(tmp_path: Path) -> None:
    log = lived(tmp_path, range(3))
    log.return_to(0)
    assert set(pl.read_delta(str(tmp_path / "extras"))["day"]) == {0}
    lived(tmp_path, [1, 27, 28])  # the last one begins a block, and merges the one before
    again = FeedbackLog(tmp_path, SPACES)
    assert again.with_extras(again.read(0, 28)).extras["value"].shape == (24, 2)
