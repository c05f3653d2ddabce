"""The command `perennial-calibrate`: one clear line and exit code 2 where something is wrong, nothing half-written."""

from pathlib import Path

import pytest

from perennial.envs.preset import Preset
from perennial.experiments.calibrate import main, parse_columns, write_atomically

LOG = "who,when,what,each\n" + "".join(
    f"{n % 7},2010-{1 + n % 12:02d}-{1 + n % 28:02d},{'tea' if n % 3 else 'cup'} {n % 5},{1 + n % 4}\n"
    for n in range(600)
)
COLUMNS = "user=who,time=when,text=what,price=each"


def arguments(folder: Path, **changes: str) -> list[str]:
    (folder / "log.csv").write_text(LOG, encoding="utf-8")
    (folder / "rules.csv").write_text("order,theme,regex\n0,tea,TEA\n1,cup,CUP\n", encoding="utf-8")
    options = {
        "purchases": str(folder / "log.csv"), "columns": COLUMNS, "categories": str(folder / "rules.csv"),
        "name": "small", "source": "made up", "licence": "CC0", "citation": "none", "out": str(folder / "small.json"),
    } | changes  # fmt: skip
    return ["shop", *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_a_log_becomes_a_preset_with_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*arguments(tmp_path, harmonics="1", visitors="200"), "--ctr-levels", "1", "--channels", "1"]
    assert main(given) == 0
    preset = Preset.from_json((tmp_path / "small.json").read_text("utf-8"))
    assert preset.categories == ["tea", "cup"]
    assert preset.source.command.startswith("perennial-calibrate shop --purchases ")
    assert [(f.ctr_level, f.channel) for f in preset.season] == [(1.0, 1.0)]
    assert "small: goodness of fit" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "rules.csv", "small.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": "user"}, "'columns' must be role=column"),
        ({"columns": COLUMNS.replace("when", "wen")}, "Did you mean 'when'?"),
        ({"purchases": "nowhere.csv"}, "'purchases' must be a readable file"),
        ({"out": "/nowhere/at/all.json"}, "'out' must be a file in a folder that exists"),
    ],
)
def test_errors_are_one_line_and_code_2(
    tmp_path: Path, changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(tmp_path, **changes)
    before = sorted(tmp_path.iterdir())
    assert main(given) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("perennial-calibrate: error: ")
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "wrong",
    [
        ["gift_sop"],
        ["gift_shop"],
        ["shop", "--nmae", "x"],
        ["gift_shop", "--data", ".", "--out", "x", "--channels", "2"],
    ],
)
def test_a_misspelt_or_missing_option_is_refused_with_code_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(wrong)
    assert refused.value.code == 2


def test_help_holds_the_data_dictionary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "Data dictionary" in said
    assert all(
        role in said for role in ("user", "time", "text", "price", "order", "item", "quantity", "session", "page")
    )


def test_columns_are_pairs() -> None:
    assert parse_columns("user=a, time=b c") == {"user": "a", "time": "b c"}


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "kept.json"
    out.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(out, "\ud800")
    assert out.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [out]
    write_atomically(out, "new")
    assert out.read_text("utf-8") == "new"
