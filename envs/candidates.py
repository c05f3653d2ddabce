"""Which items may be shown on a page: uniform among those on sale, without replacement, blind to season and policy."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import numpy as np

from perennial.envs.compiled import inlined, kernel
from perennial.envs.random_numbers import CANDIDATE, philox4x32


@kernel
def draw_candidates(key, launch, retire, churns, lane, count, visit_of, page_of, shown, candidates, drawn, bits):
    """M live items without replacement, by (visit, page), into `candidates` (B, M) of the `count` first in `lane`.

    Draw, refuse repeats. Where nothing `churns` and no item comes twice, what is drawn first is what is shown.
    """
    wanted = candidates.shape[1]
    quick = not churns and wanted <= drawn.size
    for i in range(count):
        row = lane[i]
        visit, page = visit_of[row], page_of[row]
        fill_drawn(key[0], key[1], launch.size, visit, page, 0, drawn)
        if quick and all_new(drawn, wanted, bits):
            for m in range(wanted):
                candidates[row, m] = drawn[m]
        else:
            day = shown[row] / 24.0
            refuse_repeats(key, launch, retire, churns, visit, page, day, candidates, row, drawn, bits)


@kernel
def refuse_repeats(key, launch, retire, churns, visit, page, day, candidates, row, drawn, bits):
    """The same from the first `drawn` on, one by one."""
    first, found = 0, take_new(launch, retire, churns, day, candidates, row, drawn, bits, 0)
    while found < candidates.shape[1]:
        first += drawn.size // 4
        fill_drawn(key[0], key[1], launch.size, visit, page, first, drawn)
        found = take_new(launch, retire, churns, day, candidates, row, drawn, bits, found)
    for m in range(found):
        bits[np.uint64(candidates[row, m]) >> np.uint64(6)] = np.uint64(0)


@kernel
def take_new(launch, retire, churns, day, candidates, row, drawn, bits, found):
    """Add to the `found` candidates those of `drawn` that are on sale and new, until there are enough: their number."""
    i = 0
    while i < drawn.size and found < candidates.shape[1]:
        item = np.uint64(drawn[i])
        place, mask = item >> np.uint64(6), np.uint64(1) << (item & np.uint64(63))
        on_sale = not churns or launch[item] <= day < retire[item]
        new = on_sale and bits[place] & mask == np.uint64(0)
        candidates[row, found] = item
        bits[place] |= mask * np.uint64(new)
        found += new
        i += 1
    return found


@kernel
def fill_drawn(k0, k1, items, visit, page, first, drawn):
    """Fill `drawn` int64 (n,), n a multiple of 4, with uniform draws from `items`: four a counter, from `first` on."""
    v, place = np.uint64(visit), (np.uint64(CANDIDATE) << np.uint64(24)) | np.uint64(page)
    low, high = v & np.uint64(0xFFFFFFFF), v >> np.uint64(32)
    count, shift = np.uint64(items), np.uint64(32)
    for i in range(drawn.size // 4):
        a, b, c, d = philox4x32(np.uint64(first + i), place, low, high, k0, k1)
        drawn[4 * i] = (a * count) >> shift
        drawn[4 * i + 1] = (b * count) >> shift
        drawn[4 * i + 2] = (c * count) >> shift
        drawn[4 * i + 3] = (d * count) >> shift


@inlined
def all_new(drawn, wanted, bits):
    """Whether the first `wanted` of `drawn` are all different; without branches, for they seldom are not."""
    again = np.uint64(0)
    for m in range(wanted):
        item = np.uint64(drawn[m])
        place, mask = item >> np.uint64(6), np.uint64(1) << (item & np.uint64(63))
        again |= bits[place] & mask
        bits[place] |= mask
    for m in range(wanted):
        bits[np.uint64(drawn[m]) >> np.uint64(6)] = np.uint64(0)
    return again == np.uint64(0)
