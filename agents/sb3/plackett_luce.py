"""A distribution over slates: ranking K of M candidates by drawing one after the other without replacement."""

from __future__ import annotations

import torch
from stable_baselines3.common.distributions import Distribution
from torch import nn

GONE = -1e9  # the score of a candidate that was already drawn: finite, so that gradients stay finite too


class PlackettLuce(Distribution):
    """Plackett-Luce over ordered slates, as an action distribution for stable-baselines3.

    P(a | s) = prod_k exp(s_{a_k}) / sum_{j not in a_<k} exp(s_j)   (Plackett 1975, eq. 1; Luce 1959).
    A sample is the top K of scores + Gumbel noise, best first (Yellott 1977; Kool et al. 2019, "Stochastic beams and
    where to find them", sec. 2).
    """

    scores: torch.Tensor  # (B, M) float: one score per candidate; only differences within a row matter

    def __init__(self, slate_size: int) -> None:
        super().__init__()
        self.slate_size = slate_size
        self.path: torch.Tensor | None = None

    def proba_distribution_net(self) -> nn.Module:  # type: ignore[override]
        """The policy hands over scores as they are."""
        return nn.Identity()

    def proba_distribution(self, scores: torch.Tensor) -> PlackettLuce:  # type: ignore[override]
        """Set the scores, (B, M)."""
        self.scores, self.path = scores, None
        return self

    def slot_log_prob(self, slates: torch.Tensor) -> torch.Tensor:
        """(B, K): log P(a_k | a_<k) of each slot; -inf where a slot repeats an earlier one.

        The denominators are summed from the last slot to the first, starting with the candidates never drawn,
        so that nothing is subtracted and K slots cost one pass.
        """
        slates = slates.long()
        repeat = (slates[:, :, None] == slates[:, None, :]).tril(-1).any(dim=2)
        chosen = self.scores.gather(1, slates)
        left = self.scores.scatter(1, slates, GONE).logsumexp(dim=1, keepdim=True)
        backwards = chosen.masked_fill(repeat, GONE).flip(1)
        remaining = torch.cat([left, backwards], dim=1).logcumsumexp(dim=1)[:, 1:].flip(1)
        return (chosen - remaining).masked_fill(repeat, -torch.inf)

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """(B,): log-probability of whole slates (B, K), along which `entropy` is estimated next."""
        self.path = actions
        return self.slot_log_prob(actions).sum(dim=1)

    def slot_entropy(self, slates: torch.Tensor) -> torch.Tensor:
        """(B, K): entropy, in nats, of each slot's draw given the slots before it."""
        left, parts = self.scores, []
        for slot in slates.long().unbind(dim=1):
            log_p = left.log_softmax(dim=1)
            parts.append(-(log_p.exp() * log_p).sum(dim=1))
            left = left.scatter(1, slot[:, None], GONE)
        return torch.stack(parts, dim=1)

    def entropy(self) -> torch.Tensor:
        """(B,): an estimate of the slate's entropy, in nats: the slots' entropies along the slates of `log_prob`.

        H(a) = sum_k E[H(a_k | a_<k)] (chain rule; Cover and Thomas 2006, eq. 2.48), so that it is unbiased where the
        slates were drawn from this distribution. It has no closed form, and the fallback of stable-baselines3, the
        mean of -log p of the samples, has a gradient of mean zero on-policy: it would not keep a policy open.
        """
        return self.slot_entropy(self.sample() if self.path is None else self.path).sum(dim=1)

    def sample(self) -> torch.Tensor:
        """(B, K) int64: Gumbel top-K with PyTorch's global generator."""
        return self.sample_with(torch.empty_like(self.scores).exponential_())

    def sample_with(self, exponentials: torch.Tensor) -> torch.Tensor:
        """(B, K) int64: the same with given draws of Exp(1), (B, M); -log of one is a Gumbel draw."""
        return (self.scores - exponentials.log()).topk(self.slate_size, dim=1).indices

    def mode(self) -> torch.Tensor:
        """(B, K) int64: the most likely slate, candidates by falling score."""
        return self.scores.topk(self.slate_size, dim=1).indices

    def actions_from_params(self, scores: torch.Tensor, deterministic: bool = False) -> torch.Tensor:  # type: ignore[override]
        return self.proba_distribution(scores).get_actions(deterministic=deterministic)

    def log_prob_from_params(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        slates = self.actions_from_params(scores)
        return slates, self.log_prob(slates)
