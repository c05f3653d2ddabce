"""The lifecycle runs on a recorded log as it runs in a simulated shop."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from perennial.agents.lifecycle.decisions import read_lines
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.review_desk import Desk
from perennial.experiments import recorded, review_page, run
from perennial.experiments.recorded import RecordedShop

CLICKS = "eshop_clothing_2008/clicks_2008-04_2008-06.parquet"


def clicks(days: int = 4, sessions: int = 6, products: int = 14, length: int = 5, shift: int = 99) -> pl.DataFrame:
    """Sessions that walk round the products, one after the other; round the last four from day `shift` on."""
    rows = []
    for session in range(days * sessions):
        for order in range(1, length + 1):
            day = session // sessions
            product = (session + order) % products if day < shift else products - 4 + (session + order) % 4
            date = datetime.date(2008, 4, 1) + datetime.timedelta(day)
            rows.append(
                {
                    "year": 2008, "month": date.month, "day": date.day, "order": order, "country": 29 - session % 2,
                    "session_id": 100 + session, "main_category": 1 + product % 4, "model": f"P{product:02d}",
                    "colour": 1 + product % 14, "price": 20 + product,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


def test_a_page_is_answered_by_the_click_that_followed() -> None:
    shop = RecordedShop(clicks())
    assert shop.days == 4
    visits = shop.arrivals(24, 47)
    assert visits.active.tolist() == list(range(6, 12))
    seen = []
    while len(visits.active):
        observed = shop.observe(visits)
        expected = (visits.active + 1 + visits.page) % 14
        slates = np.tile(np.arange(10, dtype=np.int32), (len(visits.active), 1))
        seen.append((observed["history"][0].tolist(), len(visits.active)))
        answer = shop.respond(visits, slates)
        assert (answer.clicked.argmax(axis=1)[expected < 10] == expected[expected < 10]).all()
        assert not answer.clicked[expected >= 10].any()
    assert len(seen) == 5
    assert seen[0] == ([-1] * 8, 6)
    assert seen[3] == ([-1] * 5 + [7, 8, 9], 6)
    assert answer.terminated.all()


def test_what_is_no_click_log_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clicks().drop("price").write_parquet(tmp_path / "log.parquet")
    assert recorded.main([str(tmp_path / "log.parquet"), f"output={tmp_path}"]) == 2
    assert "Missing: price" in capsys.readouterr().err
    (tmp_path / "log.parquet").write_text("no Parquet")
    assert recorded.main([str(tmp_path / "log.parquet"), f"output={tmp_path}"]) == 2
    assert "'clicks' must be a well-formed Parquet file" in capsys.readouterr().err


def test_a_log_may_be_csv(tmp_path: Path) -> None:
    clicks().write_csv(tmp_path / "log.csv")
    small = ["agent=popular", "strategy=nightly", f"output={tmp_path}", "name=csv"]
    assert recorded.main([str(tmp_path / "log.csv"), *small]) == 0


def test_the_whole_lifecycle_runs_with_no_world_behind_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clicks().write_parquet(tmp_path / "log.parquet")
    command = [str(tmp_path / "log.parquet"), "strategy=nightly", f"output={tmp_path}", "name=small"]
    assert recorded.main(command) == 0
    assert "5 versions" in capsys.readouterr().out
    assert recorded.main(command) == 2
    folder = tmp_path / "replay" / "small"
    shop = RecordedShop(clicks())
    assert FeedbackLog(folder / "log", shop.spaces).counts == {"pages": 120, "quarantined": 0, "duplicates": 0}
    assert Registry(folder / "registry", "", 0).resolve("champion") == 5
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines if line["decision"] == "training"] == ["trained"] * 4


def replayed(tmp_path: Path, strategy: str, *words: str) -> list[dict[str, Any]]:
    clicks().write_parquet(tmp_path / "log.parquet")
    command = [str(tmp_path / "log.parquet"), f"strategy={strategy}", f"output={tmp_path}", "name=small", *words]
    assert recorded.main(command) == 0
    return read_lines(tmp_path / "replay" / "small" / "decisions.jsonl")


@pytest.mark.parametrize("strategy", ["nightly_canary", "nightly_blue_green", "nightly_shadow"])
def test_rollouts_and_their_guardrails_run_on_a_log(tmp_path: Path, strategy: str) -> None:
    lines = replayed(tmp_path, strategy)
    assert [line["verdict"] for line in lines if line["decision"] == "training"] == ["trained"] * 4
    assert any(line["decision"] == "rollout" for line in lines)


def test_an_agent_that_looks_at_the_clicks_of_the_visit_learns_from_a_log(tmp_path: Path) -> None:
    lines = replayed(tmp_path, "nightly", "agent=linucb")
    assert [line["verdict"] for line in lines if line["decision"] == "training"] == ["trained"] * 4


def test_what_the_log_has_stands_in_the_audit_tables() -> None:
    shop = RecordedShop(clicks())
    assert shop.audit_attributes["protected"].tolist() == [0, 1] * 12
    assert shop.audit_attributes["provider"].tolist() == [product % 4 for product in range(14)]


def test_a_person_is_asked_at_a_desk_with_the_names_of_the_log(tmp_path: Path) -> None:
    pool = ["strategy.review.reviewer.patience_s=0", "strategy.review.pool=1.0"]
    lines = replayed(tmp_path, "nightly_person", *pool)
    folder = tmp_path / "replay" / "small"
    sheets = Desk(folder / "review").sheets()
    assert len(sheets) == 8  # two a day
    assert not [line for line in lines if line["decision"] == "review"]  # nobody answered
    assert review_page.labels(folder)[7] == "P07, category 4, 27 $"


def test_the_simulated_reviewer_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clicks().write_parquet(tmp_path / "log.parquet")
    assert recorded.main([str(tmp_path / "log.parquet"), "strategy=nightly_review", f"output={tmp_path}/runs"]) == 2
    assert "a log holds none. Got SimulatedReviewer. Choose strategy=nightly_person" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_change_in_the_log_is_told(tmp_path: Path) -> None:
    """From day 36 on the clicks are on four products of which the first model shows none or few."""
    shop = RecordedShop(clicks(days=43, shift=36))
    loop = recorded.replay(shop, run.compose(["agent=popular", "strategy=static"]), tmp_path)
    told = {line["tick"] // 24: line["metric"] for line in loop.audit.lines if line["decision"] == "alert"}
    assert min(told) > 36
    assert [line["day"] for line in loop.audit.lines if line["decision"] == "day"] == list(range(43))


def test_on_the_real_log_learning_beats_not_learning(data: Path, tmp_path: Path) -> None:
    shop = RecordedShop(pl.read_parquet(data / CLICKS))
    assert (shop.spaces.n_items, shop.spaces.n_users, shop.days) == (217, 17031, 91)
    hits = {}
    for strategy in ("static", "nightly"):
        settings = run.compose(["agent=popular", f"strategy={strategy}"])
        loop = recorded.replay(shop, settings, tmp_path / strategy, days=9)
        pages = loop.log.read(2, 8)
        assert pages.clicked.sum(axis=1).max() == 1
        hits[strategy] = float(pages.clicked.any(axis=1).mean())
    assert hits["static"] == pytest.approx(0.10, abs=0.03)
    assert hits["nightly"] > hits["static"] + 0.01
