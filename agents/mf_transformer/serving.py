"""Serving: the scores of `Mixture`, compiled; page by page, so that a page's bits do not depend on its batch."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from perennial.agents.base import Keys, Observations
from perennial.agents.mf_transformer.factorisation import Factorisation
from perennial.agents.mf_transformer.mixture import ItemTable, Shape

Array = NDArray[np.float32]

EPSILON = np.float32(1e-5)  # of the layer norms, as in torch
SUMS = {"reassoc", "contract"}  # lets sums run in vector lanes; NaN and infinity keep their meaning


class Tables(NamedTuple):
    """All that serving needs, float32 and contiguous: L blocks, N items, U visitors, vectors of length w.

    A part that the model is without has arrays of size 0.
    """

    use_mf: bool
    use_transformer: bool
    gated: bool
    heads: int
    past: int  # how many of the last clicked items are attended to
    row: Array  # (N, R): bias, then one vector for each part
    familiarity: Array  # (U, 1)
    user_factors: Array  # (U, f)
    taste_user: Array  # (f, w)
    taste_free: Array  # (U, w)
    taste_attributes: Array  # (D, w)
    memory: Array  # (L, N + 1, 2 w)
    reader: Array  # (X, w)
    reader_shift: Array  # (w,)
    gain: Array  # (L, 2, w)
    query: Array  # (L, w, w)
    position: Array  # (L, w, H)
    out: Array  # (L, w, w)
    up: Array  # (L, w, 2 w)
    up_shift: Array  # (L, 2 w)
    down: Array  # (L, 2 w, w)
    head_gain: Array  # (w,)
    head: Array  # (w, w)
    gate: Array  # (context, 1)
    gate_shift: Array  # (1,)


def tables(shape: Shape, w: Mapping[str, Tensor], items: ItemTable, mf: Factorisation) -> Tables:
    """The tables of these weights and factors; they may share memory with them."""

    def whole(name: str, ndim: int) -> Array:
        return w[name].numpy() if name in w else np.zeros((0,) * ndim, dtype=np.float32)

    def blocks(name: str, ndim: int) -> Array:
        names = [f"block{layer}.{name}" for layer in range(shape.layers) if shape.use_transformer]
        return stacked([w[name] for name in names], ndim)

    def stacked(parts: list[Tensor], ndim: int) -> Array:
        return np.stack([part.numpy() for part in parts]) if parts else np.zeros((0,) * (ndim + 1), dtype=np.float32)

    return Tables(
        use_mf=shape.use_mf,
        use_transformer=shape.use_transformer,
        gated=shape.gated,
        heads=shape.heads,
        past=shape.history,
        row=items.row.numpy(),
        familiarity=np.require(mf.familiarity, np.float32, ["C", "W"]),
        user_factors=np.require(mf.user_factors, np.float32, ["C", "W"]),
        taste_user=whole("taste.user", 2),
        taste_free=whole("taste.free", 2),
        taste_attributes=whole("taste.attributes", 2),
        memory=stacked(items.memory, 2),
        reader=whole("reader.weight", 2),
        reader_shift=whole("reader.shift", 1),
        gain=blocks("gain", 2),
        query=blocks("query", 2),
        position=blocks("position", 2),
        out=blocks("out", 2),
        up=blocks("up", 2),
        up_shift=blocks("up_shift", 1),
        down=blocks("down", 2),
        head_gain=whole("head.gain", 1),
        head=whole("head.weight", 2),
        gate=whole("gate.weight", 2),
        gate_shift=whole("gate.shift", 1),
    )


def scores(t: Tables, observations: Observations, keys: Keys) -> Array:
    """float32 (B, M): logit of a click on each candidate in a slot of bias 0, as by `Mixture.scores`."""
    # Copies, as numba would compile anew for an array that is read-only or lies otherwise in memory.
    user = np.array(observations["user"], np.float32, order="C")
    page = np.array(observations["page"], np.float32, order="C")
    history = np.array(observations["history"], np.int32, order="C")
    items = np.array(observations["candidates"], np.int32, order="C")
    visitor = np.array(keys.user_id, np.int32)
    result = np.empty(items.shape, dtype=np.float32)
    _scores(t, user, page, history, items, visitor, result)
    return result


# -- kernels -----------------------------------------------------------------------------------------------------------


@njit(cache=True, fastmath=SUMS)
def _dot(a, b):
    """Sum of a * b, both (n,)."""
    total = np.float32(0.0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, fastmath=SUMS)
def _add_product(x, weight, out):
    """out (m,) += x (n,) @ weight (n, m), four rows at a time."""
    n = x.size
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(out.size):
            out[j] += (a * weight[i, j] + b * weight[i + 1, j]) + (c * weight[i + 2, j] + d * weight[i + 3, j])
    for i in range(whole, n):
        a = x[i]
        for j in range(out.size):
            out[j] += a * weight[i, j]


@njit(cache=True, fastmath=SUMS)
def _normalise(x, gain, out):
    """out = x with mean 0 and variance 1, times gain; all (n,)."""
    n = np.float32(x.size)
    mean = np.float32(0.0)
    for i in range(x.size):
        mean += x[i]
    mean /= n
    spread = np.float32(0.0)
    for i in range(x.size):
        spread += (x[i] - mean) * (x[i] - mean)
    scale = np.float32(1.0) / np.sqrt(spread / n + EPSILON)
    for i in range(x.size):
        out[i] = (x[i] - mean) * scale * gain[i]


@njit(cache=True, fastmath=SUMS)
def _attend(query, place, memory, clicked, heads, weight, read):
    """read (w,) = what `query` (w,) takes from the rows `clicked` (H,) of `memory` (N + 1, 2 w), head by head.

    `place` (H,) is added to every head's logits; `weight` (H,) is scratch.
    """
    width = query.size
    size = width // heads
    scale = np.float32(1.0) / np.sqrt(np.float32(size))
    for first in range(0, width, size):
        last = first + size
        peak = np.float32(-np.inf)
        for h in range(clicked.size):
            weight[h] = (_dot(query[first:last], memory[clicked[h], first:last]) + place[h]) * scale
            peak = max(peak, weight[h])
        total = np.float32(0.0)
        for h in range(clicked.size):
            weight[h] = math.exp(weight[h] - peak)
            total += weight[h]
        read[first:last] = np.float32(0.0)
        for h in range(clicked.size):
            share = weight[h] / total
            value = memory[clicked[h]]
            for j in range(first, last):
                read[j] += share * value[width + j]


@njit(cache=True)
def _check(t, user, page, history, items, visitor):
    """Refuse what would read outside the tables."""
    n_pages = len(items)
    if not (len(user) == len(page) == len(history) == len(visitor) == n_pages):
        raise ValueError("'observations' and 'keys' must hold equally many pages. Got different numbers.")
    dim, context = user.shape[1], 2 * page.shape[1] + 2
    fits = history.shape[1] >= t.past and not (t.use_mf and dim != len(t.taste_attributes))
    if not fits or (t.gated and context != len(t.gate)) or (t.use_transformer and dim + context != len(t.reader)):
        raise ValueError("'observations' must hold rows as long as `begin` was told in `spaces`. Got other lengths.")
    for item in items.flat:
        if item < 0 or item >= len(t.row):
            raise IndexError("'observations['candidates']' must hold ids of items. Got one outside [0, N).")
    for item in history.flat:
        if item >= len(t.row):
            raise IndexError("'observations['history']' must hold ids of items, or -1. Got one outside [-1, N).")
    for one in visitor:
        if one < 0 or one >= len(t.familiarity):
            raise IndexError("'keys.user_id' must hold ids of visitors. Got one outside [0, U).")


@njit(cache=True, fastmath=SUMS)
def _scores(t, user, page, history, items, visitor, result):
    """Fill `result` (B, M) from user (B, D), page (B, P), history (B, >= H), items (B, M) and visitor (B,)."""
    _check(t, user, page, history, items, visitor)
    one = np.float32(1.0)
    n_items, width = len(t.row), (t.row.shape[1] - 1) // (int(t.use_mf) + int(t.use_transformer) or 1)
    dim, n_page = user.shape[1], page.shape[1]
    context = np.empty(dim + 2 * n_page + 2, dtype=np.float32)
    clicked = np.empty(t.past, dtype=np.int64)
    place, weight = np.empty(t.past, dtype=np.float32), np.empty(t.past, dtype=np.float32)
    x, normed, query, read = np.empty((4, width), dtype=np.float32)
    hidden = np.empty(t.up_shift.shape[1], dtype=np.float32)
    vector = np.empty(t.row.shape[1], dtype=np.float32)
    for b in range(len(items)):
        empty = 0
        for h in range(t.past):
            clicked[h] = history[b, history.shape[1] - t.past + h]
            if clicked[h] < 0:
                clicked[h] = n_items
                empty += 1
        context[:dim] = user[b]
        for j in range(n_page):
            context[dim + j] = page[b, j]
            context[dim + n_page + j] = one if page[b, j] > 0 else np.float32(0.0)
        context[-2] = t.familiarity[visitor[b], 0]
        context[-1] = one - np.float32(empty) / np.float32(t.past)
        gate = one
        if t.gated:
            gate = np.float32(2.0) / (one + math.exp(-(_dot(context[dim:], t.gate[:, 0]) + t.gate_shift[0])))
        vector[0] = one
        if t.use_mf:
            taste = vector[1 : 1 + width]
            taste[:] = t.taste_free[visitor[b]]
            _add_product(t.user_factors[visitor[b]], t.taste_user, taste)
            _add_product(user[b], t.taste_attributes, taste)
            taste *= gate
        if t.use_transformer:
            x[:] = t.reader_shift
            _add_product(context, t.reader, x)
            for layer in range(len(t.memory)):
                _normalise(x, t.gain[layer, 0], normed)
                query[:] = np.float32(0.0)
                _add_product(normed, t.query[layer], query)
                place[:] = np.float32(0.0)
                _add_product(query, t.position[layer], place)
                _attend(query, place, t.memory[layer], clicked, t.heads, weight, read)
                _add_product(read, t.out[layer], x)
                _normalise(x, t.gain[layer, 1], normed)
                hidden[:] = t.up_shift[layer]
                _add_product(normed, t.up[layer], hidden)
                for j in range(hidden.size):
                    hidden[j] = max(hidden[j], np.float32(0.0))
                _add_product(hidden, t.down[layer], x)
            _normalise(x, t.head_gain, normed)
            visit = vector[vector.size - width :]
            visit[:] = np.float32(0.0)
            _add_product(normed, t.head, visit)
            visit *= np.float32(2.0) - gate
        for m in range(items.shape[1]):
            result[b, m] = _dot(vector, t.row[items[b, m]])
