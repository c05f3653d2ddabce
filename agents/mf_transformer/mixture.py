"""The click model: an item's own pull, a taste part from matrix factorisation and a visit part, mixed by a gate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from perennial.agents.base import Items, Spaces
from perennial.agents.mf_transformer import session_transformer
from perennial.agents.mf_transformer.parameters import Weight


@dataclass(frozen=True)
class Shape:
    """What the model is made of: its parts and their sizes."""

    factors: int
    width: int
    layers: int
    heads: int
    history: int
    use_mf: bool
    use_transformer: bool
    use_gate: bool
    use_reward: bool = False

    @property
    def gated(self) -> bool:
        """Whether there are two parts and a gate to weigh them."""
        return self.use_mf and self.use_transformer and self.use_gate


@dataclass(frozen=True)
class Pages:
    """A batch of B pages as tensors.

    ``user`` (B, D) and ``context`` (B, X): the visitor's attributes; the page's numbers, their signs, log of one plus
    the visitor's remembered clicks, share of the history that is filled. ``history`` (B, H) int64 ids, N = none.
    ``factors`` (B, f) of the visitors, ``visitor`` (B,) int64 their ids. ``items`` (B, S) ids to be scored.
    """

    user: Tensor
    context: Tensor
    history: Tensor
    factors: Tensor
    visitor: Tensor
    items: Tensor

    def take(self, rows: Tensor) -> Pages:
        """The pages numbered `rows`."""
        return Pages(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class ItemTable:
    """What scoring needs of all N items: ``row`` (N, R), the numbers a visitor's vector is multiplied with, the
    transformer's ``memory``, per block (N + 1, 2 width), and ``worth`` (N, R), the row of the reward head, if any."""

    row: Tensor
    memory: list[Tensor]
    worth: Tensor | None = None


def context_size(spaces: Spaces) -> int:
    """Number of columns of `Pages.context`."""
    return 2 * spaces.page_dim + 2


def layout(shape: Shape, spaces: Spaces, n_inputs: int) -> dict[str, Weight]:
    """All weights of the model, for items described by `n_inputs` numbers each."""
    width, context = shape.width, context_size(spaces)
    weights = {
        "item.inputs": Weight((n_inputs, width), 0.3 / math.sqrt(n_inputs)),
        "item.category": Weight((spaces.n_categories, width), 0.3),
        "item.free": Weight((spaces.n_items, width), decay=True),
        "bias.inputs": Weight((n_inputs,)),
        "bias.category": Weight((spaces.n_categories,), rate=3.0),
        "bias.free": Weight((spaces.n_items,), decay=True),
        "bias.slot": Weight((spaces.slate_size,)),
        "bias.constant": Weight((1,), mean=-2.0),
    }
    if shape.use_mf:
        weights |= {
            "taste.user": Weight((shape.factors, width), 1 / math.sqrt(shape.factors), decay=True),
            "taste.item": Weight((shape.factors, width), 1 / math.sqrt(shape.factors), decay=True),
            "taste.free": Weight((spaces.n_users, width), decay=True),
            "taste.attributes": Weight((spaces.user_dim, width), 0.1 / math.sqrt(spaces.user_dim), decay=True),
        }
    if shape.use_transformer:
        weights |= session_transformer.layout(width, shape.layers, shape.history, spaces.user_dim + context)
    if shape.gated:
        weights |= {"gate.weight": Weight((context, 1)), "gate.shift": Weight((1,))}
    if shape.use_reward:
        weights |= {
            "worth.inputs": Weight((n_inputs,)),
            "worth.category": Weight((spaces.n_categories,), rate=3.0),
            "worth.constant": Weight((1,), mean=1.0, rate=3.0),
            "worth.scale": Weight((width * (shape.use_mf + shape.use_transformer),), decay=True),
        }
    return weights


