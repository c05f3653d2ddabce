"""PPO of stable-baselines3 over slates: served and taught page by page in the loop, or by `learn` on an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from perennial.agents.base import (
    Agent,
    Decision,
    Feedback,
    Items,
    Keys,
    Observations,
    Spaces,
    generator_state,
    set_generator_state,
)
from perennial.agents.sb3 import checkpoint, rollouts
from perennial.agents.sb3.generators import OwnGenerators
from perennial.agents.sb3.model import page_space, ppo_on_spaces
from perennial.agents.sb3.plackett_luce import PlackettLuce
from perennial.agents.sb3.policy import SlotwisePolicy
from perennial.agents.validation import number, one_of, saved, whole


class Ppo(Agent):
    """Proximal policy optimisation (Schulman et al. 2017) with a Plackett-Luce slate policy.

    On-policy: a page can be learned from only if the current policy version served it, by its own choice, and the
    log-probability and value stored at serving come back in ``extras``. All other pages are dropped and counted.
    Pages wait until `n_steps` of them, in complete visits, are there; one round of `PPO.train` follows. It is taught
    slot by slot (see `SlotwisePolicy`): a page's reward belongs to the slots that earned it.
    """

    def __init__(
        self,
        n_steps: int = 2048,
        batch_size: int = 256,
        n_epochs: int = 2,
        learning_rate: float = 3e-3,
        gamma: float = 0.9,
        gae_lambda: float = 0.5,
        clip_range: float = 0.2,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        reward_scale: float = 0.25,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3 (`gamma` is from page to page, `gae_lambda` from slot to slot), and:

        n_steps: own pages that start a round of training, at least `batch_size`.
        reward_scale: factor on page rewards, so that returns are about 1.
        embedding, width: size of item vectors and of hidden layers.
        id_scale: speed of the free vector of a single item, relative to what items share; 0 = none.
        """
        self.n_steps = whole("n_steps", n_steps, 2)
        self.batch_size = whole("batch_size", batch_size, 2)
        if batch_size > n_steps:
            raise ValueError(f"'batch_size' must be at most 'n_steps' = {n_steps}. Got {batch_size}: lower it.")
        self.gamma = number("gamma", gamma, 0.0, 1.0)
        self.reward_scale = number("reward_scale", reward_scale, 0.0, above=True)
        self.network = {
            "embedding": whole("embedding", embedding, 1),
            "width": whole("width", width, 1),
            "id_scale": number("id_scale", id_scale, 0.0),
        }
        self.options: dict[str, Any] = {
            "n_epochs": whole("n_epochs", n_epochs, 1),
            "learning_rate": number("learning_rate", learning_rate, 0.0, above=True),
            "gae_lambda": number("gae_lambda", gae_lambda, 0.0, 1.0),
            "clip_range": number("clip_range", clip_range, 0.0, above=True),
            "ent_coef": number("ent_coef", ent_coef, 0.0),
            "vf_coef": number("vf_coef", vf_coef, 0.0),
            "max_grad_norm": number("max_grad_norm", max_grad_norm, 0.0, above=True),
        }

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.generators = OwnGenerators(seed)
        self.version = 1  # of the policy; 0 is nobody's, so that zero-filled extras match nothing
        self._forget()

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self.generators = OwnGenerators(seed)

    def _forget(self) -> None:
        """A fresh network, no waiting pages."""
        with self.generators.swapped_in():
            self.model = ppo_on_spaces(self.items, self.spaces, self.network, **self.options)
        self.policy = cast(SlotwisePolicy, self.model.policy)
        self.policy.set_training_mode(False)
        self.names = list(page_space(self.spaces).spaces)
        self.waiting: rollouts.Pages = {}

    def act(self, observations: Observations, keys: Keys) -> Decision:
        """Draw slates from the current policy, with the agent's own generator."""
        with torch.inference_mode():
            ranking, values = self._ranking(observations)
            slates = ranking.sample_with(torch.from_numpy(self.rng.standard_exponential(ranking.scores.shape)))
            log_p = ranking.slot_log_prob(slates)
        extras = {
            "value": values.numpy(),
            "log_prob": log_p.float().numpy(),
            "policy_version": np.full(len(keys), self.version, dtype=np.int32),
        }
        return Decision(slates.numpy().astype(np.int32), log_p.exp().numpy(), extras)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        with torch.inference_mode():
            ranking, _ = self._ranking(observations)
            propensity: NDArray[np.float64] = ranking.slot_log_prob(torch.as_tensor(slates)).exp().numpy()
        return propensity

    def _ranking(self, observations: Observations) -> tuple[PlackettLuce, torch.Tensor]:
        """The slate distribution of each page, in float64, and the (B, K) values."""
        seen = {name: torch.as_tensor(observations[name]) for name in self.names}
        scores, values = self.policy.scores_and_values(seen)
        return PlackettLuce(self.spaces.slate_size).proba_distribution(scores.double()), values

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
        new = rollouts.own_pages(feedback, self.version, self.names)
        dropped = len(feedback) - rollouts.count(new) + (int(new["explored"].sum()) if new else 0)
        self.waiting = rollouts.merge(self.waiting, new)
        ready = rollouts.complete(self.waiting)
        figures: dict[str, float] = {}
        if rollouts.count(self.waiting) and int((ready & ~self.waiting["explored"]).sum()) >= self.n_steps:
            dropped += int((~ready & ~self.waiting["explored"]).sum())
            figures = self._train(rollouts.take(self.waiting, ready))
            self.version, self.waiting = self.version + 1, {}
        passes = self.model.n_epochs * figures.get("pages_learned", 0.0) / max(1, len(feedback))
        waiting = float(rollouts.count(self.waiting))
        return figures | {"pages_dropped": float(dropped), "pages_waiting": waiting, "passes": passes}

    def _train(self, pages: rollouts.Pages) -> dict[str, float]:
        """One round of PPO on complete visits, in batches of equal size."""
        n, model = int((~pages["explored"]).sum()), self.model
        model.batch_size = -(-n // max(1, round(n / self.batch_size)))
        per_slot = self.gamma ** (1 / self.spaces.slate_size)
        sizes = (n, model.observation_space, model.action_space)
        buffer = rollouts.VisitBuffer(*sizes, gae_lambda=model.gae_lambda, gamma=per_slot)  # type: ignore[arg-type]
        buffer.fill(pages | {"reward": self.reward_scale * pages["reward"]})
        model.rollout_buffer = buffer
        with self.generators.swapped_in():
            model.train()
        self.policy.set_training_mode(False)
        recorded = {name: float(value) for name, value in model.logger.name_to_value.items()}
        model.logger.dump()
        return recorded | {"pages_learned": float(n)}

    def state(self) -> dict[str, NDArray[Any]]:
        counters = np.array([self.version, self.model._n_updates], dtype=np.int64)
        return {
            "counters": counters,
            "rng": generator_state(self.rng),
            **checkpoint.policy_arrays(self.policy),
            **checkpoint.prefixed("generators", self.generators.positions),
            **checkpoint.prefixed("waiting", self.waiting),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        counters, position = saved(state, "counters", (2,)), saved(state, "rng", (6,))
        checkpoint.restore_policy(self.policy, state)
        self.version, self.model._n_updates = (int(n) for n in counters)
        set_generator_state(self.rng, position)
        self.policy.set_training_mode(False)
        self.generators.positions = checkpoint.part("generators", state)
        self.waiting = checkpoint.part("waiting", state)
