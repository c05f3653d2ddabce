"""What comes late: pages and conversions enter on the day they come, and the log reads as of any day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.conversions import CART, DTYPES, PURCHASE, RULES, Conversions
from perennial.agents.lifecycle.feedback import FeedbackLog
from tests.agents.lifecycle.hand import SPACES, assert_equal, wave


def told(*rows: tuple[int, int, int, int, int, int, float]) -> Conversions:
    """Conversions from rows (tick, visit, page, slot, kind, page_tick, value); of item 0."""
    columns = zip(*rows, strict=True)
    names = ("tick", "visit", "page", "slot", "kind", "page_tick", "value")
    given: dict[str, Any] = {name: np.array(c, DTYPES[name]) for name, c in zip(names, columns, strict=True)}
    return Conversions(**given, item=np.zeros(len(rows), np.int32))


def plain(tick: int, visits: list[int], page: int = 0) -> Feedback:
    """Pages with one click in each slot, no cart and no purchase."""
    shape = (len(visits), SPACES.slate_size)
    nothing, reward = np.zeros(shape, np.bool_), np.full(len(visits), 2.0, np.float32)
    return wave(
        tick, visits, page, clicked=~nothing, carted=nothing, purchased=nothing, not_interested=nothing, reward=reward
    )


def day_of(log: FeedbackLog, day: int, *pages: Feedback, conversions: Conversions | None = None) -> None:
    """A day whose pages and conversions all come before its end."""
    for part in pages:
        log.append(part)
    if conversions is not None:
        log.convert(conversions)
    log.close(day * 24 + 23)
    log.commit(day)


def three_days(path: Path) -> FeedbackLog:
    """Day 0: visits 1, 2; day 1: visit 3, and visit 9 of day 0 late; day 2: a cart, then a purchase of visit 1."""
    log = FeedbackLog(path, SPACES)
    day_of(log, 0, plain(3, [1, 2]))
    day_of(log, 1, plain(30, [3]), plain(5, [9]))
    day_of(log, 2, conversions=told((50, 1, 0, 1, CART, 3, 0.5), (60, 1, 0, 1, PURCHASE, 3, 2.0)))
    return log


def test_the_log_reads_as_of_any_day(tmp_path: Path) -> None:
    log = three_days(tmp_path / "log")
    assert log.read(0, 0, as_of=0).keys.visit.tolist() == [1, 2]
    assert log.read(0, 0, as_of=1).keys.visit.tolist() == [1, 2, 9]
    before, after = log.read(0, 1, as_of=1), log.read(0, 1)
    assert not before.carted.any()
    assert not before.purchased.any()
    assert before.reward.tolist() == [2.0, 2.0, 2.0, 2.0]
    assert np.argwhere(after.carted).tolist() == np.argwhere(after.purchased).tolist() == [[0, 1]]
    assert after.reward.tolist() == [4.5, 2.0, 2.0, 2.0]
    assert_equal(after, log.read(0, 1, as_of=2))
    assert_equal(after, FeedbackLog(tmp_path / "log", SPACES).read(0, 1))  # from memory as from disk
    assert log.late_counts == {"late_pages": 1, "conversions": 2}
    with pytest.raises(ValueError, match="'as_of' must not be after the last committed day 2. Got hour 95, of day 3"):
        log.read(0, 1, as_of=3)


def test_what_a_training_sees_in_the_evening_is_what_the_log_says_of_that_day_for_ever(tmp_path: Path) -> None:
    """Before the commit, after it, and as of that day when more has come."""
    log, seen, names = FeedbackLog(tmp_path / "log", SPACES), [], []
    log.append(plain(3, [1, 2]))
    log.close(3)
    log.convert(told((20, 2, 0, 0, PURCHASE, 3, 1.25)))
    log.close(23)
    seen.append(log.read(0, 0))
    names.append(log.version_of(seen[0]))
    log.commit(0)
    assert_equal(seen[0], log.read(0, 0))
    log.append(plain(4, [7]))  # a day late
    log.append(plain(30, [3]))
    log.convert(told((25, 1, 0, 0, CART, 3, 0.1), (26, 7, 0, 0, PURCHASE, 4, 0.7), (31, 3, 0, 1, CART, 30, 0.3)))
    log.close(47)
    seen.append(log.read(0, 1))
    names.append(log.version_of(seen[1]))
    log.commit(1)
    day_of(log, 2, plain(31, [8]), conversions=told((50, 1, 0, 0, PURCHASE, 3, 0.2)))
    assert seen[1].keys.visit.tolist() == [1, 2, 7, 3]
    assert seen[1].reward.tolist() == pytest.approx([2.1, 3.25, 2.7, 2.3])
    assert len(set(names)) == 2
    for reader in (log, FeedbackLog(tmp_path / "log", SPACES), log.fork(tmp_path / "fork")):
        for day in (0, 1):
            assert_equal(seen[day], reader.read(0, day, as_of=day))
            assert reader.data_version(0, day, as_of=day) == names[day]
        assert reader.data_version(0, 1) != names[1]


def test_a_page_late_within_its_day_is_as_if_it_were_on_time(tmp_path: Path) -> None:
    late, prompt = FeedbackLog(tmp_path / "late", SPACES), FeedbackLog(tmp_path / "prompt", SPACES)
    late.append(plain(1, [1]))
    late.close(1)
    late.append(plain(2, [2]))
    late.append(plain(1, [4]))
    late.append(plain(0, [5]))
    assert late.close(2).keys.visit.tolist() == [5, 4, 2]
    assert late.since(2).keys.visit.tolist() == [5, 4, 2]
    assert late.since(0).keys.visit.tolist() == [5, 1, 4, 2]
    assert set(late.since(2).extras) == {"log_prob"}
    late.commit(0)
    day_of(prompt, 0, plain(1, [1]), plain(2, [2]), plain(1, [4]), plain(0, [5]))
    assert_equal(late.read(0, 0), prompt.read(0, 0))
    assert late.data_version(0, 0) == prompt.data_version(0, 0)
    assert (late.late_counts["late_pages"], prompt.late_counts["late_pages"]) == (2, 0)


def test_an_update_gets_late_pages_once_with_their_extras(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES)
    day_of(log, 0, plain(3, [1]))
    log.append(plain(24, [2]))
    log.close(24)
    assert log.since(24).keys.visit.tolist() == [2]
    log.append(plain(3, [9]))  # of the day before
    log.append(plain(25, [3]))
    log.close(25)
    fresh = log.since(25)
    assert fresh.keys.visit.tolist() == [9, 3]
    assert fresh.extras["log_prob"].shape == (2,)


def test_the_log_reads_as_of_any_hour_of_a_day(tmp_path: Path) -> None:
    """Hour by hour by hand: a late page of the day before, one of the same day, a conversion told in between."""
    log = FeedbackLog(tmp_path / "log", SPACES)
    day_of(log, 0, plain(3, [1]))
    for tick, parts, heard in (
        (24, [plain(24, [2])], told((24, 1, 0, 0, CART, 3, 0.5))),
        (26, [plain(3, [9]), plain(26, [3])], None),
        (27, [plain(24, [7])], told((27, 9, 0, 0, CART, 3, 0.25), (27, 3, 0, 1, CART, 26, 0.125))),
    ):
        for part in parts:
            log.append(part)
        if heard is not None:
            log.convert(heard)
        log.close(tick)
    log.commit(1)
    for reader in (log, FeedbackLog(tmp_path / "log", SPACES)):
        told_by = {hour: reader.between(0, 30, as_of=hour) for hour in range(22, 29)}
        assert [told_by[hour].keys.visit.tolist() for hour in (22, 23, 24, 25, 26, 27)] == [
            [1], [1], [1, 2], [1, 2], [1, 9, 2, 3], [1, 9, 2, 7, 3],
        ]  # fmt: skip
        assert told_by[23].reward.tolist() == [2.0]
        assert told_by[26].reward.tolist() == [2.5, 2.0, 2.0, 2.0]
        assert told_by[27].reward.tolist() == [2.5, 2.25, 2.0, 2.0, 2.125]
        assert_equal(told_by[28], reader.between(0, 30))
        assert [reader.since(25, as_of=hour).keys.visit.tolist() for hour in (25, 26, 27)] == [
            [], [9, 3], [9, 7, 3],
        ]  # fmt: skip
        assert reader.since(25, as_of=26).reward.tolist() == [2.0, 2.0]
        assert reader.since(25, as_of=27).reward.tolist() == [2.25, 2.0, 2.125]
        assert reader.between(24, 26, as_of=23).keys.visit.tolist() == []
    received = pl.read_delta(str(tmp_path / "log" / "pages")).sort("tick", "visit")
    assert received["received"].to_list() == [3, 26, 24, 27, 26]


def test_duplicates_are_dropped_however_late(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES)
    sold = told((50, 1, 0, 1, PURCHASE, 3, 2.0))
    day_of(log, 0, plain(3, [1]))
    day_of(log, 1, plain(3, [1]), plain(4, [2]), plain(4, [2]))
    day_of(log, 2, conversions=Conversions.concatenate([sold, sold]))
    log = FeedbackLog(tmp_path / "log", SPACES)
    day_of(log, 3, plain(4, [2]), conversions=replace(sold, tick=sold.tick + 24))
    assert log.counts == {"pages": 2, "quarantined": 0, "duplicates": 5}
    assert log.read(0, 0).reward.tolist() == [4.0, 2.0]
    assert pl.read_delta(str(tmp_path / "log" / "conversions")).height == 1


def test_a_purchase_that_came_with_its_page_does_not_count_again(tmp_path: Path) -> None:
    log, bought = FeedbackLog(tmp_path / "log", SPACES), np.array([[False, True]])
    day_of(log, 0, replace(plain(3, [1]), carted=bought, purchased=bought))
    day_of(log, 1, conversions=told((30, 1, 0, 1, PURCHASE, 3, 2.0), (30, 1, 0, 1, CART, 3, 0.5)))
    assert log.counts["duplicates"] == 1  # the log keeps purchases as rows, carts as flags
    for reader in (log, FeedbackLog(tmp_path / "log", SPACES)):
        assert reader.read(0, 0).reward.tolist() == [2.0]
        assert reader.read(0, 0).purchased.sum() == reader.read(0, 0).carted.sum() == 1


def test_a_conversion_may_come_before_its_page_or_without_it(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES)
    day_of(log, 0, plain(3, [1]))
    day_of(log, 1, conversions=told((30, 2, 0, 0, PURCHASE, 4, 1.0), (30, 77, 0, 0, PURCHASE, 4, 1.0)))
    log.append(plain(4, [2]))
    log.close(2 * 24 + 23)
    evening = log.read(0, 0)
    log.commit(2)
    assert_equal(evening, log.read(0, 0))
    assert log.read(0, 0).keys.visit.tolist() == [1, 2]
    assert log.read(0, 0).purchased[:, 0].tolist() == [False, True]
    assert log.read(0, 0).reward.tolist() == [2.0, 3.0]


def test_pages_too_late_are_quarantined(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES, recent_days=2)
    day_of(log, 5, plain(122, [1]))
    day_of(log, 6, plain(119, [2]))  # of a day before the log began
    day_of(log, 7, plain(123, [3]))
    day_of(log, 8, plain(124, [4]))  # three days late
    assert log.read(0, 8).keys.visit.tolist() == [1, 3]
    kept_out = pl.read_delta(str(tmp_path / "log" / "quarantine")).sort("visit")
    assert kept_out["reason"].to_list() == ["too late", "too late"]
    assert kept_out["received"].to_list() == [6 * 24 + 23, 8 * 24 + 23]


GOOD = (30, 1, 0, 1, PURCHASE, 3, 2.0)
BROKEN = {
    "visit or page number out of range": {"visit": -1},
    "tick is not an hour being closed": {"tick": 48},
    "converted before its page was served": {"page_tick": 31},
    "slot out of range": {"slot": 2},
    "item out of range": {"item": 30},
    "unknown kind": {"kind": 2},
    "value not finite": {"value": np.nan},
}


def test_every_rule_has_a_case() -> None:
    assert list(BROKEN) == list(RULES)


@pytest.mark.parametrize("reason", BROKEN)
def test_a_bad_conversion_is_set_aside_with_its_reason(tmp_path: Path, reason: str) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES)
    day_of(log, 0, plain(3, [1, 2]))
    ((name, value),) = BROKEN[reason].items()
    bad = replace(told(GOOD), **{name: np.array([value], DTYPES[name])})
    day_of(log, 1, conversions=Conversions.concatenate([bad, told((29, 2, 0, 1, CART, 3, 1.0))]))
    assert log.read(0, 0).carted.sum() == 1
    assert not log.read(0, 0).purchased.any()
    aside = pl.read_delta(str(tmp_path / "log" / "refused_conversions"))
    assert aside["reason"].to_list() == [reason]
    assert aside[name].to_list() == pytest.approx([value], nan_ok=True)
    assert log.counts["quarantined"] == 1


def test_conversions_of_the_wrong_form_are_refused_with_nothing_logged(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "log", SPACES)
    with pytest.raises(ValueError, match=r"value must be float32 of shape \(1,\). Got float64 of shape \(1,\)"):
        log.convert(replace(told(GOOD), value=np.zeros(1)))
    log.close(23)
    assert len(log.converted()) == 0


def test_what_was_told_on_a_day_that_was_never_committed_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "log"
    three_days(path)
    days = path / "days.jsonl"
    days.write_text("".join(days.read_text().splitlines(keepends=True)[:2]))
    log = FeedbackLog(path, SPACES)
    assert log.read(0, 1).reward.tolist() == [2.0, 2.0, 2.0, 2.0]
    day_of(log, 2, conversions=told((50, 1, 0, 1, CART, 3, 0.5)))
    assert log.read(0, 0).reward.tolist() == [2.5, 2.0, 2.0]