def item_inputs(items: Items) -> NDArray[np.float32]:
    """float32 (N, F + 1): features and log price, each column with mean 0 and variance 1 over the catalogue."""
    columns = np.concatenate([items["features"], np.log(items["price"])[:, None]], axis=1).astype(np.float64)
    spread = columns.std(axis=0)
    return ((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)


class Mixture:
    """Scores (logits of a click) of items on pages: <visitor's vector, item's row>. Holds no weights.

    score(i) = bias_i + 2 g <taste, vector_i + own_i> + 2 (1 - g) <visit, vector_i>, with g in (0, 1) from the context.
    `vector_i` and `bias_i` are linear in features, log price and category, plus a free part that starts at zero;
    `own_i` is linear in the item's factors; `taste` in the visitor's factors and attributes, plus such a free part.

    The reward head, if there is one, says what a click is worth: linear in features, log price and category, plus the
    same products of visitor and item as the score, each number weighed anew; it starts at 1 for every click.
    """

    def __init__(self, shape: Shape, items: Items) -> None:
        self.shape = shape
        self.inputs = torch.from_numpy(item_inputs(items))
        self._own = session_transformer.own_columns(shape.width, shape.heads)
        self.category = torch.from_numpy(items["category"].astype(np.int64))

    def item_table(self, w: Mapping[str, Tensor], item_factors: Tensor) -> ItemTable:
        """The items' side of the score; `item_factors` (N, f)."""
        vector = self.inputs @ w["item.inputs"] + w["item.category"][self.category] + w["item.free"]
        bias = self.inputs @ w["bias.inputs"] + w["bias.category"][self.category] + w["bias.free"] + w["bias.constant"]
        parts, memory = [bias[:, None]], []
        if self.shape.use_mf:
            parts.append(torch.addmm(vector, item_factors, w["taste.item"]))
        if self.shape.use_transformer:
            parts.append(vector)
            memory = session_transformer.memories(w, vector, self.shape.layers)
        row = torch.cat(parts, dim=1)
        return ItemTable(row, memory, self._worth_row(w, row) if self.shape.use_reward else None)

    def _worth_row(self, w: Mapping[str, Tensor], row: Tensor) -> Tensor:
        """(N, R): what a visitor's vector is multiplied with to say what a click is worth."""
        own = self.inputs @ w["worth.inputs"] + w["worth.category"][self.category] + w["worth.constant"]
        return torch.cat([own[:, None], row[:, 1:] * w["worth.scale"]], dim=1)

    def scores(self, w: Mapping[str, Tensor], table: ItemTable, pages: Pages) -> Tensor:
        """(B, S): logit of a click for each of `pages.items`, before the slot is known."""
        return _product(table.row, pages, self._visitor(w, table, pages))

    def scores_and_worths(self, w: Mapping[str, Tensor], table: ItemTable, pages: Pages) -> tuple[Tensor, Tensor]:
        """(B, S) each: logit of a click, and what a click is worth in reward."""
        assert table.worth is not None
        visitor = self._visitor(w, table, pages)
        return _product(table.row, pages, visitor), _product(table.worth, pages, visitor)

    def _visitor(self, w: Mapping[str, Tensor], table: ItemTable, pages: Pages) -> Tensor:
        """(B, R): what is multiplied with the items' rows."""
        parts = [torch.ones(len(pages.user), 1)]
        gate = 2 * self.gate(w, pages) if self.shape.gated else torch.ones(1)
        if self.shape.use_mf:
            parts.append(gate * self._taste(w, pages))
        if self.shape.use_transformer:
            context = torch.cat([pages.user, pages.context], dim=1)
            visit = session_transformer.read(w, table.memory, pages.history, context, self._own)
            parts.append((2 - gate) * visit)
        return torch.cat(parts, dim=1)

    def _taste(self, w: Mapping[str, Tensor], pages: Pages) -> Tensor:
        """(B, width): the visitor's taste: from factors, from attributes, and a free part that starts at zero."""
        own = torch.addmm(F.embedding(pages.visitor, w["taste.free"]), pages.factors, w["taste.user"])
        return torch.addmm(own, pages.user, w["taste.attributes"])

    def gate(self, w: Mapping[str, Tensor], pages: Pages) -> Tensor:
        """(B, 1) in (0, 1): weight of the taste part against the visit part."""
        return torch.sigmoid(torch.addmm(w["gate.shift"], pages.context, w["gate.weight"]))


def _product(row: Tensor, pages: Pages, visitor: Tensor) -> Tensor:
    """(B, S): each visitor's vector times the rows of the page's items."""
    return (F.embedding(pages.items, row) * visitor[:, None]).sum(dim=2)
