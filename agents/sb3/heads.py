"""What stands behind `CandidateScorer` in each learner: from its M scores and its state vector to what is asked for."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

SHARPNESS = 5.0  # how far apart scores must be for the higher one to be taken as shown and the lower as not
START = -2.0  # logit of what a candidate is worth before anything is learned: 12 % of its slot's gain


class KeepsIds(BaseModel):
    """Hands observations to the extractor as they are; stable-baselines3 would cast every Box to float32."""

    def extract_features(self, obs: PyTorchObs, features_extractor: nn.Module | None = None) -> Any:  # type: ignore[override]
        extractor = features_extractor or self.features_extractor
        assert extractor is not None
        return extractor(obs)


class Parted(nn.Module):
    """Takes the extractor's output apart: scores (B, M) for the actor, the state vector for the critic."""

    def __init__(self, n_candidates: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, : self.n_candidates]

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, self.n_candidates :]


class StateHead(nn.Module):
    """(B, outputs) from the state vector alone."""

    def __init__(self, n_candidates: int, width: int, outputs: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates
        self.net = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.net(features[:, self.n_candidates :])
        return result


class ScoreHead(nn.Module):
    """(B, M): the candidates' scores as they are."""

    def __init__(self, n_candidates: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, : self.n_candidates]


class ItemValues(nn.Module):
    """(B, M): the value of showing each candidate, its score + the state's level (Wang et al. 2016, dueling)."""

    def __init__(self, n_candidates: int, width: int) -> None:
        super().__init__()
        self.n_candidates, self.level = n_candidates, nn.Linear(width, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features[:, : self.n_candidates] + self.level(features[:, self.n_candidates :])
        return result


class ItemQuantiles(nn.Module):
    """(B, quantiles x M): quantiles of the value of showing each candidate.

    Quantile q of candidate j is ``score_j (1 + slope_q) + level_q``, with slopes and levels from the state: what is
    spread differently between pages is told by the state, between candidates of a page by their scores.
    """

    def __init__(self, n_candidates: int, width: int, quantiles: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates
        self.level, self.slope = nn.Linear(width, quantiles), nn.Linear(width, quantiles)
        nn.init.zeros_(self.slope.weight)
        nn.init.zeros_(self.slope.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scores, state = features[:, None, : self.n_candidates], features[:, self.n_candidates :]
        return (scores * (1.0 + self.slope(state))[:, :, None] + self.level(state)[:, :, None]).flatten(1)


class EvenSpread(nn.Module):
    """(B, outputs): one log standard deviation for all scores of a page, from its state."""

    def __init__(self, n_candidates: int, width: int, outputs: int) -> None:
        super().__init__()
        self.n_candidates, self.outputs, self.spread = n_candidates, outputs, nn.Linear(width, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.spread(features[:, self.n_candidates :]).expand(-1, self.outputs)
        return result


class ScoredValue(nn.Module):
    """(B, 1): the value of the slate that the scores `a` put on top; input: features, then a, (B, M + width + M).

    ``level(state) + sum_k gain_k sum_j P_kj sigmoid(u_j + START)``, over slots k = 1..K; u_j is the extractor's own
    score of candidate j, P_kj the relaxed answer to "is j the k-th of `a`", see `relaxed_ranks`. Every slot counts, as
    it does for the reward: were it the top alone, nothing would teach the actor what to put beneath. A slot is worth
    between nothing and its gain: were it unbounded, errors on slates that the log never shows would feed themselves
    through the bootstrapped target (Fujimoto et al. 2019, arXiv:1812.02900). Blind to the candidates' order.
    """

    def __init__(self, n_candidates: int, width: int, slate_size: int) -> None:
        super().__init__()
        self.n_candidates, self.slate_size = n_candidates, slate_size
        self.level = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.gain = nn.Parameter(torch.ones(slate_size))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        worth, state = inputs[:, : self.n_candidates], inputs[:, self.n_candidates : -self.n_candidates]
        shown = relaxed_ranks(inputs[:, -self.n_candidates :], self.slate_size)
        slots = (shown * torch.sigmoid(worth + START)[:, None]).sum(dim=2)
        result: torch.Tensor = self.level(state) + (slots @ self.gain)[:, None]
        return result


def relaxed_ranks(scores: torch.Tensor, k: int, sharpness: float = SHARPNESS) -> torch.Tensor:
    """(B, K, M): row k is a distribution over M that tends to the k-th highest of `scores` (B, M) with `sharpness`.

    softmax_j(sharpness ((M + 1 - 2k) s_j - sum_i |s_j - s_i|)), NeuralSort: Grover et al. 2019 (arXiv:1903.08850), eq.
    5, whose temperature is 1 / sharpness.
    """
    slope = scores.shape[1] + 1 - 2 * torch.arange(1, k + 1, dtype=scores.dtype)
    return (sharpness * (slope[:, None] * scores[:, None, :] - _apart(scores)[:, None, :])).softmax(dim=2)


def _apart(scores: torch.Tensor) -> torch.Tensor:
    """(B, M): sum_i |s_j - s_i|, from sums over the sorted scores instead of M^2 differences."""
    ordered, place = scores.sort(dim=1)
    m, up_to = scores.shape[1], ordered.cumsum(dim=1)
    sums = (2 * torch.arange(1, m + 1) - m) * ordered + up_to[:, -1:] - 2 * up_to
    return torch.empty_like(sums).scatter(1, place, sums)


class ProtoValue(nn.Module):
    """(B, 1): the value of a proto-action; input: features of the state, then the action."""

    def __init__(self, n_candidates: int, width: int, outputs: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates
        self.net = nn.Sequential(
            nn.Linear(width + outputs, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.net(inputs[:, self.n_candidates :])
        return result
