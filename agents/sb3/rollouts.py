"""From logged pages to the rollout buffer of stable-baselines3: whole visits, served by the policy that now learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer
from stable_baselines3.common.buffers import DictRolloutBuffer

from perennial.agents.base import Feedback

Pages = dict[str, NDArray[Any]]
"""P pages waiting to be learned from, sorted by (visit, page):

=====================  ==============  ========================================================================
``visit``, ``page``    (P,) int        which page it is
``ended``              (P,) bool       the visit ended with this page
``explored``           (P,) bool       served by the exploration floor: never learned from, its value is used
``action``             (P, A)          what the learner said: slots shown (A = K), or a category (A = 1)
``reward``             (P, V) float32  the page's reward, whole (V = 1) or shared out to slots (V = K)
``value``              (P, V) float32  the critic's opinion (from each slot on), when the page was served
``log_prob``           (P, V) float32  log P(a | x), or log P(a_k | a_<k, x), when the page was served
``observations/<o>``   (P, ...)        the observation named o
``memory`` ...         (P, ...)        other extras that the agent stored at serving
=====================  ==============  ========================================================================
"""

EXTRAS = ("policy_version", "value", "log_prob")


def own_pages(feedback: Feedback, version: int, names: list[str], more: tuple[str, ...] = ()) -> Pages:
    """The pages that policy `version` served, with the observations in `names` and the extras in `more`.

    Observations that the agent made itself are among the extras. An ``action`` among `more` stands for the slates.
    """
    if any(name not in feedback.extras for name in (*EXTRAS, *more)):
        return {}
    per_slot = feedback.extras["value"].shape[1] == feedback.slates.shape[1] > 1
    seen = {name: feedback.extras[name] for name in names if name in feedback.extras} | feedback.observations
    rows = np.flatnonzero(feedback.extras["policy_version"] == version)
    pages: Pages = {
        "visit": feedback.keys.visit[rows],
        "page": feedback.keys.page[rows],
        "ended": (feedback.terminated | feedback.truncated)[rows],
        "explored": feedback.explored[rows],
        "action": feedback.slates[rows],
        "reward": (slot_rewards(feedback) if per_slot else feedback.reward[:, None])[rows],
        "value": feedback.extras["value"][rows],
        "log_prob": feedback.extras["log_prob"][rows],
    }
    pages |= {name: feedback.extras[name][rows] for name in more}
    return pages | {f"observations/{name}": seen[name][rows] for name in names}


def count(pages: Pages) -> int:
    return len(pages["visit"]) if pages else 0


def take(pages: Pages, rows: NDArray[Any]) -> Pages:
    return {name: column[rows] for name, column in pages.items()}


def merge(waiting: Pages, new: Pages) -> Pages:
    """Both together, sorted by (visit, page); a page handed over twice counts once."""
    if not count(new):
        return waiting
    both = {name: np.concatenate([waiting[name], new[name]]) for name in new} if waiting else new
    both = take(both, np.lexsort((both["page"], both["visit"])))
    repeated = (np.diff(both["visit"]) == 0) & (np.diff(both["page"]) == 0)
    return take(both, np.append(True, ~repeated))


def complete(pages: Pages) -> NDArray[np.bool_]:
    """(P,) bool: the visit is there from its first page to the one that ended it."""
    if not count(pages):
        return np.zeros(0, dtype=np.bool_)
    _, first, visit, n_pages = np.unique(pages["visit"], return_index=True, return_inverse=True, return_counts=True)
    last = first + n_pages - 1
    whole: NDArray[np.bool_] = pages["ended"][last] & (pages["page"][last] == n_pages - 1)
    return whole[visit]


def slot_rewards(feedback: Feedback) -> NDArray[np.float32]:
    """(P, K): the page's reward, shared out to its slots; rows sum to ``feedback.reward``.

    Slots share in proportion to their clicks + carts + purchases; a reward below 0 is shared by those of which the
    visitor said "not interested". Without any, all slots share alike.
    """
    liked = feedback.clicked.astype(np.float32) + feedback.carted + feedback.purchased
    events = np.where(feedback.reward[:, None] < 0, feedback.not_interested.astype(np.float32), liked)
    total = events.sum(axis=1, keepdims=True)
    share = np.where(total > 0, events / np.maximum(total, 1), 1 / events.shape[1])
    return (share * feedback.reward[:, None]).astype(np.float32)


def slot_advantages(
    rewards: NDArray[np.float32],
    values: NDArray[np.float32],
    after: NDArray[np.float32],
    goes_on: NDArray[np.bool_],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float32]:
    """(P, K): generalised advantages (Schulman et al. 2016, eq. 16) where each slot is a step; `gamma` is per slot.

    `rewards`, `values` (P, K); `after` (P,): value of what follows the page; `goes_on` (P,) bool: the next row is
    the next page of the same run, so that its advantage is carried back too.
    """
    decay, k = gamma * gae_lambda, values.shape[1]
    deltas = rewards + gamma * np.column_stack([values[:, 1:], after]) - values
    within = deltas.astype(np.float64)
    for slot in reversed(range(k - 1)):
        within[:, slot] += decay * within[:, slot + 1]
    first = within[:, 0].copy()  # of each page, with all pages behind it: one pass per page of the longest run
    for _ in range(longest_run(goes_on)):
        first = within[:, 0] + decay**k * np.append(first[1:] * goes_on[:-1], 0.0)
    carried = np.append(first[1:] * goes_on[:-1], 0.0)
    return (within + decay ** np.arange(k, 0, -1) * carried[:, None]).astype(np.float32)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """The largest number of True in a row."""
    stops = np.flatnonzero(np.concatenate([[True], ~flags, [True]]))
    return int(np.diff(stops).max()) - 1


class Filled(DictRolloutBuffer):
    """A rollout buffer that takes whole visits, one after the other; one row per page, V steps in each."""

    def fill(self, pages: Pages) -> None:
        """Take runs of pages, with advantages and returns; `buffer_size` = pages that were not explored.

        The last page of a visit is an end in every case: pages left are part of the state, so a page limit needs no
        bootstrap (Pardo et al. 2018, "Time limits in reinforcement learning", sec. 3). Before an explored page the run
        of own pages is cut, and that page's value stands for what followed, as for any truncated rollout.
        """
        own, next_page = ~pages["explored"], successive(pages)
        after = np.where(next_page, np.append(pages["value"][1:, 0], 0.0), 0.0).astype(np.float32)
        goes_on = next_page & np.append(own[1:], False)
        advantages = slot_advantages(pages["reward"], pages["value"], after, goes_on, self.gamma, self.gae_lambda)
        self._store(take(pages | {"advantage": advantages}, own))

    def _store(self, pages: Pages) -> None:
        self.observations = {name: pages[f"observations/{name}"][:, None] for name in self.observations}
        self.actions = pages["action"].reshape(self.buffer_size, 1, -1)
        self.values, self.log_probs = pages["value"][:, None], pages["log_prob"][:, None]
        self.advantages = pages["advantage"][:, None]
        self.returns = self.advantages + self.values
        self.pos, self.full = self.buffer_size, True


class VisitBuffer(Filled):
    """For PPO and A2C."""


class MaskedBuffer(Filled, MaskableDictRolloutBuffer):  # type: ignore[misc]
    """For MaskablePPO: ``masks`` of the pages come along."""

    def _store(self, pages: Pages) -> None:
        super()._store(pages)
        self.action_masks = pages["masks"][:, None].astype(np.float32)


class RecurrentBuffer(Filled, RecurrentDictRolloutBuffer):  # type: ignore[misc]
    """For RecurrentPPO: ``memory``, float32 (P, 2, L, H), is the LSTM's state before each page.

    A sequence starts wherever a page does not follow the one before it, from the state that was stored: zeros at the
    first page of a visit that begins anew, so that no state needs to be reset within a sequence.
    """

    def _store(self, pages: Pages) -> None:
        super()._store(pages)
        hidden, cell = pages["memory"][:, 0, :, None], pages["memory"][:, 1, :, None]
        self.hidden_states_pi, self.cell_states_pi = hidden, cell
        self.hidden_states_vf, self.cell_states_vf = hidden, cell
        self.episode_starts = np.zeros((self.buffer_size, 1), dtype=np.float32)
        self.cuts = np.append(True, ~successive(pages)[:-1]).astype(np.float32)[:, None]

    def _get_samples(self, batch_inds: NDArray[Any], env_change: NDArray[Any], env: Any = None) -> Any:  # type: ignore[override]
        return super()._get_samples(batch_inds, self.cuts, env)


def successive(pages: Pages) -> NDArray[np.bool_]:
    """(P,) bool: the next row is the next page of the same visit."""
    return np.append((np.diff(pages["visit"]) == 0) & (np.diff(pages["page"]) == 1), False)
