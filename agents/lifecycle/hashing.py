"""Drawing lots by name: the same id under the same key gets the same bucket, on any machine and in any batch."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 10_000
"""Shares are counted in ten-thousandths."""


def key_of(name: str) -> int:
    """64 bits that stand for a name, such as that of an experiment."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood 2014), a bijection of 64 bits in integer arithmetic."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def buckets(ids: NDArray[Any], key: int) -> NDArray[np.int64]:
    """int64 in [0, BUCKETS), one for each of the integer `ids`; another `key` deals them anew.

    The ids are mixed twice, with the key in between, so that neither neighbouring ids nor related keys go together.
    """
    words = mixed(ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    words = mixed(words ^ np.uint64(key))
    return ((words >> np.uint64(32)) * np.uint64(BUCKETS) >> np.uint64(32)).astype(np.int64)


def parts_of(name: str, share: float) -> int:
    """A share as ten-thousandths; refuses what lies outside [0, 1] or would round to nobody."""
    parts = round(share * BUCKETS)
    if not 0.0 <= share <= 1.0 or (share > 0 and parts == 0):
        raise ValueError(f"'{name}' must be 0 or a share from {1 / BUCKETS:g} to 1. Got {share!r}.")
    return parts


def held_out(visits: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """bool, for each visit: whether it is kept from training. The same visits in all trainings of all runs."""
    return buckets(visits, key_of("held out")) < parts_of("held_out", share)


def held_out_pages(
    visits: NDArray[np.int64], explored: NDArray[np.bool_], share: float, explored_share: float
) -> NDArray[np.bool_]:
    """bool, for each page: whether it is kept from training; `explored_share` of the visits count if it is explored.

    Those of the smaller share are among those of the greater.
    """
    return np.where(explored, held_out(visits, explored_share), held_out(visits, share))
