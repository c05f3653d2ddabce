"""One thread inside each process: we are parallel across processes, and one thread gives the same bits everywhere."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


def one_thread() -> None:
    """Call before NumPy is imported, in a console script; processes started later inherit it."""
    for name in VARIABLES:
        os.environ[name] = "1"
