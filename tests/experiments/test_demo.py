"""The main job in its tiny form: the same first table whatever the workers, taken up where it was cut off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from perennial.experiments import demo

STUDY = [
    "study.arms={incumbent:['agent=linucb','strategy=static'],nightly:['agent=linucb','strategy=nightly']}",
    "~study.arms.drift_triggered", "~study.arms.nightly_hourly", "~study.arms.linucb", "~study.arms.ppo",
    "study.twin_arms=[incumbent,nightly]", "study.quick_seeds=[0]",
]  # fmt: skip
ARMS = ["incumbent", "nightly", "popular", "random"]


def run(folder: Path, *more: str) -> dict[str, object]:
    assert demo.main(["--quick", "--output", str(folder), *more, *STUDY]) == 0
    found: dict[str, object] = json.loads((folder / "gift_shop_quick" / "tables.json").read_text())
    return found


@pytest.mark.timeout(240)
def test_tables_do_not_depend_on_workers_or_interruption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = run(tmp_path / "two", "--workers", "2")
    study = tmp_path / "two" / "gift_shop_quick"
    assert [row["arm"] for row in tables["uplift"]] == ARMS
    assert all((study / name).stat().st_size for name in ("tables.md", "timings.json", "season.svg", "season.png"))
    parts = {path.name for path in (study / "nightly-seasonal-seed0").iterdir()}
    expected = {"config.yaml", "result.json", "timings.json", "decisions.jsonl", "log", "registry", "tensorboard"}
    assert parts == expected

    shutil.copytree(tmp_path / "two", tmp_path / "one")
    (tmp_path / "one" / "gift_shop_quick" / "nightly-seasonal-seed0" / "result.json").unlink()
    (tmp_path / "one" / "gift_shop_quick" / "tables.json").unlink()
    capsys.readouterr()
    assert run(tmp_path / "one", "--workers", "1") == tables
    assert "5 runs were finished before" in capsys.readouterr().out


def test_an_unknown_study_is_refused_with_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--output", str(tmp_path / "runs"), "study=gift_shp"]) == 2
    assert "Did you mean 'gift_shop'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.incumbent=oldd", "'oldd' is not one of the arms"),
        ("study.seeds=[0,0]", "'seeds' must be different"),
        ("study.seedz=[0]", "Did you mean 'seeds'?"),
        ("study.arms.nightly=['agent=linucbb']", "Arm 'nightly' in the world 'seasonal': 'agent' must be one of"),
    ],
)
def test_a_wrong_study_is_refused(
    override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--output", str(tmp_path / "runs"), override]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
