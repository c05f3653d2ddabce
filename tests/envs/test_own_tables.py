"""Catalogues and visitors of one's own: what is given is taken, what is not follows from it, what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from perennial.envs import World
from perennial.envs.own_tables import read_catalogue, read_visitors
from perennial.envs.preset import load_preset
from perennial.envs.visitors import TASTE_FLOOR

PRESET = load_preset("gift_shop")
ITEMS = 120


def items(**columns: Any) -> pl.DataFrame:
    category = [PRESET.categories[n % len(PRESET.categories)] for n in range(ITEMS)]
    return pl.DataFrame({"category": category, "price": np.linspace(1.0, 30.0, ITEMS), **columns})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_small_catalogue_is_completed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"items{suffix}"
    items().write_csv(path) if suffix == ".csv" else items().write_parquet(path)
    goods = read_catalogue(path, PRESET, seed=3)
    assert goods.category.tolist() == [n % len(PRESET.categories) for n in range(ITEMS)]
    assert goods.price == pytest.approx(np.linspace(1.0, 30.0, ITEMS), rel=1e-6)
    mean, spread = (np.asarray(part)[goods.category] for part in (PRESET.log_price_mean, PRESET.log_price_std))
    assert goods.price_deviation == pytest.approx((np.log(goods.price) - mean) / spread, abs=1e-5)
    again = read_catalogue(path, PRESET, seed=3)
    assert all(np.array_equal(one, two) for one, two in zip(vars(goods).values(), vars(again).values(), strict=True))


def test_every_column_is_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    latent, feature = rng.standard_normal((ITEMS, 4)), rng.standard_normal((ITEMS, 16))
    columns = {f"latent_{n}": latent[:, n] for n in range(4)} | {f"feature_{n}": feature[:, n] for n in range(16)}
    table = items(
        appeal=np.linspace(-1, 1, ITEMS),
        quality=np.linspace(0, 1, ITEMS),
        launch=["2010-01-11"] + [None] * (ITEMS - 1),
        retire=[None] * (ITEMS - 1) + ["2010-02-01"],
        provider=np.arange(ITEMS) % 3,
        **columns,
    )
    table.write_csv(tmp_path / "items.csv")
    goods = read_catalogue(tmp_path / "items.csv", PRESET)
    assert goods.appeal == pytest.approx(np.linspace(-1, 1, ITEMS), abs=1e-6)
    assert goods.quality == pytest.approx(np.linspace(0, 1, ITEMS), abs=1e-6)
    assert goods.launch[:2].tolist() == [10.0, -np.inf]
    assert goods.retire[-2:].tolist() == [np.inf, 31.0]
    assert goods.provider[:4].tolist() == [0, 1, 2, 0]
    assert goods.latent == pytest.approx(latent.astype(np.float32))
    assert goods.features == pytest.approx(feature.astype(np.float32))


def test_visitors_are_taken_and_completed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.gamma(1.0, size=(50, len(PRESET.categories)))
    table = pl.DataFrame(
        {f"taste_{name}": weights[:, n] for n, name in enumerate(PRESET.categories)}
        | {"activity": np.arange(1, 51), "segment": [0, 1] * 25, "protected": [1, 0] * 25}
    )
    table.write_parquet(tmp_path / "visitors.parquet")
    people = read_visitors(tmp_path / "visitors.parquet", PRESET, dim=8)
    share = weights / weights.sum(axis=1, keepdims=True)
    wanted = np.maximum(np.log(share / np.asarray(PRESET.base_share)), TASTE_FLOOR)
    assert people.taste == pytest.approx(wanted, abs=1e-5)
    assert np.diff(people.arrival_share, prepend=0) == pytest.approx(np.arange(1, 51) / np.arange(1, 51).sum())
    assert people.segment.tolist() == [0, 1] * 25
    assert people.protected.tolist() == [1, 0] * 25
    assert people.latent.shape == (50, 8)


def test_a_world_takes_files_and_respects_launches(tmp_path: Path) -> None:
    launch = [None] * 60 + ["2010-03-01"] * 60
    items(launch=launch).write_csv(tmp_path / "items.csv")
    world = World("gift_shop", seed=1, catalogue=str(tmp_path / "items.csv"), n_users=300, visits_per_day=3000.0)
    assert world.sizes["n_items"] == ITEMS
    before, after = (world.observe(world.arrivals(24 * day + 12))["candidates"] for day in (50, 70))
    assert before.max() < 60 <= after.max()
    hidden, shown = world.items_on(50)["features"], world.items_on(70)["features"]
    assert not hidden[60:].any()
    assert shown[60:].any()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"category": ["nothing"] * ITEMS}, "'catalogue.category' must name one of .* Got 'nothing' in row 1"),
        ({"price": [-1.0] * ITEMS}, r"'catalogue.price' must hold numbers in \[0, inf\]. Got -1.0 in row 1"),
        ({"quality": [2.0] * ITEMS}, r"'catalogue.quality' must hold numbers in \[0, 1\]"),
        ({"qualty": [0.5] * ITEMS}, "Got 'qualty'. Did you mean 'quality'"),
        ({"launch": ["soon"] * ITEMS}, "'catalogue.launch' must hold dates"),
        ({"feature_0": [0.5] * ITEMS}, "must have feature_0 to feature_15 or none of them"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    items().with_columns(**{name: pl.Series(values) for name, values in columns.items()}).write_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=message):
        read_catalogue(tmp_path / "a.csv", PRESET)


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'catalogue' must be a readable file"):
        World(catalogue="nowhere.csv")
    items().drop("price").write_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="'catalogue' must have a column 'price'"):
        read_catalogue(tmp_path / "a.csv", PRESET)
    pl.DataFrame({"taste_other": [1.0]}).write_csv(tmp_path / "b.csv")
    with pytest.raises(ValueError, match="'visitors' must have all taste columns or none"):
        read_visitors(tmp_path / "b.csv", PRESET)


def test_too_few_items_on_sale_is_refused(tmp_path: Path) -> None:
    items(retire=["2010-03-01"] * ITEMS).write_csv(tmp_path / "items.csv")
    with pytest.raises(ValueError, match="'n_candidates'=50 items must be on sale at all times. Got a time with 0"):
        World(catalogue=str(tmp_path / "items.csv"))
