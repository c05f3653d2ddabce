"""The closed loop in worlds where more than the season moves: every drift's YAML, from configuration to result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perennial import conf
from perennial.agents.base import Spaces
from perennial.envs import World
from perennial.envs.drift import CatalogueChurn
from perennial.experiments import run
from perennial.experiments.execution import items_of
from perennial.experiments.workers import in_this_process

DRIFTS = sorted(path.stem for path in (Path(next(iter(conf.__path__))) / "drift").glob("*.yaml"))
SMALL = ["world.n_users=200", "world.n_items=200", "world.visits_per_day=40", "experiment.scored_days=2"]
BEFORE = ["experiment.history_days=2", "experiment.history_window_days=2"]


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_run_under_every_drift(tmp_path: Path, drift: str) -> None:
    words = ["agent=linucb", "strategy=nightly", f"drift={drift}", f"output={tmp_path}", *SMALL, *BEFORE]
    scores = in_this_process(run.compose(words), print).scores
    assert 0 < scores.ctr < 1
    assert scores.regret_per_page >= 0


def test_training_is_told_of_items_once_they_are_launched() -> None:
    still, churning = (World(seed=1, n_items=200, drift=drift) for drift in (None, CatalogueChurn()))
    assert not callable(items_of(still))
    table = items_of(churning)
    assert callable(table)
    launched = churning.catalogue.launch
    item = int(np.argmax(np.where(np.isfinite(launched), launched, -np.inf)))
    before, after = (table(int(24 * launched[item]) + hours)["features"][item] for hours in (-48, 48))
    assert not before.any()
    assert after.any()
    assert Spaces(**churning.sizes).n_items == 200
