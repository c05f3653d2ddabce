"""What SlateQ knows: for each item on a page the logit of its choice and its worth, and the worth of choosing none."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from perennial.agents.mf_transformer.parameters import Weight

Weights = Mapping[str, Tensor]
CHOICE, WORTH = 0, 1  # the two columns of what an item gets


def layout(pairs: int, state: int, items: int, slate_size: int, width: int, embedding: int) -> dict[str, Weight]:
    """All weights, for pages and items described by `pairs` numbers together and pages by `state` numbers."""
    return {
        "pair.weight": Weight((pairs, width), 1 / math.sqrt(pairs), decay=True),
        "pair.shift": Weight((width,)),
        "pair.out": Weight((width, 2), 0.1 / math.sqrt(width), decay=True),
        "constant": Weight((2,)),
        "item.bias": Weight((items, 2), decay=True),
        "item.free": Weight((items, embedding), decay=True),
        "state.weight": Weight((state, 2 * embedding), 1 / math.sqrt(state), decay=True),
        "slot": Weight((slate_size - 1,)),
        "nothing.direct": Weight((state, 1), decay=True),
        "nothing.weight": Weight((state, width), 1 / math.sqrt(state), decay=True),
        "nothing.shift": Weight((width,)),
        "nothing.out": Weight((width, 1), 0.1 / math.sqrt(width), decay=True),
        "nothing.constant": Weight((1,)),
    }


def of_items(w: Weights, pairs: Tensor, state: Tensor, items: Tensor) -> Tensor:
    """(B, S, 2): logit of a choice in the first slot, and worth of one, of each of S items on B pages.

    One hidden layer over the pair's features, plus a part of each item's own that starts at zero and is linear in the
    page: with a one-hot state it can hold any table. `pairs` (B, S, F), `state` (B, X), `items` (B, S) ids.
    """
    hidden = torch.relu(pairs @ w["pair.weight"] + w["pair.shift"])
    query = (state @ w["state.weight"]).view(len(state), 2, -1)
    free = F.embedding(items, w["item.free"]) @ query.transpose(1, 2)
    return hidden @ w["pair.out"] + free + F.embedding(items, w["item.bias"]) + w["constant"]


def of_nothing(w: Weights, state: Tensor) -> Tensor:
    """(B,): worth of a page from which nothing is chosen; `state` (B, X)."""
    hidden = torch.relu(state @ w["nothing.weight"] + w["nothing.shift"])
    return (hidden @ w["nothing.out"] + state @ w["nothing.direct"] + w["nothing.constant"])[:, 0]


def loss(w: Weights, pairs: Tensor, state: Tensor, items: Tensor, choices: Tensor, targets: Tensor) -> Tensor:
    """Mean over pages of the choices' negative log-likelihood plus their squared temporal errors, halved.

    `items` (B, K): the slates shown. `choices` (B, K + 1): how often each slot, or at the end nothing, was chosen.
    `targets` (B, K + 1): worth of each of these choices. Slots after the first have a bias of their own.
    """
    both = of_items(w, pairs, state, items)
    slots = F.pad(w["slot"], (1, 0))
    logits = F.pad(both[..., CHOICE] + slots, (0, 1))  # choosing nothing has logit 0
    worth = torch.cat([both[..., WORTH], of_nothing(w, state)[:, None]], dim=1)
    surprise = -torch.log_softmax(logits, dim=1)
    return (choices * (surprise + 0.5 * (worth - targets) ** 2)).sum(dim=1).mean()
