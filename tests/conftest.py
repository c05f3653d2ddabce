"""Set-up of the whole suite: one thread to each process, settled before the first import of a numeric library."""

import os
import sys
from pathlib import Path

import pytest

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB", "NUMEXPR"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_finish() -> None:
    """Bind torch to one thread if a test module has imported it; others need not wait for that import."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real logs beside the project; the test skips without it."""
    if not DATA.is_dir():
        pytest.skip(f"the shop logs are not at {DATA}: they are needed here")
    return DATA
