"""On-policy learners as agents: only pages that the current policy served itself teach, with what it stored then."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from perennial.agents.base import Decision, Feedback, Keys, Observations
from perennial.agents.sb3 import checkpoint, rollouts
from perennial.agents.sb3.agent import Sb3Agent
from perennial.agents.sb3.vec_env import PageVecEnv
from perennial.agents.validation import number, one_of, whole


@dataclass(frozen=True)
class Served:
    """Slates int32 (B, K), their slot propensities (B, K); values and log-probabilities as float (B, V); extras."""

    slates: NDArray[np.int32]
    propensity: NDArray[np.float64]
    value: NDArray[np.float32]
    log_prob: NDArray[np.float32]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)


class OnPolicy(Sb3Agent):
    """A page can be learned from only if the current policy version served it, by its own choice.

    The log-probability, value and (recurrent learners) state stored at serving come back in ``extras``; all other
    pages are dropped and counted. Pages wait until `n_steps` of them, in complete visits, are there; one call of the
    algorithm's own ``train`` follows, and with it a new version.
    """

    buffer_class: ClassVar[type[rollouts.Filled]] = rollouts.VisitBuffer
    more: ClassVar[tuple[str, ...]] = ()  # extras that the buffer needs beside those of every learner
    n_steps: int
    gamma: float
    waiting: rollouts.Pages  # own pages not yet learned from

    def _set_rounds(self, n_steps: Any, gamma: Any) -> None:
        self.n_steps = whole("n_steps", n_steps, 2)
        self.gamma = number("gamma", gamma, 0.0, 1.0)

    def _set_losses(self, learning_rate: Any, gae_lambda: Any, ent_coef: Any, vf_coef: Any, max_grad_norm: Any) -> None:
        self.options = {
            "gamma": self.gamma,
            "learning_rate": number("learning_rate", learning_rate, 0.0, above=True),
            "gae_lambda": number("gae_lambda", gae_lambda, 0.0, 1.0),
            "ent_coef": number("ent_coef", ent_coef, 0.0),
            "vf_coef": number("vf_coef", vf_coef, 0.0),
            "max_grad_norm": number("max_grad_norm", max_grad_norm, 0.0, above=True),
        }

    def _set_clipping(self, batch_size: Any, n_epochs: Any, clip_range: Any) -> None:
        """What all forms of PPO have."""
        self.options |= {
            "batch_size": whole("batch_size", batch_size, 2),
            "n_epochs": whole("n_epochs", n_epochs, 1),
            "clip_range": number("clip_range", clip_range, 0.0, above=True),
        }
        if batch_size > self.n_steps:
            raise ValueError(f"'batch_size' must be at most 'n_steps' = {self.n_steps}. Got {batch_size}: lower it.")

    def _learn_options(self, lanes: PageVecEnv) -> dict[str, Any]:
        return self.options | {"n_steps": max(2, self.n_steps // lanes.num_envs)}

    @property
    def stored(self) -> tuple[str, ...]:
        return (*rollouts.EXTRAS, *self.more)

    @property
    def on_policy(self) -> bool:
        return True

    @abstractmethod
    def _serve(self, observations: Observations, keys: Keys) -> Served:
        """Draw slates from the current policy, with the agent's own generator."""

    def act(self, observations: Observations, keys: Keys) -> Decision:
        with torch.inference_mode():
            served = self._serve(observations, keys)
        extras = {
            "value": served.value,
            "log_prob": served.log_prob,
            "policy_version": np.full(len(keys), self.version, dtype=np.int32),
        }
        return Decision(served.slates, served.propensity, extras | served.extras)

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        """Learn from those pages of the window that the current version served; a log by others teaches nothing.

        ``start="cold"`` forgets the network first, after which no logged page is the policy's own.
        """
        if one_of("start", start, ("warm", "cold")) == "cold":
            self.version += 1
            self._forget()
        return self.update(window)

    def update(self, feedback: Feedback) -> dict[str, float]:
        """Keep the pages that the current version served; once `n_steps` of them are there, train on them.

        Returns ``pages_dropped`` (of other versions, explored, or outdated by this round), ``pages_waiting`` and,
        after a round, ``pages_learned``, ``passes`` over the pages handed over, and what stable-baselines3 recorded.
        """
        new = self._own(feedback)
        dropped = len(feedback) - rollouts.count(new) + (int(new["explored"].sum()) if new else 0)
        self.waiting = rollouts.merge(self.waiting, new)
        figures: dict[str, float] = {}
        if rollouts.count(self.waiting):
            ready, pages = self._ready(self.waiting)
            if int((ready & ~pages["explored"]).sum()) >= self.n_steps:
                dropped += int((~self.waiting["explored"]).sum() - (ready & ~pages["explored"]).sum())
                figures = self._train(rollouts.take(pages, ready))
                self.version, self.waiting = self.version + 1, {}
        passes = getattr(self.model, "n_epochs", 1) * figures.get("pages_learned", 0.0) / max(1, len(feedback))
        waiting = float(rollouts.count(self.waiting))
        return figures | {"pages_dropped": float(dropped), "pages_waiting": waiting, "passes": passes}

    def _own(self, feedback: Feedback) -> rollouts.Pages:
        return rollouts.own_pages(feedback, self.version, self.names, self.more)

    def _ready(self, waiting: rollouts.Pages) -> tuple[NDArray[np.bool_], rollouts.Pages]:
        """(P,) which of the waiting pages a round may use; and the pages, some marked as lending their value only."""
        return rollouts.complete(waiting), waiting

    def _train(self, pages: rollouts.Pages) -> dict[str, float]:
        """One call of `train` on complete visits, in batches of equal size."""
        n, model = int((~pages["explored"]).sum()), self.model
        if "batch_size" in self.options:
            model.batch_size = -(-n // max(1, round(n / self.options["batch_size"])))
        buffer = self._buffer(n, self.gamma ** (1 / pages["value"].shape[1]))
        buffer.fill(pages | {"reward": self.reward_scale * pages["reward"]})
        model.rollout_buffer = buffer
        with self.generators.swapped_in():
            model.train()
        model.policy.set_training_mode(False)
        return self._recorded() | {"pages_learned": float(n)}

    def _buffer(self, n: int, gamma: float, **more: Any) -> Any:
        model = self.model
        sizes = (n, model.observation_space, model.action_space)
        return self.buffer_class(*sizes, device="cpu", gae_lambda=model.gae_lambda, gamma=gamma, **more)

    def _settle(self) -> None:
        super()._settle()
        self.waiting = {}

    def _learned(self) -> dict[str, NDArray[Any]]:
        return checkpoint.prefixed("waiting", self.waiting)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        super().restore(state)
        self.waiting = checkpoint.part("waiting", state)


class SlateRanking(OnPolicy):
    """Serves whole slates from a Plackett-Luce policy, see `SlatePolicy`."""

    @abstractmethod
    def _ranking(self, observations: Observations, keys: Keys) -> tuple[Any, torch.Tensor, dict[str, NDArray[Any]]]:
        """The slate distribution of each page, in float64; the (B, V) values; extras to store."""

    def _serve(self, observations: Observations, keys: Keys) -> Served:
        ranking, values, extras = self._ranking(observations, keys)
        slates = ranking.sample_with(torch.from_numpy(self.rng.standard_exponential(ranking.scores.shape)))
        log_p = ranking.slot_log_prob(slates)
        kept = log_p if values.shape[1] == log_p.shape[1] else log_p.sum(dim=1, keepdim=True)
        return Served(
            slates.numpy().astype(np.int32), log_p.exp().numpy(), values.numpy(), kept.float().numpy(), extras
        )

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        with torch.inference_mode():
            ranking, _, _ = self._ranking(observations, keys)
            propensity: NDArray[np.float64] = ranking.slot_log_prob(torch.as_tensor(slates)).exp().numpy()
        return propensity
