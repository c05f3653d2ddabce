"""Keep an agent's draws from Python's, NumPy's and PyTorch's global generators to itself.

stable-baselines3 shuffles, initialises and samples with the global generators. Two agents in one process would
disturb each other, and any other user of those generators, unless each brings its own position along.
"""

# ruff: noqa: NPY002  (the legacy generator is the one stable-baselines3 draws from)
from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Positions = dict[str, NDArray[Any]]
"""Where the three global generators stand:

=================  ==============  =========================================================
``python``         (625,) uint32   Mersenne Twister words and index of `random`
``python_gauss``   (1,) float64    its spare normal draw, NaN = none
``numpy``          (626,) uint32   Mersenne Twister words, index and "has a spare draw"
``numpy_gauss``    (1,) float64    the spare normal draw
``torch``          (5056,) uint8   PyTorch's CPU generator
=================  ==============  =========================================================
"""


def read_positions() -> Positions:
    """Where the global generators stand now."""
    _, words, gauss = random.getstate()
    _, keys, index, has_gauss, spare = np.random.get_state(legacy=True)
    return {
        "python": np.array(words, dtype=np.uint32),
        "python_gauss": np.array([np.nan if gauss is None else gauss]),
        "numpy": np.append(keys, [index, has_gauss]).astype(np.uint32),
        "numpy_gauss": np.array([spare], dtype=np.float64),
        "torch": torch.get_rng_state().numpy().copy(),
    }


def write_positions(positions: Mapping[str, NDArray[Any]]) -> None:
    """Put the global generators where `read_positions` found them."""
    gauss = float(positions["python_gauss"][0])
    random.setstate((3, tuple(positions["python"].tolist()), None if np.isnan(gauss) else gauss))
    words = positions["numpy"]
    np.random.set_state(("MT19937", words[:624], int(words[624]), int(words[625]), float(positions["numpy_gauss"][0])))
    torch.set_rng_state(torch.from_numpy(np.ascontiguousarray(positions["torch"])))


class OwnGenerators:
    """The global generators as one agent sees them.

    >>> own, outside = OwnGenerators(seed=7), np.random.get_state()[1].copy()
    >>> with own.swapped_in():
    ...     drawn = np.random.random()
    >>> bool((np.random.get_state()[1] == outside).all())
    True
    """

    def __init__(self, seed: int) -> None:
        """`seed`: any non-negative integer; equal seeds draw equal numbers."""
        with self._outside_kept():
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            self.positions = read_positions()

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the global generators are the agent's; outside, nobody sees that they were used."""
        with self._outside_kept():
            write_positions(self.positions)
            yield
            self.positions = read_positions()

    @staticmethod
    @contextmanager
    def _outside_kept() -> Iterator[None]:
        outside = read_positions()
        try:
            yield
        finally:
            write_positions(outside)
