"""Tables of a made-up study whose numbers are known."""

from __future__ import annotations

import json

import pytest

from perennial.experiments import results as results_module
from perennial.experiments import tables
from perennial.experiments.metrics import Day
from perennial.experiments.results import Event, Result


def run(arm: str, drift: str, seed: int, clicks: int, retrains: int = 0) -> Result:
    day = Day(0, 100, 90, 200, 2000, clicks, 1000, clicks // 2, 9, 0, 0, float(clicks), float(clicks), 20.0)
    return Result(arm, drift, seed, [day], [Event(0, "retrain")] * retrains, "configuration", "code")


@pytest.fixture
def results() -> list[Result]:
    return [
        *(run("old", "seasonal", seed, clicks) for seed, clicks in enumerate((100, 200, 300))),
        *(run("new", "seasonal", seed, clicks, retrains=2) for seed, clicks in enumerate((110, 240, 390))),
        *(run("old", "none", seed, 200) for seed in range(3)),
        *(run("new", "none", seed, 220) for seed in range(3)),
        *(run("other", "seasonal", seed, 50) for seed in range(3)),
    ]


def test_uplift_row_by_hand(results: list[Result]) -> None:
    table = tables.uplift_table(results, ["old", "new", "other"], "old", "seasonal", "none")
    old, new, other = table.plain()
    assert (old["clicks"], old["uplift"]) == (2.0, None)
    assert new["uplift"]["mean"] == pytest.approx(0.2)  # 10, 20 and 30 %
    assert new["uplift"]["high"] == pytest.approx(0.2 + 4.302653 * 0.1 / 3**0.5, abs=1e-6)
    assert new["twin_uplift"]["mean"] == pytest.approx(0.1)
    assert new["difference"]["mean"] == pytest.approx(0.1)
    assert (new["retrains"], new["bounce_rate"], new["regret"]) == (2.0, pytest.approx(0.1), pytest.approx(0.1))
    assert (other["twin_uplift"], other["difference"]) == (None, None)


def test_between_the_floor_and_the_moving_oracle_by_hand(results: list[Result]) -> None:
    table = tables.normalised_table(results, ["old", "new", "other"], "other", "seasonal", [1.5, 4.5, 8.5])
    oracle, new, old, other = table.plain()  # best first
    assert (oracle["arm"], oracle["share"], oracle["clicks"]) == ("moving oracle", None, pytest.approx(4.833333))
    # clicks per potential visit 1.1, 2.4, 3.9 and 1, 2, 3 against 0.5: of 1, 4 and 8 to win
    assert new["share"]["mean"] == pytest.approx((0.6 / 1 + 1.9 / 4 + 3.4 / 8) / 3)
    assert old["share"]["mean"] == pytest.approx((0.5 / 1 + 1.5 / 4 + 2.5 / 8) / 3)
    assert (other["share"]["low"], other["share"]["high"]) == (0.0, 0.0)


def test_the_order_in_which_runs_finish_does_not_matter(results: list[Result]) -> None:
    there = tables.uplift_table(results, ["old", "new"], "old", "seasonal", "none")
    back = tables.uplift_table(results[::-1], ["old", "new"], "old", "seasonal", "none")
    assert there.plain() == back.plain()
    assert there.markdown() == back.markdown()


def test_markdown_has_one_line_per_row(results: list[Result]) -> None:
    lines = tables.uplift_table(results, ["old", "new"], "old", "seasonal", "none").markdown().splitlines()
    assert len(lines) == 6
    assert lines[5].startswith("| new | 2.4667 | 12.33 % | 12.33 % | +20.00 % [")
    assert "| – | – | – |" in lines[4]


def test_one_seed_gives_a_table_without_intervals(results: list[Result]) -> None:
    first = [r for r in results if r.seed == 0]
    table = tables.uplift_table(first, ["new"], "old", "seasonal", "none")
    assert table.plain()[0]["uplift"] == {"mean": pytest.approx(0.1), "low": None, "high": None, "n": 1}
    assert table.texts()[0][4] == "+10.00 %"
    json.dumps(table.plain(), allow_nan=False)


def test_pairing_table_gives_the_factor(results: list[Result]) -> None:
    row = tables.pairing_table(results, [("old", "new")], "seasonal").plain()[0]
    assert row == {"pair": "new against old", "factor": pytest.approx((1 + 1.96 + 0.0033333) / 0.1633333, rel=1e-3)}


def test_timings_are_medians_over_runs() -> None:
    runs = [{"decision_ms_p99": 1.0, "run_s": 4.0}, {"decision_ms_p99": 3.0, "run_s": 6.0}, {"run_s": 8.0}]
    row = tables.timing_table({"arm": runs}).plain()[0]
    assert (row["batch_p99"], row["run"], row["training"]) == (2.0, 6.0, None)


def test_a_result_survives_its_file(tmp_path: object, results: list[Result]) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "run"
    assert not results_module.finished(folder)
    results[3].write(folder)
    assert results_module.finished(folder)
    assert results_module.read(folder) == results[3]
    assert [p.name for p in folder.iterdir()] == ["result.json"]
