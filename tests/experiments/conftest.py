"""What several tests of experiments look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments import killed


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with updates, fits and alarms, in the folder it was written to; see `killed`. Not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    killed.main(folder)
    return folder
