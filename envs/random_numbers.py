"""World noise: Philox4x32-10, keyed by the seed and counted by what a draw is for.

Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC'11, doi:10.1145/2063384.2063405.
A draw depends on (seed, purpose, potential visit, page, item or slot) and on nothing else, so that two policies meet
the same visitors, who react to the same item alike, and any batch width or process gives the same bits.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.envs.compiled import inlined, kernel

# One number per purpose; new purposes take the next free one.
ARRIVAL_COUNT = 1
ARRIVAL = 2
CANDIDATE = 3
REACTION = 4
EXAMINATION = 5
LEAVING = 6
PATIENCE = 7
TASTE = 8
CHOICE = 9
YEARS = 10
REGIME = 11
NOTICE = 12
DAY = 13
FEEDBACK = 20

# Words are kept in uint64: numba widens mixed integers, and a 32 x 32 bit product needs the room.
_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_24 = np.uint64(24)
_TO_UNIT_32 = 1.0 / 2**32


@inlined
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four 32-bit words (as uint64) from a counter of four and a key of two: ten rounds."""
    for _ in range(10):
        p0 = (c0 & _LOW) * _M0  # the masks change nothing, and tell the compiler of a 32 x 32 bit product
        p1 = (c2 & _LOW) * _M1
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@inlined
def draw(key, purpose, visit, page, index):
    """Four 32-bit words for (purpose, visit, page, item or slot); `key` is a uint64 (2,) made by `key_of`.

    Ranges: purpose < 256, page < 2**24, index < 2**32, visit any int64.
    """
    c1 = (np.uint64(purpose) << _24) | np.uint64(page)
    v = np.uint64(visit)
    return philox4x32(np.uint64(index), c1, v & _LOW, v >> _32, key[0], key[1])


@kernel
def philox_block(c0, c1, c2, c3, count, k0, k1):
    """`philox4x32` of the first `count` counters in uint64 (W,) each, in place; vectorised by the compiler."""
    for i in range(count):
        c0[i], c1[i], c2[i], c3[i] = philox4x32(c0[i], c1[i], c2[i], c3[i], k0, k1)


@inlined
def unit(word):
    """float64 in (0, 1): the centre of the word's cell, so that neither end is ever drawn."""
    return (np.float64(np.int64(word)) + 0.5) * _TO_UNIT_32  # signed: a single instruction


@inlined
def normal(word_a, word_b):
    """A standard normal from two words (Box and Muller 1958)."""
    return np.sqrt(-2.0 * np.log(unit(word_a))) * np.cos(2.0 * np.pi * unit(word_b))


@kernel
def poisson(key, purpose, visit, rate):
    """A Poisson count of mean `rate` by inversion, in blocks of at most 64 (the sum of Poissons is Poisson)."""
    blocks = int(np.ceil(rate / 64.0))
    count = 0
    for block in range(blocks):
        mean = rate / blocks
        word, other, _, _ = draw(key, purpose, visit, 0, block)
        target = (np.float64(word) * 4294967296.0 + np.float64(other) + 0.5) / 2.0**64
        chance = np.exp(-mean)
        total = chance
        n = 0
        while target > total and n < 1000:
            n += 1
            chance *= mean / n
            total += chance
        count += n
    return count


def key_of(seed: int) -> NDArray[np.uint64]:
    """uint64 (2,): the Philox key words of a seed in [0, 2**64)."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"'seed' must be an integer in [0, 2**64). Got {seed!r}.")
    return np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)


def table_generator(seed: int, purpose: str) -> np.random.Generator:
    """The generator that fills one table when a world is built: its own for each (seed, purpose)."""
    words = [int(b) for b in purpose.encode()]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))
