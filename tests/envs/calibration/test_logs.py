"""Reading and cleaning a purchase log: hand-made files -> exact orders, one clear message for each way to be wrong."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from perennial.envs.calibration.logs import PurchaseLog, read_purchases
from perennial.envs.calibration.tables import CalibrationError

COLUMNS = {"user": "who", "time": "when", "text": "what", "price": "each", "order": "bill", "quantity": "n"}
RULES = "order,theme,regex\n1,tea,TEA\n0,post,POSTAGE\n2,cup,CUP\n"
LINES = """bill,who,when,what,each,n
A2,7,2010-01-02 09:30:00,Tea cup,2.5,1
A1,,2010-01-01 08:00:00,Red CUP,3,2
A2,7,2010-01-02 09:30:00,Spoon,1,1
A1,,2010-01-01 08:00:00,Postage,3,1
C3,7,2010-01-03 10:00:00,Tea,9,1
A4,8,2010-01-04 23:00:00,Tea,9,-1
A5,8,2010-01-05 23:00:00,Tea,0,1
"""


def write(folder: Path, lines: str = LINES, rules: str = RULES) -> tuple[Path, Path]:
    (folder / "log.csv").write_text(lines, encoding="utf-8")
    (folder / "rules.csv").write_text(rules, encoding="utf-8")
    return folder / "log.csv", folder / "rules.csv"


def read(folder: Path, lines: str = LINES, rules: str = RULES, **changes: object) -> PurchaseLog:
    log, categories = write(folder, lines, rules)
    arguments: dict[str, object] = {"columns": COLUMNS, "drop": ["post"], "cancelled": "C"} | changes
    return read_purchases(log, arguments.pop("columns"), categories, **arguments)  # type: ignore[arg-type]


def test_a_small_log_becomes_exactly_these_orders(tmp_path: Path) -> None:
    log = read(tmp_path)
    assert log.categories == ["tea", "cup", "other"]
    assert log.order_day.tolist() == [0, 1]
    assert log.order_hour.tolist() == [8, 9]
    assert log.order_user.tolist() == [-1, 0]
    assert log.baskets.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert log.price.tolist() == [3.0, 1.0, 2.5]
    assert log.dropped == 4


def test_parquet_gives_the_same_log_as_csv(tmp_path: Path) -> None:
    csv = read(tmp_path)
    pl.read_csv(tmp_path / "log.csv", try_parse_dates=True).write_parquet(tmp_path / "log.parquet")
    parquet = read_purchases(tmp_path / "log.parquet", COLUMNS, tmp_path / "rules.csv", ["post"], cancelled="C")
    for name, value in vars(csv).items():
        np.testing.assert_array_equal(value, getattr(parquet, name), err_msg=name)


def test_without_an_order_column_a_users_day_is_an_order(tmp_path: Path) -> None:
    lines = "who,when,what,each\n1,2010-01-01,Tea,1\n1,2010-01-01,Cup,1\n2,2010-01-01,Tea,1\n1,2010-01-02,Tea,1\n"
    columns = {"user": "who", "time": "when", "text": "what", "price": "each"}
    log = read(tmp_path, lines, columns=columns, cancelled="")
    assert sorted(log.baskets.sum(1).tolist()) == [1, 1, 2]
    assert log.order_day.tolist() == [0, 0, 1]
    assert set(log.order_hour.tolist()) == {0}


def test_a_lookup_table_names_categories_and_the_rest_is_other(tmp_path: Path) -> None:
    log = read(tmp_path, rules="category,department\nTea cup,china\nPostage,post\n")
    assert log.categories == ["china", "other"]


def test_first_and_last_day_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, since=date(2010, 1, 2), until=date(2010, 1, 2)).order_day.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": COLUMNS | {"time": "whem"}}, r"'columns' must name columns of the file: .*Did you mean 'when'\?"),
        ({"columns": COLUMNS | {"prise": "each"}}, r"'columns' must name roles: .*Did you mean 'price'\?"),
        ({"columns": {"user": "who"}}, r"must name a column for each of .*Got none for 'time'"),
        ({"drop": ["teas"]}, r"'drop-category' must be one of \['post', 'tea', 'cup', 'other'\]. Got 'teas'"),
        ({"since": date(2020, 1, 1)}, r"must keep at least one row after cleaning. Got none of 7"),
        ({"lines": LINES.replace("2.5", "cheap")}, r"the column for 'price' must hold numbers. Got 'cheap' in row 1"),
        ({"lines": LINES.replace("2010-01-02 09:30:00", "soon")}, r"'time' must hold dates .* Got 'soon' in row 1"),
        ({"lines": LINES.splitlines()[0] + "\n"}, r"'purchases' must hold at least one row"),
        ({"lines": ""}, r"'purchases' must be a well-formed UTF-8 CSV with a header line"),
        ({"rules": RULES + "3,bad,[\n"}, r"must hold regular expressions in its third column. Got '\[' for 'bad'"),
        ({"rules": "category\nTea\n"}, r"'categories' must hold rules .* or a lookup"),
    ],
)
def test_a_bad_log_is_refused_in_one_clear_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as refused:
        read(tmp_path, **changes)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_missing_unknown_and_broken_files_are_refused(tmp_path: Path) -> None:
    _, rules = write(tmp_path)
    with pytest.raises(CalibrationError, match=r"'purchases' must be a readable file. Got .*nowhere.csv"):
        read_purchases(tmp_path / "nowhere.csv", COLUMNS, rules)
    (tmp_path / "log.xlsx").write_bytes(b"PK")
    with pytest.raises(CalibrationError, match=r"'purchases' must end in one of \['.csv', '.csv.gz', '.parquet'\]"):
        read_purchases(tmp_path / "log.xlsx", COLUMNS, rules)
    (tmp_path / "log.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(CalibrationError, match=r"'purchases' must be a well-formed Parquet file"):
        read_purchases(tmp_path / "log.parquet", COLUMNS, rules)
    (tmp_path / "bytes.csv").write_bytes(b"bill,who\n\xff\xfe\x00,1\n")
    with pytest.raises(CalibrationError, match=r"'(purchases|columns)' must"):
        read_purchases(tmp_path / "bytes.csv", COLUMNS, rules)
