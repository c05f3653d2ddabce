import sqlite3

import pytest

from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.registry import Registry
from tests.agents.lifecycle.hand import SPACES
from tests.agents.lifecycle.learner import begun


def agent(clicks):
    made = begun(SPACES)
    made.clicks += clicks
    return made


def training(parent):
    return TrainingRecord(
        47, "fit", "warm", "schedule", "last 28 days", 0, 47, 90, "abc123", parent, "trained", 0.1, {"loss": 0.5}
    )


@pytest.fixture
def registry(tmp_path):
    registry = Registry(tmp_path / "registry", code="0.1.0", seed=3)
    registry.register(agent(1), 0, "initial")
    registry.register(agent(2), 47, "fit", 1, training(1))
    registry.register(agent(3), 71, "fit", 2, training(2))
    registry.register(agent(3.5), 95, "update", 3, revision=24)
    registry.register(agent(4), 95, "fit", 2, training(2))
    return registry


def test_a_version_says_where_it_comes_from(registry, tmp_path):
    row = registry.get(2)
    assert (row.parent, row.tick, row.origin, row.data_version, row.code, row.seed) == (
        1,
        47,
        "fit",
        "abc123",
        "0.1.0",
        3,
    )
    assert row.training["window"] == "last 28 days"
    assert row.training["figures"] == {"loss": 0.5}
    assert registry.lineage(4) == [4, 2, 1]
    assert registry.lineage(3) == [3, 2, 1]
    assert [(v.version, v.revision) for v in registry.versions()] == [(1, 0), (2, 0), (3, 0), (3, 24), (4, 0)]
    with sqlite3.connect(tmp_path / "registry" / "registry.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_parameters_come_back_bit_for_bit(registry):
    fresh = begun(SPACES, seed=9)
    assert registry.load(fresh, 3).revision == 24
    assert fresh.clicks.tolist() == agent(3.5).clicks.tolist()
    registry.load(fresh, 3, revision=0)
    assert fresh.clicks.tolist() == agent(3).clicks.tolist()
    assert (fresh.rng.random(5) == agent(3).rng.random(5)).all()


def test_equal_parameters_are_one_file(registry):
    again = registry.register(agent(1), 200, "fit", 4)
    assert again.version == 5
    assert again.artifact == registry.get(1).artifact
    assert len(list((registry.path / "files").iterdir())) == 5


def test_aliases_move_and_roll_back(registry):
    assert registry.resolve("champion") is None
    for version in (1, 2, 3):
        registry.point("champion", version, 0)
    registry.point("challenger", 4, 0)
    assert registry.resolve("champion") == 3
    assert registry.resolve("challenger") == 4
    assert registry.rollback("champion", 100) == 2
    assert registry.rollback("champion", 101) == 1
    assert registry.resolve("champion") == 1
    assert registry.resolve("challenger") == 4
    with pytest.raises(ValueError, match="'champion' has not, and cannot go back"):
        registry.rollback("champion", 102)
    with pytest.raises(ValueError, match="'version' must be a registered one, 1 to 4. Got 9"):
        registry.point("champion", 9, 0)


def test_a_reopened_registry_goes_on(registry, tmp_path):
    registry.point("champion", 4, 95)
    registry.close()
    again = Registry(tmp_path / "registry", code="0.1.1", seed=3)
    assert again.resolve("champion") == 4
    assert again.lineage(4) == [4, 2, 1]
    assert again.register(agent(7), 119, "fit", 4).version == 5


def test_keep_bounds_the_files_and_spares_aliased_versions(tmp_path):
    registry = Registry(tmp_path, code="0.1.0", seed=0, keep=2)
    registry.register(agent(1), 0, "initial")
    registry.point("champion", 1, 0)
    for number in range(2, 7):
        registry.register(agent(number), number, "fit", number - 1)
    registry.prune()
    kept = {file.stem for file in (tmp_path / "files").iterdir()}
    assert kept == {registry.get(version).artifact for version in (1, 5, 6)}
    assert len(registry.versions()) == 6
    with pytest.raises(FileNotFoundError, match="The parameters of version 3 were not kept"):
        registry.load(begun(SPACES), 3)


def test_a_damaged_file_is_noticed(registry):
    file = registry.path / "files" / f"{registry.get(2).artifact}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="The parameters of version 2 are damaged"):
        registry.load(begun(SPACES), 2)


@pytest.mark.parametrize("harm", [lambda whole: b"none" * 999, lambda whole: whole[:5000], lambda whole: whole[:100]])
def test_a_damaged_database_is_said(tmp_path, harm):
    registry = Registry(tmp_path, "test", 0)
    registry.register(begun(SPACES), 0, "initial")
    registry.close()
    file = tmp_path / "registry.sqlite"
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(DamagedError, match=r"registry.sqlite is damaged .* Restore it from a copy, or delete"):
        Registry(tmp_path, "test", 0)


def test_a_database_that_may_not_be_opened_is_not_called_damaged(tmp_path):
    (tmp_path / "registry.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Registry(tmp_path, "test", 0)
