"""The log reads by other tools as it is, and its data dictionary is true."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.labels import Labels
from tests.agents import yamls
from tests.agents.lifecycle.hand import SPACES, assert_equal, wave

DICTIONARY = Path(__file__).parents[3] / "docs" / "feedback_log.md"


def filled(folder: Path, days: list[int]) -> FeedbackLog:
    log = FeedbackLog(folder, SPACES, stored=("log_prob",))
    for day in days:
        log.append(wave(day * 24 + 3, range(10 * day, 10 * day + 10)))
        log.close(day * 24 + 23)
        log.label(judgements(day))
        log.commit(day)
    return log


def judgements(day: int) -> Labels:
    hour = np.full(2, day * 24 + 23)
    return Labels(wave(day * 24 + 3, [10 * day, 10 * day + 1]), hour, hour, np.zeros(2, np.int8), ("hand",) * 2)


@pytest.mark.parametrize("table", ["pages", "impressions", "conversions", "labels", "extras"])
def test_the_data_dictionary_lists_every_column_with_its_type(tmp_path: Path, table: str) -> None:
    filled(tmp_path, [0])
    section = DICTIONARY.read_text().split(f"### {table}:")[1].split("##")[0].split("| extra |")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w()]+) \|", section, re.MULTILINE))
    schema = pl.read_delta(str(tmp_path / table)).schema
    assert listed == {name: str(kind) for name, kind in schema.items() if name != "log_prob"}


@pytest.mark.parametrize("name", yamls.NAMES)
def test_the_data_dictionary_says_what_each_agent_stores(name: str) -> None:
    rows = [line.split("|") for line in DICTIONARY.read_text().split("| extra |")[1].splitlines()[2:] if "|" in line]
    listed, of = set(), ""
    for _, extras, agents, *_ in rows:
        of = of if agents.strip() == "the same" else agents.split(";")[0]  # after it, those of other settings
        if name in re.findall(r"\w+", of):
            listed |= set(re.findall(r"`(\w+)`", extras))
    assert set(yamls.agent(name).stored) == listed


def test_pandas_reads_through_arrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    log = filled(tmp_path, [0, 1])
    frame = DeltaTable(str(tmp_path / "pages")).to_pandas().sort_values(["tick", "visit", "page"])
    assert frame["reward"].tolist() == log.read(0, 1).reward.tolist()
    assert frame["slate_items"].iloc[0].tolist() == log.read(0, 1).slate_items[0].tolist()


def test_duckdb_reads_through_arrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    log = filled(tmp_path, [0, 1])
    connection = duckdb.connect()
    connection.register("impressions", DeltaTable(str(tmp_path / "impressions")).to_pyarrow_table())
    found = connection.sql("SELECT day, sum(clicked::INT) FROM impressions GROUP BY day ORDER BY day").fetchall()
    assert found == [(day, int(log.read(day, day).clicked.sum())) for day in (0, 1)]


def test_a_block_is_merged_once_the_next_has_begun(tmp_path: Path) -> None:
    log = filled(tmp_path, [0, 9, 20, 27, 28, 30])
    before = log.read(0, 30)
    assert len(DeltaTable(str(tmp_path / "pages")).file_uris()) == 3
    table = DeltaTable(str(tmp_path / "pages"))
    table.load_as_version(1)  # nothing is vacuumed: the log as it stood after day 9
    assert pl.scan_delta(table).select(pl.col("day").max()).collect().item() == 9
    again = FeedbackLog(tmp_path, SPACES)
    assert_equal(again.read(0, 30), before)
    assert_equal(again.read(0, 30, as_of=9), again.read(0, 9))
    again.return_to(20)
    assert sorted(pl.read_delta(str(tmp_path / "pages"))["day"].unique()) == [0, 9, 20]


def test_old_versions_of_a_table_outlive_the_month_that_delta_lake_keeps_them(tmp_path: Path) -> None:
    filled(tmp_path, [0, 9, 28])  # day 28 merges, with a checkpoint of the table's log
    long_ago = time.time() - 40 * 86_400
    for file in (tmp_path / "pages" / "_delta_log").iterdir():
        os.utime(file, (long_ago, long_ago))
    filled(tmp_path, [29, 56, 57])
    table = DeltaTable(str(tmp_path / "pages"))
    table.load_as_version(0)
    assert pl.scan_delta(table).select(pl.col("day").max()).collect().item() == 0
