"""From a page's observations to one score per candidate and a state vector, with item ids embedded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor
from torch import nn

from perennial.agents.base import Items

EXACT = 2**24  # items up to which float32 holds every id

VECTORS = ("user", "page", "calendar", "notice")  # the observations that are plain float vectors


class ItemTable(nn.Module):
    """A vector and a bias for every item: a linear view of features and price + its category's + a free one per id.

    The free ones start at zero and move `id_scale` times as fast as the rest: with some dozen impressions per item
    and round, what can be said of a single item is mostly noise until it has been seen often.
    In evaluation mode the table is the one made when that mode was entered: call ``eval()`` again after a change, or
    set `keeps` to False where weights move while in that mode, as those of target networks do.
    """

    keeps = True

    category: torch.Tensor  # (N,) int64
    described: torch.Tensor  # (N, F + 1) float32, standardised features and log price

    def __init__(self, items: Items, width: int, id_scale: float) -> None:
        super().__init__()
        table = np.column_stack([items["features"], np.log(items["price"])]).astype(np.float64)
        table = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-6)
        self.width, self.id_scale = width, id_scale
        self.register_buffer("described", torch.tensor(table, dtype=torch.float32), persistent=False)
        self.register_buffer("category", torch.tensor(items["category"], dtype=torch.int64), persistent=False)
        self.view = nn.Linear(table.shape[1], width + 1)
        self.by_category = nn.Embedding(int(items["category"].max()) + 1, width + 1)
        self.by_id = nn.Embedding(len(table), width + 1)
        self.kept: torch.Tensor | None = None
        self._start_without_biases()

    def _start_without_biases(self) -> None:
        nn.init.normal_(self.by_category.weight, std=0.5)
        nn.init.zeros_(self.by_id.weight)
        with torch.no_grad():
            for weight in (self.by_category.weight[:, -1], self.view.weight[-1], self.view.bias[-1]):
                weight.zero_()

    def forward(self) -> torch.Tensor:
        """(N, width + 1) float32: vectors, then biases."""
        if self.kept is not None:
            return self.kept
        return self.view(self.described) + self.by_category(self.category) + self.id_scale * self.by_id.weight

    def train(self, mode: bool = True) -> ItemTable:
        super().train(mode)
        self.kept = None
        if not mode and self.keeps:
            self.kept = self.forward().detach()
        return self


def ids(given: torch.Tensor, n_items: int) -> torch.Tensor:
    """Item ids as integers, for stable-baselines3's own policies too, which hand every Box over as float32."""
    if not given.is_floating_point():
        return given
    if n_items > EXACT:
        raise ValueError(
            f"'observations' must hold integer ids where there are more than {EXACT} items. Got {given.dtype} for "
            f"{n_items} items, which tells ids from their neighbours no more: use the policies of perennial.agents.sb3."
        )
    return given.long()


