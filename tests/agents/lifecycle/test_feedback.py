import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.tables import content_hash
from tests.agents.lifecycle.hand import SPACES, assert_equal, wave


def live(log: FeedbackLog, first_day: int, last_day: int, seed: int = 0) -> None:
    """Days with pages in hours 3 and 20, two waves each, and none on every third day."""
    for day in range(first_day, last_day + 1):
        for hour in (3, 20):
            tick = day * 24 + hour
            if day % 3 != 2:
                first = tick * 10
                log.append(wave(tick, [first + 5, first, first + 2], seed=seed))
                log.append(wave(tick, [first + 5, first], page=1, seed=seed))
            log.close(tick)
        log.commit(day)


def test_pages_come_back_equal_from_memory_and_from_disk(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 5)
    again = FeedbackLog(tmp_path / "log", SPACES, recent_days=2)
    assert log.read(0, 5).reward.shape == (4 * 2 * 5,)
    assert_equal(log.read(0, 5), again.read(0, 5))
    assert_equal(log.read(1, 4), again.read(1, 4))
    assert_equal(again.read(1, 4), again.read(1, 4))  # the second time partly from memory
    assert log.data_version(0, 5) == again.data_version(0, 5)


def test_pages_are_ordered_by_tick_visit_page_whatever_the_wave(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 1)
    keys = log.read(0, 1).keys
    order = np.lexsort((keys.page, keys.visit, keys.tick))
    assert (order == np.arange(len(keys))).all()


def test_memory_stays_within_the_stated_bound(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES, recent_days=2)
    live(log, 0, 9)
    log.read(0, 9)
    assert sorted(log._recent) == [8, 9]
    assert all(day > 7 for day in log._seen.days)


def test_an_open_day_can_be_read_before_its_commit(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 0)
    log.append(wave(24, [900]))
    log.close(24)
    log.append(wave(25, [901, 902]))
    log.close(25)
    assert log.read(0, 1).keys.visit[-3:].tolist() == [900, 901, 902]
    assert log.between(25, 25).keys.visit.tolist() == [901, 902]
    before = log.data_version(1, 1)
    log.commit(1)
    assert log.data_version(1, 1) == before


def test_extras_go_with_fresh_pages_only(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    log.append(wave(5, [1, 2]))
    log.append(wave(5, [1, 2], page=1))
    pages = log.close(5)
    assert pages.extras["log_prob"].shape == (4,)
    assert set(log.tick().extras) == set(log.since(5).extras) == {"log_prob"}
    assert log.read(0, 0).extras == {}
    log.close(6)
    assert len(log.tick()) == 0
    assert len(log.since(5)) == 4


def broken(tick: int) -> dict[str, Feedback]:
    """Reason -> a wave of three pages, the second of which is refused for it."""
    good = wave(tick, [10, 11, 12])

    def second(array, value):
        changed = array.copy()
        changed[1] = value
        return changed

    seen = good.observations
    return {
        "user not finite": replace(good, observations=seen | {"user": second(seen["user"], np.nan)}),
        "candidates out of range": replace(good, observations=seen | {"candidates": second(seen["candidates"], 30)}),
        "history out of range": replace(good, observations=seen | {"history": second(seen["history"], -2)}),
        "slate slot out of range": replace(good, slates=second(good.slates, 6)),
        "slate_items differ from the candidates": replace(good, slate_items=second(good.slate_items, 31)),
        "reward not finite": replace(good, reward=second(good.reward, np.inf)),
        "slot_propensity outside (0, 1]": replace(good, slot_propensity=second(good.slot_propensity, 1.5)),
        "user_id out of range": replace(good, keys=replace(good.keys, user_id=second(good.keys.user_id, 12))),
        "tick is not an hour being closed": replace(good, keys=replace(good.keys, tick=second(good.keys.tick, 99))),
        "visit or page number out of range": replace(good, keys=replace(good.keys, visit=second(good.keys.visit, -1))),
    }


@pytest.mark.parametrize("reason", list(broken(0)))
def test_a_bad_row_is_quarantined_with_its_reason_and_the_others_enter(tmp_path, reason):
    log = FeedbackLog(tmp_path / "log", SPACES)
    log.append(broken(7)[reason])
    assert log.close(7).keys.visit.tolist() == [10, 12]
    log.commit(0)
    kept_out = pl.read_delta(str(tmp_path / "log" / "quarantine"))
    assert kept_out["reason"].to_list() == [reason]
    assert kept_out["received"].to_list() == [7]
    assert log.counts == {"pages": 2, "quarantined": 1, "duplicates": 0}
    assert FeedbackLog(tmp_path / "log", SPACES).read(0, 0).keys.visit.tolist() == [10, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.zeros(2, np.float64)}, r"reward must be float32 of shape \(2,\). Got float64"),
        (
            {"slates": np.zeros((2, 3), np.int32)},
            r"slates must be int32 of shape \(2, 2\). Got int32 of shape \(2, 3\)",
        ),
        ({"observations": {}}, "Missing: calendar, candidates"),
    ],
)
def test_a_wave_of_the_wrong_form_is_refused_with_nothing_logged(tmp_path, change, message):
    log = FeedbackLog(tmp_path / "log", SPACES)
    with pytest.raises(ValueError, match=message):
        log.append(replace(wave(0, [1, 2]), **change))
    assert len(log.close(0)) == 0


