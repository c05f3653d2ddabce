"""How the kernels are compiled: serial, cached, without the checks that keep loops from vectorising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

kernel: Callable[..., Any] = njit(cache=True, error_model="numpy")
"""For all kernels: a division by zero gives inf or NaN as in NumPy. (Python's check of it costs the vector loops.)"""
