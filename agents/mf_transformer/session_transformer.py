"""The session transformer: a reader token that knows the page attends over the last clicked items."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from perennial.agents.mf_transformer.parameters import Weight

MLP_FACTOR = 2


def layout(width: int, layers: int, history: int, context: int) -> dict[str, Weight]:
    """The weights: the reader's start, `layers` blocks and the head; a page is described by `context` numbers."""
    spread = 1 / math.sqrt(width)
    weights = {
        "token.gain": Weight((width,), mean=1.0),
        "token.shift": Weight((width,)),
        "reader.weight": Weight((context, width), 1 / math.sqrt(context), decay=True),
        "reader.shift": Weight((width,)),
    }
    for layer in range(layers):
        weights |= {
            f"block{layer}.gain": Weight((2, width), mean=1.0),
            f"block{layer}.query": Weight((width, width), spread, decay=True),
            f"block{layer}.position": Weight((width, history), 0.1),
            f"block{layer}.key_value": Weight((width, 2 * width), spread, decay=True),
            f"block{layer}.nothing": Weight((2 * width,)),
            f"block{layer}.out": Weight((width, width), spread, decay=True),
            f"block{layer}.up": Weight((width, MLP_FACTOR * width), spread, decay=True),
            f"block{layer}.up_shift": Weight((MLP_FACTOR * width,)),
            f"block{layer}.down": Weight((MLP_FACTOR * width, width), spread / MLP_FACTOR, decay=True),
        }
    return weights | {"head.gain": Weight((width,), mean=1.0), "head.weight": Weight((width, width), 0.1 * spread)}


def memories(w: Mapping[str, Tensor], item_vectors: Tensor, layers: int) -> list[Tensor]:
    """Per block (N + 1, 2 width): key and value of every item as a clicked one; the last row stands for "no item"."""
    tokens = F.layer_norm(item_vectors, item_vectors.shape[1:], w["token.gain"], w["token.shift"])
    return [
        torch.cat([tokens @ w[f"block{layer}.key_value"], w[f"block{layer}.nothing"][None]]) for layer in range(layers)
    ]


def read(w: Mapping[str, Tensor], memory: list[Tensor], history: Tensor, context: Tensor, own: Tensor) -> Tensor:
    """(B, width): the visit's vector, to be multiplied with item vectors.

    `memory` as from `memories`; `history` (B, H) int64, newest last, N = none; `context` (B, X); `own` as from
    `own_columns`. Pre-norm blocks (Xiong et al. 2020) of attention (Vaswani et al. 2017) and a two-layer network. Only
    the reader is passed on from block to block (Jaegle et al. 2021): clicked items do not attend to each other, so that
    their keys and values are tables, made once per set of weights.
    """
    x = torch.addmm(w["reader.shift"], context, w["reader.weight"])
    for layer, table in enumerate(memory):
        x = x + _attend(w, layer, x, F.embedding(history, table), own)
        normed = F.layer_norm(x, x.shape[1:], w[f"block{layer}.gain"][1])
        hidden = torch.relu(torch.addmm(w[f"block{layer}.up_shift"], normed, w[f"block{layer}.up"]))
        x = x + hidden @ w[f"block{layer}.down"]
    return F.layer_norm(x, x.shape[1:], w["head.gain"]) @ w["head.weight"]


def _attend(w: Mapping[str, Tensor], layer: int, x: Tensor, clicked: Tensor, own: Tensor) -> Tensor:
    """(B, width): what the readers `x` (B, width) take from `clicked` (B, H, 2 width), keys and values.

    Every head has a query that is zero outside its own columns: one plain product serves all heads. To each logit comes
    a bias for the place in the history, which depends on the reader (Shaw et al. 2018, the reader standing at the end).
    """
    width, heads = own.shape
    key, value = clicked.split(width, dim=2)
    query = F.layer_norm(x, (width,), w[f"block{layer}.gain"][0]) @ w[f"block{layer}.query"]
    place = (query @ w[f"block{layer}.position"])[:, :, None]
    weight = torch.softmax(torch.baddbmm(place, key, query[:, :, None] * own) / math.sqrt(width // heads), dim=1)
    read = torch.bmm(weight.transpose(1, 2), value)
    return (read * own.T).sum(dim=1) @ w[f"block{layer}.out"]


def own_columns(width: int, heads: int) -> Tensor:
    """(width, heads): 1 where a column belongs to a head, else 0."""
    return torch.eye(heads).repeat_interleave(width // heads, dim=0)
