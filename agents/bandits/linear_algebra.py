"""Linear algebra of ridge regressions side by side: all functions take leading batch axes, none loops over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def inverse_root(V: Floats) -> Floats:
    """float64 (..., d, d): upper triangular R with R R' = V^-1, from the Cholesky factor of V, symmetric and > 0.

    Products with R give ``sqrt(x' V^-1 x) = |x' R|``, never negative by rounding, and R z with z standard normal has
    covariance V^-1.
    """
    return np.linalg.inv(np.linalg.cholesky(V)).mT


def apply(M: Floats, v: Floats) -> Floats:
    """float64 (..., n): the product M v of each matrix (..., n, d) with its vector (..., d)."""
    return (M @ v[..., None])[..., 0]


def means(x: Floats, theta: Floats) -> Floats:
    """float64 (..., M): x . theta of each of M rows (..., M, d)."""
    return (x @ theta[..., None])[..., 0]


def lengths(x: Floats, root: Floats) -> Floats:
    """float64 (..., M): |x' root| of each of M rows (..., M, d), the root of x' (root root') x."""
    turned = x @ root
    return np.sqrt(np.einsum("...i,...i->...", turned, turned))
