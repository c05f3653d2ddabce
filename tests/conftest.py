"""Set-up of the whole suite: one thread to each process, settled before the first import of a numeric library."""

import os
import sys

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB", "NUMEXPR"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_finish() -> None:
    """Bind torch to one thread if a test module has imported it; others need not wait for that import."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
