"""How the kernels are compiled: serial, cached, without the checks that keep loops from vectorising."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit

HERE = Path(__file__).parent
config: Any = numba.config


def _digest() -> str:
    """Of all sources of this package: numba's cache looks at a kernel's own file, not at those of the kernels it calls,
    and would go on with a callee that has changed since."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_CACHE = f"kernels-{_digest()}"


def compiled(**options: Any) -> Callable[..., Any]:
    """numba's `njit` with a cache that belongs to these very sources; NUMBA_CACHE_DIR holds it where that is set.

    A division by zero gives inf or NaN as in NumPy. (Python's check of it costs the vector loops.)
    """

    def decorate(function: Callable[..., Any]) -> Any:
        given = config.CACHE_DIR
        config.CACHE_DIR = str(Path(given or HERE / "__pycache__") / _CACHE)  # read while decorating, never later
        try:
            return njit(cache=True, error_model="numpy", **options)(function)
        finally:
            config.CACHE_DIR = given

    return decorate


kernel = compiled()
"""For all kernels that are called with more than a page's work."""

inlined = compiled(inline="always")
"""For what is called page by page: handing arrays over costs (every one is counted, and counted off), and a loop is
vectorised only around what it holds itself."""

fast_kernel = compiled(fastmath=True)
"""For sums of products: added up in the order that suits the processor."""


@inlined
def copy_row(target: Any, n: Any, source: Any, row: Any) -> None:
    """target[n] = source[row], as a plain loop: the compiler makes a block copy of it."""
    for j in range(target.shape[1]):
        target[n, j] = source[row, j]