def test_duplicates_are_dropped_and_counted(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    first = wave(0, [1, 2])
    log.append(first)
    log.append(wave(0, [2, 3], seed=9))
    pages = log.close(0)
    assert pages.keys.visit.tolist() == [1, 2, 3]
    assert pages.reward[1] == first.reward[1]  # the one that came first stays
    log.append(wave(1, [3, 4]))
    assert log.close(1).keys.visit.tolist() == [4]
    log.commit(0)
    again = FeedbackLog(tmp_path / "log", SPACES)
    again.append(wave(24, [4, 5]))
    assert again.close(24).keys.visit.tolist() == [5]
    again.commit(1)
    assert again.counts == {"pages": 5, "quarantined": 0, "duplicates": 3}


def test_a_reopened_log_goes_on_where_it_was(tmp_path):
    straight = FeedbackLog(tmp_path / "a", SPACES)
    live(straight, 0, 4)
    live(FeedbackLog(tmp_path / "b", SPACES), 0, 2)
    live(FeedbackLog(tmp_path / "b", SPACES), 3, 4)
    assert_equal(straight.read(0, 4), FeedbackLog(tmp_path / "b", SPACES).read(0, 4))
    assert straight.data_version(0, 4) == FeedbackLog(tmp_path / "b", SPACES).data_version(0, 4)


def test_what_was_not_committed_in_full_is_forgotten(tmp_path):
    path = tmp_path / "log"
    live(FeedbackLog(path, SPACES), 0, 1)
    days = path / "days.jsonl"
    first, second = days.read_text().splitlines()
    days.write_text(f"{first}\n{second[:20]}")  # killed while the last line was written
    log = FeedbackLog(path, SPACES)
    assert log.last_day == 0
    assert len(log.read(0, 1)) == 10
    assert pl.read_delta(str(path / "impressions"))["day"].unique().to_list() == [0]
    live(log, 1, 1)
    assert len(FeedbackLog(path, SPACES).read(0, 1)) == 20


def test_data_version_names_the_content(tmp_path):
    logs = [FeedbackLog(tmp_path / name, SPACES) for name in "abc"]
    for log, seed in zip(logs, (0, 0, 1), strict=True):
        live(log, 0, 1, seed)
    a, b, c = (log.data_version(0, 1) for log in logs)
    assert a == b != c
    assert logs[0].data_version(0, 0) != logs[0].data_version(1, 1)
    assert logs[0].version_of(logs[0].read(0, 1)) == a
    stored = json.loads((tmp_path / "a" / "days.jsonl").read_text().splitlines()[0])["hours"]
    on_disk = FeedbackLog(tmp_path / "a", SPACES).between(20, 20)
    assert content_hash(on_disk) == stored["20"]


def test_a_fork_shares_the_past_and_nothing_else(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 1)
    fork = log.fork(tmp_path / "fork")
    live(fork, 2, 3)
    live(log, 2, 3, seed=5)
    assert_equal(log.read(0, 1), FeedbackLog(tmp_path / "fork", SPACES).read(0, 1))
    assert log.data_version(3, 3) != fork.data_version(3, 3)
    with pytest.raises(ValueError, match="'path' must be a new or empty folder"):
        log.fork(tmp_path / "fork")


def test_compaction_merges_files_and_changes_no_page(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 4)
    log.compact()
    live(log, 5, 6)
    again = FeedbackLog(tmp_path / "log", SPACES)
    assert_equal(log.read(0, 6), again.read(0, 6))
    assert len(DeltaTable(str(tmp_path / "log" / "pages")).file_uris()) == 2  # day 5 has no page


def test_the_tables_read_by_polars_and_arrow_as_they_are(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    live(log, 0, 1)
    pages = pl.read_delta(str(tmp_path / "log" / "pages"))
    impressions = pl.read_delta(str(tmp_path / "log" / "impressions"))
    conversions = pl.read_delta(str(tmp_path / "log" / "conversions"))
    read = log.read(0, 1)
    assert (len(pages), len(impressions), len(conversions)) == (20, 40, int(read.purchased.sum()))
    assert pages.schema["seen_candidates"] == pl.List(pl.Int32)
    assert set(pages["arm"]) == {"champion"}
    assert impressions.filter("clicked").height == int(read.clicked.sum())
    np.testing.assert_allclose(pages.sort("tick", "visit", "page")["reward"].to_numpy(), read.reward)
    assert DeltaTable(str(tmp_path / "log" / "pages")).version() == 1  # one commit a day


def test_hours_and_days_must_come_in_order(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    log.append(wave(23, [1]))
    log.close(23)
    with pytest.raises(ValueError, match="'tick' must follow hour 23"):
        log.close(23)
    with pytest.raises(ValueError, match=r"Call commit\(day\) at the end of each day"):
        log.close(24)
    with pytest.raises(ValueError, match="'day' must be the day of the closed hours"):
        log.commit(1)
    log.commit(0)
    with pytest.raises(ValueError, match="later than the last committed day 0"):
        log.commit(0)
    with pytest.raises(ValueError, match="'arm' must be one of champion, challenger. Got 'control'"):
        log.append(wave(24, [2]), arm="control")