class CandidateScorer(BaseFeaturesExtractor):
    """Scores s_j = <item_j, query(state)> / sqrt(d) + bias_j + <match_j, weights(page)>, and a vector for the critic.

    The state is user, page, calendar, notice, the mean of the clicked items and the last of them. `match_j` says
    whether item j shares the last click's category, and how much of the history does.
    Returns (B, M + width): the scores first, then the state vector; `SlatePolicy` parts them again.
    """

    def __init__(
        self, observation_space: spaces.Dict, items: Items, embedding: int = 16, width: int = 64, id_scale: float = 0.3
    ) -> None:
        shapes = {name: space.shape or () for name, space in observation_space.spaces.items()}
        self.n_candidates = shapes["candidates"][0]
        super().__init__(observation_space, features_dim=self.n_candidates + width)
        self.vectors = [name for name in VECTORS if name in shapes]
        size = sum(shapes[name][0] for name in self.vectors) + 2 * embedding
        self.items = ItemTable(items, embedding, id_scale)
        self.match = nn.Linear(shapes["page"][0], 2)
        for weight in (self.match.weight, self.match.bias):
            nn.init.zeros_(weight)
        self._build_state(size, embedding, width)

    def _build_state(self, size: int, embedding: int, width: int) -> None:
        """What reads the raw state, (B, size)."""
        last = nn.Linear(width, embedding)
        self.query = nn.Sequential(nn.Linear(size, width), nn.Tanh(), last)
        self.state = nn.Sequential(nn.Linear(size, width), nn.Tanh())
        nn.init.orthogonal_(last.weight, gain=0.01)  # every candidate starts with about the same score
        nn.init.zeros_(last.bias)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        table = self.items()
        candidates, history = (ids(observations[name], len(table)) for name in ("candidates", "history"))
        known = (history >= 0).float()[:, :, None]
        clicked = history.clamp(min=0)
        parts = [*(observations[name] for name in self.vectors), *self._memory(table, clicked, known)]
        vectors = nn.functional.embedding(candidates, table)
        matches = self._matches(candidates, clicked, known)
        fit = (matches * self.match(observations["page"])[:, None]).sum(dim=2)
        return self._scored(torch.cat(parts + self._more(table, observations), dim=1), vectors, fit)

    def _more(self, table: torch.Tensor, observations: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Further parts of the state, (B, ...) each."""
        return []

    def _scored(self, state: torch.Tensor, vectors: torch.Tensor, fit: torch.Tensor) -> torch.Tensor:
        """The output, from raw state (B, S), candidates' vectors and biases (B, M, d + 1), matches (B, M)."""
        query = nn.functional.pad(self.query(state) / self.items.width**0.5, (0, 1), value=1.0)
        scores = (vectors * query[:, None]).sum(dim=2) + fit
        return torch.cat([scores, self.state(state)], dim=1)

    @staticmethod
    @torch.no_grad()
    def _memory(table: torch.Tensor, clicked: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean (B, d) of the clicked items and the newest (B, d), zeros without; items learn as candidates only."""
        vectors = nn.functional.embedding(clicked, table)[:, :, :-1] * known
        return vectors.sum(dim=1) / known.sum(dim=1).clamp(min=1.0), vectors[:, -1]

    @torch.no_grad()
    def _matches(self, candidates: torch.Tensor, clicked: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(B, M, 2) float32: 1 where the last click's category is the candidate's, share of the history in it."""
        wanted, had = self.items.category[candidates], self.items.category[clicked]
        counts = known.new_zeros(len(had), self.items.by_category.num_embeddings).scatter_add_(1, had, known[:, :, 0])
        last = (wanted == had[:, -1:]) * known[:, -1]
        return torch.stack([last, counts.gather(1, wanted) / clicked.shape[1]], dim=2)


class SequenceScorer(CandidateScorer):
    """The same for a policy with an LSTM, which reads the state and, from what it remembers, asks for items.

    Returns (B, width + M + M d): the state vector for the LSTM; then, past it, each candidate's bias + match and each
    candidate's vector. `features_dim` is `width`, the LSTM's share.

    Where the observations tell of the page before (``shown`` ids and their ``outcome``, see `MetaRl`), the state holds
    the mean vectors of what was shown and of what was clicked, the share clicked, and whether there was such a page.
    """

    def __init__(self, observation_space: spaces.Dict, items: Items, **sizes: Any) -> None:
        self.tells = "shown" in observation_space.spaces
        super().__init__(observation_space, items, **sizes)

    def _build_state(self, size: int, embedding: int, width: int) -> None:
        self._features_dim = int(width)  # recurrent policies need a plain int
        self.state = nn.Sequential(nn.Linear(size + self.tells * (2 * embedding + 2), width), nn.Tanh())

    @torch.no_grad()
    def _more(self, table: torch.Tensor, observations: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        if not self.tells:
            return []
        shown, outcome = ids(observations["shown"], len(table)), observations["outcome"][:, :, None].float()
        there = (shown >= 0).float()[:, :, None]
        vectors = nn.functional.embedding(shown.clamp(min=0), table)[:, :, :-1] * there
        return [vectors.mean(dim=1), (vectors * outcome).mean(dim=1), outcome.mean(dim=1), there.mean(dim=1)]

    def _scored(self, state: torch.Tensor, vectors: torch.Tensor, fit: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.state(state), fit + vectors[:, :, -1], vectors[:, :, :-1].flatten(1)], dim=1)


class WholeCombinedExtractor(CombinedExtractor):
    """`CombinedExtractor` whose `features_dim` is a plain int.

    With a MultiDiscrete inside a Dict it is a NumPy integer, at which sb3-contrib's recurrent policies crash. For
    environments other than ours: ``policy_kwargs={"features_extractor_class": WholeCombinedExtractor}``.
    """

    def __init__(self, observation_space: spaces.Dict, **options: Any) -> None:
        super().__init__(observation_space, **options)
        self._features_dim = int(self._features_dim)


def scorer_options(
    items: Items, embedding: int, width: int, id_scale: float, scorer: type[CandidateScorer] = CandidateScorer
) -> dict[str, Any]:
    """The keywords by which any policy of stable-baselines3 takes `CandidateScorer` as its extractor."""
    sizes = {"items": items, "embedding": embedding, "width": width, "id_scale": id_scale}
    return {"features_extractor_class": scorer, "features_extractor_kwargs": sizes}
