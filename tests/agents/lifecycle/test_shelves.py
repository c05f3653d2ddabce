"""One contract for every shelf of a registry: SQLite and files, and MLflow, by itself and on a server."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.shelves import Move, Shelf, SqliteShelf
from tests.agents.lifecycle.hand import SPACES
from tests.agents.lifecycle.learner import Learner, begun

ABSENT = [name for name in ("mlflow", "sqlalchemy", "alembic") if importlib.util.find_spec(name) is None]
MLFLOW = pytest.mark.skipif(bool(ABSENT), reason=f"needs perennial[mlflow]: {', '.join(ABSENT)} is not installed")


def mlflow_shelf(path: Path) -> Shelf:
    from perennial.agents.lifecycle.mlflow_shelf import MlflowShelf

    return MlflowShelf(path)


NO_SERVER = [name for name in ("mlflow", "flask", "uvicorn") if importlib.util.find_spec(name) is None]
SERVER = pytest.mark.skipif(
    bool(NO_SERVER), reason=f"needs MLflow's server (pip install mlflow): {', '.join(NO_SERVER)} is not installed"
)
PATIENCE = 240
"""Seconds that a server may take to start."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server of MLflow on this machine, with SQLite and a folder of artifacts behind it; its address."""
    folder = tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{(port := free_port())}"
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.sqlite'}"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", *words]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=os.environ | quiet, cwd=folder, start_new_session=True
        )
    try:
        wait_for(f"{address}/health", process, folder / "said")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its own session: the server and its workers, nobody else
        process.wait(60)


def wait_for(address: str, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.5)


def served_shelf(path: Path, address: str) -> Shelf:
    from perennial.agents.lifecycle.mlflow_shelf import MlflowShelf

    return MlflowShelf(path, uri=address)


SHELVES = [
    pytest.param("sqlite"),
    pytest.param("mlflow", marks=[MLFLOW, pytest.mark.timeout(300)]),
    pytest.param("mlflow server", marks=[SERVER, MLFLOW, pytest.mark.slow, pytest.mark.timeout(600)]),
]


@pytest.fixture(params=SHELVES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Registry]:
    """Opens the registry, again and again, with two records on a prune."""
    path = tmp_path / "run" / "registry"
    if request.param == "mlflow server":
        make: Callable[[Path], Shelf] = partial(served_shelf, address=request.getfixturevalue("server"))
    else:
        make = SqliteShelf if request.param == "sqlite" else mlflow_shelf
    return lambda: Registry(path, code="0.1.0", seed=3, keep=2, shelf=make(path))


def agent(clicks: float) -> Learner:
    made = begun(SPACES)
    made.clicks += clicks
    return made


def training(rows: int) -> TrainingRecord:
    figures = {f"figure {i}": 0.1 * i for i in range(500)}  # long enough for several tags
    return TrainingRecord(
        47, "fit", "warm", "schedule", "last 28 days", 0, 47, rows, "abc123", 1, "trained", 0.1, figures
    )


def test_the_contract_of_a_shelf(opened: Callable[[], Registry]) -> None:
    registry = opened()
    registry.register(agent(1), 0, "initial")
    registry.point("champion", 1, 0)
    registry.register(agent(2), 47, "fit", 1, training(90))
    registry.point("challenger", 2, 47)
    registry.point("champion", 2, 47)
    registry.register(agent(2.5), 71, "update", 2, revision=24)
    mark = registry.mark()
    before = registry.versions()

    # beyond the mark: a version, a move, a roll-back; then the registry is opened again and returns to the mark
    registry.register(agent(3), 95, "fit", 2, training(99))
    registry.point("champion", 3, 95)
    assert registry.rollback("champion", 96) == 2
    registry.close()
    registry = opened()
    assert registry.resolve("champion") == 2
    assert [record.version for record in registry.versions()] == [1, 2, 2, 3]
    registry.return_to(mark)
    assert registry.mark() == mark
    assert registry.versions() == before
    assert registry.history("champion") == [Move("champion", 1, 0), Move("champion", 2, 47)]
    assert registry.resolve("challenger") == 2

    # the same number again, with what was trained this time
    assert registry.register(agent(4), 95, "fit", 2, training(100)).version == 3
    registry.point("champion", 3, 95)
    registry.close()
    registry = opened()
    assert registry.get(3).training == json.loads(json.dumps(asdict(training(100))))
    assert registry.lineage(3) == [3, 2, 1]
    fresh = begun(SPACES, seed=9)
    assert registry.load(fresh, 2).revision == 24
    assert fresh.clicks.tolist() == agent(2.5).clicks.tolist()
    registry.load(fresh, 2, revision=0)
    assert fresh.clicks.tolist() == agent(2).clicks.tolist()

    # the newest two and those an alias names are kept
    registry.prune()
    registry.prune()
    with pytest.raises(FileNotFoundError, match="The parameters of version 1 were not kept"):
        registry.load(fresh, 1)
    registry.load(fresh, 3)
    registry.load(fresh, 2, revision=0)
    registry.close()


@MLFLOW
def test_mlflow_shows_aliases_tags_and_plain_files(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    path = tmp_path / "run" / "registry"
    registry = Registry(path, code="0.1.0", seed=3, shelf=mlflow_shelf(path))
    registry.register(agent(1), 0, "initial")
    registry.register(agent(2), 47, "fit", 1, training(90))
    registry.point("champion", 2, 47)
    client = MlflowClient(f"sqlite:///{path / 'mlflow.sqlite'}")
    seen = client.get_model_version_by_alias(registry.shelf.model, "champion")
    assert (seen.tags["version"], seen.tags["parent"], seen.tags["data_version"]) == ("2", "1", "abc123")
    assert [entry.path for entry in client.list_artifacts(seen.run_id)] == ["model.safetensors"]
    assert seen.current_stage == "None"
    assert seen.name == f"perennial.{tmp_path.name}.run"


@SERVER
@MLFLOW
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_keeps_the_files_and_leaves_none_with_the_run(server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    path = tmp_path / "run" / "registry"
    registry = Registry(path, code="0.1.0", seed=3, shelf=served_shelf(path, server))
    registry.register(agent(1), 0, "initial")
    registry.register(agent(2), 47, "fit", 1, training(90))
    registry.point("champion", 2, 47)
    assert not list(path.rglob("*.sqlite"))
    assert not list(path.rglob("*.safetensors"))
    client = MlflowClient(server)
    seen = client.get_model_version_by_alias(registry.shelf.model, "champion")
    assert (seen.tags["version"], seen.tags["parent"], seen.tags["data_version"]) == ("2", "1", "abc123")
    assert [entry.path for entry in client.list_artifacts(seen.run_id)] == ["model.safetensors"]
    assert client.get_run(seen.run_id).info.artifact_uri.startswith("mlflow-artifacts:")
    elsewhere = tmp_path / "another machine"
    shelf = type(registry.shelf)(elsewhere, uri=server, model=registry.shelf.model)
    again = Registry(elsewhere, code="0.1.0", seed=3, shelf=shelf)
    fresh = begun(SPACES, seed=9)
    assert again.load(fresh, 2).version == again.resolve("champion") == 2
    assert fresh.clicks.tolist() == agent(2).clicks.tolist()


def test_a_server_that_does_not_answer_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'uri' must be the address of an MLflow server that runs. Got http://127"):
        served_shelf(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert not list(tmp_path.iterdir())


def test_without_mlflow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"pip install 'perennial\[mlflow\]', or choose registry=embedded"):
        mlflow_shelf(tmp_path)
