"""MLflow's model registry as the shelf of a registry: sqlite or server; plain files and aliases, no pickled models."""

from __future__ import annotations

import json
import logging
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle.shelves import COLUMNS, SUFFIX, Move, Shelf, Version

FILE = f"model{SUFFIX}"
PIECE = 4000
"""Characters of a tag; MLflow's stores take 5,000."""
SECONDS = 30
"""How long a server may take to answer at the start."""
RECORD, MOVE = "record.", "move."


class MlflowShelf(Shelf):
    """Every version is an MLflow run with the parameters as one plain file, and a registered model version.

    The version numbers are the registry's own, in the tags: MLflow never gives the number of a deleted version again.
    Aliases are MLflow's; their history stands in tags of the versions they named. Telemetry is off.

    Arguments:
        place: the registry's folder; files on their way lie here, and so does everything where `uri` is not given.
        uri: of the tracking server, such as "http://127.0.0.1:5000" or "sqlite:////data/mlflow.db". None: SQLite in
            `place`.
        model: name of the registered model, which belongs to one run alone; None: "perennial." and the names of the two
            folders that `place` lies in.
    """

    def __init__(self, place: Path, uri: str | None = None, model: str | None = None) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        if uri is not None and uri.startswith("http"):
            _reach(uri)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ValueError(
                "'registry=mlflow' needs MLflow's client: pip install 'perennial[mlflow]', or choose registry=embedded."
            ) from error
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.folder = place / "files"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = model or ".".join(["perennial", *place.resolve().parts[-3:-1]])
        self._client: Any = MlflowClient(uri or f"sqlite:///{(place / 'mlflow.sqlite').resolve()}")
        self._experiment = self._open(None if uri else place)
        self._numbers: dict[tuple[int, int], str] = {}
        self._moves = 0

    def _open(self, path: Path | None) -> str:
        """The experiment, made where it is not there; the registered model too."""
        if not self._client.search_registered_models(f"name = '{self.model}'"):
            self._client.create_registered_model(self.model)
        found = self._client.get_experiment_by_name(self.model)
        if found is not None:
            return str(found.experiment_id)
        place = (path / "artifacts").resolve().as_uri() if path is not None else None
        return str(self._client.create_experiment(self.model, artifact_location=place))

    def _all(self) -> list[Any]:
        """MLflow's versions, oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{self.model}'", max_results=1000, page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def records(self) -> list[Version]:
        found = {version.version: _record(version.tags) for version in self._all()}
        self._numbers = {(record.version, record.revision): number for number, record in found.items()}
        return list(found.values())

    def moves(self) -> list[Move]:
        found = self._numbered_moves()
        self._moves = len(found)
        return [move for _, _, move in found]

    def _numbered_moves(self) -> list[tuple[int, str, Move]]:
        """Number, MLflow's version and content of each move, in their order."""
        found = []
        for version in self._all():
            record = _record(version.tags)
            for name, value in version.tags.items():
                if name.startswith(MOVE):
                    alias, tick = value.rsplit(" ", 1)
                    found.append(
                        (int(name.removeprefix(MOVE)), version.version, Move(alias, record.version, int(tick)))
                    )
        return sorted(found, key=lambda move: move[0])

    def add(self, record: Version, draft: Path) -> None:
        file = self.folder / FILE
        os.replace(draft, file)
        name = f"{record.version}.{record.revision}"
        run = self._client.create_run(self._experiment, run_name=name, tags={"perennial.version": name})
        self._client.log_artifact(run.info.run_id, str(file))
        self._client.set_terminated(run.info.run_id)
        source = f"{run.info.artifact_uri}/{FILE}"
        made = self._client.create_model_version(self.model, source, run.info.run_id, tags=_tags(record))
        self._numbers[record.version, record.revision] = made.version
        file.unlink()

    def move(self, move: Move) -> None:
        number = self._newest(move.version)
        self._client.set_model_version_tag(self.model, number, f"{MOVE}{self._moves}", f"{move.alias} {move.tick}")
        self._moves += 1
        self._client.set_registered_model_alias(self.model, move.alias, number)

    def _newest(self, version: int) -> str:
        return self._numbers[max(key for key in self._numbers if key[0] == version)]

    def cut(self, records: int, moves: int) -> None:
        for number, version, move in self._numbered_moves()[moves:]:
            self._client.delete_model_version_tag(self.model, version, f"{MOVE}{number}")
            self._client.delete_registered_model_alias(self.model, move.alias)
        for version in self._all()[records:]:
            self._client.delete_model_version(self.model, version.version)
            self._client.delete_run(version.run_id)
        kept = {record.version: number for record, number in zip(self.records(), self._numbers.values(), strict=True)}
        for alias, move in {move.alias: move for move in self.moves()}.items():
            self._client.set_registered_model_alias(self.model, alias, kept[move.version])

    def file(self, record: Version) -> Path | None:
        number = self._numbers[record.version, record.revision]
        run = self._client.get_model_version(self.model, number).run_id
        if FILE not in {entry.path for entry in self._client.list_artifacts(run)}:
            return None
        place = self.folder / "fetched"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return Path(self._client.download_artifacts(run, FILE, str(place)))

    def spare(self, artifacts: set[str]) -> None:
        for version in self._all():
            if _record(version.tags).artifact not in artifacts and "spared" not in version.tags:
                self._repository(version).delete_artifacts(FILE)
                self._client.set_model_version_tag(self.model, version.version, "spared", "no")

    def _repository(self, version: Any) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        place = self._client.get_run(version.run_id).info.artifact_uri
        return get_artifact_repository(place, tracking_uri=self._client.tracking_uri)


def _reach(uri: str) -> None:
    """Ask the server at `uri` for any answer at all: MLflow's client would try for four minutes, and say nothing."""
    try:
        urllib.request.urlopen(uri, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return  # it is there; whether it lets us in, the client will hear
    except OSError as error:
        raise ValueError(
            f"'uri' must be the address of an MLflow server that runs. Got {uri}: {error}. Start it (mlflow server), "
            "or choose registry=embedded."
        ) from error


def _tags(record: Version) -> dict[str, str]:
    """The record for a person to look through, and whole, in pieces, for reading it back."""
    whole = json.dumps(record.__dict__)
    shown = {
        name: str(value) for name in COLUMNS if name != "training" and (value := getattr(record, name)) is not None
    }
    return shown | {f"{RECORD}{i}": whole[at : at + PIECE] for i, at in enumerate(range(0, len(whole), PIECE))}


def _record(tags: dict[str, str]) -> Version:
    pieces = sorted((int(name.removeprefix(RECORD)), text) for name, text in tags.items() if name.startswith(RECORD))
    return Version(**json.loads("".join(text for _, text in pieces)))
