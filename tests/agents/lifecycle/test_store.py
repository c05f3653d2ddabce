"""The log's folder: damage is said in one sentence that names the file; what is whole stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.store import REOPENED, LogDamagedError
from tests.agents.lifecycle.hand import SPACES, assert_equal, wave


@pytest.fixture
def three_days(tmp_path: Path) -> Path:
    log = FeedbackLog(tmp_path, SPACES)
    for day in range(3):
        log.append(wave(day * 24, [3 * day, 3 * day + 1]))
        log.close(day * 24 + 23)
        log.commit(day)
    return tmp_path


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_torn_table_file_is_said(three_days: Path) -> None:
    torn(max((three_days / "pages").rglob("*.parquet"), key=lambda file: file.stat().st_mtime_ns))
    with pytest.raises(LogDamagedError, match=r"The log is damaged: .*pages.* holds \d+ bytes of \d+. Restore it"):
        FeedbackLog(three_days, SPACES)


def test_a_torn_transaction_is_said(three_days: Path) -> None:
    torn(max((three_days / "pages" / "_delta_log").glob("*.json")))
    with pytest.raises(LogDamagedError, match="pages cannot be read"):
        FeedbackLog(three_days, SPACES)


def test_a_damaged_list_of_days_is_said(three_days: Path) -> None:
    listing = three_days / "days.jsonl"
    listing.write_text(listing.read_text().replace('{"day": 1', '{"da"'))
    with pytest.raises(LogDamagedError, match=r"days.jsonl cannot be read"):
        FeedbackLog(three_days, SPACES)


def test_a_torn_last_line_is_a_day_that_was_not_committed(three_days: Path) -> None:
    before = FeedbackLog(three_days, SPACES).read(0, 1)
    listing = three_days / "days.jsonl"
    listing.write_text(listing.read_text()[:-20])
    log = FeedbackLog(three_days, SPACES)
    assert log.last_day == 1
    assert_equal(log.read(0, 5), before)
    assert len(listing.read_text().splitlines()) == 2


def test_a_log_returns_to_an_earlier_day(three_days: Path) -> None:
    log = FeedbackLog(three_days, SPACES)
    before = log.read(0, 0)
    log.return_to(0)
    assert_equal(FeedbackLog(three_days, SPACES).read(0, 9), before)
    assert log.counts["pages"] == 2
    with pytest.raises(LogDamagedError, match="ends with day 0, but day 2 was committed"):
        log.return_to(2)


def test_no_commit_follows_more_than_a_week_of_others(tmp_path: Path) -> None:
    """What a commit costs grows with those since the table's newest checkpoint, and with nothing else."""
    log = FeedbackLog(tmp_path, SPACES)
    for day in range(2 * REOPENED + 2):
        log.append(wave(day * 24, [day]))
        log.close(day * 24 + 23)
        log.commit(day)
        for table in ("pages", "impressions"):
            written = tmp_path / table / "_delta_log"
            newest = max((int(file.name[:20]) for file in written.glob("*.checkpoint.parquet")), default=-1)
            assert sum(int(file.stem) > newest for file in written.glob("*.json")) <= REOPENED
    assert FeedbackLog(tmp_path, SPACES).read(0, 99).keys.visit.tolist() == list(range(2 * REOPENED + 2))
