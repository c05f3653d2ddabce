"""How the kernels are compiled: serial, cached, without the checks that keep loops from vectorising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

kernel: Callable[..., Any] = njit(cache=True, error_model="numpy")
"""For all kernels: a division by zero gives inf or NaN as in NumPy. (Python's check of it costs the vector loops.)"""

inlined: Callable[..., Any] = njit(cache=True, error_model="numpy", inline="always")
"""For what is called page by page: handing arrays over costs (every one is counted, and counted off), and a loop is
vectorised only around what it holds itself."""

fast_kernel: Callable[..., Any] = njit(cache=True, error_model="numpy", fastmath=True)
"""For sums of products: added up in the order that suits the processor."""


@inlined
def copy_row(target: Any, n: Any, source: Any, row: Any) -> None:
    """target[n] = source[row], as a plain loop: the compiler makes a block copy of it."""
    for j in range(target.shape[1]):
        target[n, j] = source[row, j]
