"""Off-policy learners as agents: logged pages become transitions in the learner's own replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Decision, Feedback, Items, Spaces
from perennial.agents.sb3 import checkpoint, rollouts
from perennial.agents.sb3.agent import Sb3Agent
from perennial.agents.sb3.rollouts import Pages, count, take
from perennial.agents.sb3.vec_env import PageVecEnv
from perennial.agents.validation import number, one_of, saved, whole

PATIENCE = 24  # hours that a page waits for the one after it


class OffPolicy(Sb3Agent):
    """Taught by any log: who served a page does not matter, as long as an action of this learner would have shown it.

    A page of a visit is a step; it is a transition once the visit ended with it or its next page has come. Each goes
    through ``replay_buffer.add``, the algorithm's own ``_on_step`` (which moves a DQN's target network) and, every
    `train_freq` of them, ``train``, in the order in which pages come, however they are cut into calls. Pages whose
    slate none of the learner's actions would show are dropped and counted, and still serve as the state that follows.
    """

    def _set_learning(
        self,
        learning_rate: Any,
        buffer_size: Any,
        learning_starts: Any,
        batch_size: Any,
        gamma: Any,
        tau: Any,
        train_freq: Any,
        gradient_steps: Any,
    ) -> None:
        self.options = {
            "learning_rate": number("learning_rate", learning_rate, 0.0, above=True),
            "buffer_size": whole("buffer_size", buffer_size, 1),
            "learning_starts": whole("learning_starts", learning_starts, 0),
            "batch_size": whole("batch_size", batch_size, 1),
            "gamma": number("gamma", gamma, 0.0, 1.0),
            "tau": number("tau", tau, 0.0, 1.0, above=True),
            "train_freq": whole("train_freq", train_freq, 1),
            "gradient_steps": whole("gradient_steps", gradient_steps, 1),
        }

    def _learn_options(self, lanes: PageVecEnv) -> dict[str, Any]:
        """The same gradient steps per page, though all lanes step at once."""
        every, per_step = self.options["train_freq"], lanes.num_envs
        often = max(1, round(self.options["gradient_steps"] * per_step / every))
        return self.options | {"train_freq": max(1, every // per_step), "gradient_steps": often}

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        self.last_tick = np.full(1, -1, dtype=np.int64)
        super().begin(items, spaces, seed)

    def _forget(self) -> None:
        self.waiting: Pages = {}
        self.last_tick[:] = -1
        super()._forget()

    def _decision(self, slates: NDArray[np.int32], actions: NDArray[Any], propensity: float) -> Decision:
        """Slates, with the actions (as the buffer takes them) that say them."""
        return Decision(slates, np.full(slates.shape, propensity), {"action": actions})

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        """Learn from the pages of the window that are later than all learned from so far; "cold" forgets first."""
        if one_of("start", start, ("warm", "cold")) == "cold":
            self.version += 1
            self._forget()
        return self.update(window.take(window.keys.tick > self.last_tick[0]))

    def update(self, feedback: Feedback) -> dict[str, float]:
        """Take pages in; learn from every transition that they complete.

        Returns ``pages_learned``, ``pages_dropped`` (shown by no action of this learner, handed over twice, or left
        without their next page for a day), ``pages_waiting``, ``gradient_steps``, ``passes`` and what was recorded.
        """
        if len(feedback) == 0:
            nothing = dict.fromkeys(("pages_learned", "pages_dropped", "gradient_steps", "passes"), 0.0)
            return nothing | {"pages_waiting": float(count(self.waiting))}
        self.last_tick = np.maximum(self.last_tick, feedback.keys.tick.max())
        pages, repeated = self._join(feedback)
        done_at, after = completion(pages)
        ready = np.flatnonzero(done_at >= 0)
        ready = ready[np.lexsort((pages["page"][ready], done_at[ready]))]
        before, known = self.model._n_updates, ready[pages["known"][ready]]
        self._learn(pages, known, after)
        rest = done_at < 0
        late = rest & (pages["tick"] + PATIENCE < self.last_tick[0])
        self.waiting = take(pages, rest & ~late)
        steps = self.model._n_updates - before
        figures = {
            "pages_learned": float(len(known)),
            "pages_dropped": float(repeated + len(ready) - len(known) + late.sum()),
            "pages_waiting": float(count(self.waiting)),
            "gradient_steps": float(steps),
            "passes": steps * self.model.batch_size / len(feedback),
        }
        return figures | {n: v for n, v in self._recorded().items() if n.startswith("train/")}

    def _join(self, feedback: Feedback) -> tuple[Pages, int]:
        """The waiting pages, then the new ones in their order; and how many had been handed over already."""
        actions, known = self._actions_of(feedback)
        new: Pages = {
            "visit": feedback.keys.visit,
            "page": feedback.keys.page,
            "tick": feedback.keys.tick,
            "ended": feedback.terminated | feedback.truncated,
            "known": known,
            "action": actions,
            "reward": self._rewards(feedback).astype(np.float32),
            **{f"observations/{name}": feedback.observations[name] for name in self.names},
        }
        pages = {name: np.concatenate([self.waiting[name], new[name]]) for name in new} if self.waiting else new
        first = np.unique(np.stack([pages["visit"], pages["page"]], axis=1), axis=0, return_index=True)[1]
        return take(pages, np.sort(first)), count(pages) - len(first)

    def _actions_of(self, feedback: Feedback) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """An action for each page, and whether it shows what was shown: the stored one, else one read off the slate."""
        candidates, slates = feedback.observations["candidates"], feedback.slates
        actions = self._stored(self.actions.guess(slates, candidates))
        known = (self.actions.slates(self._said(actions), candidates) == slates).all(axis=1)
        stored = feedback.extras.get("action")
        if stored is not None and stored.shape == actions.shape:
            own = (self.actions.slates(self._said(stored), candidates) == slates).all(axis=1)
            actions = np.where(own.reshape(-1, *[1] * (actions.ndim - 1)), stored, actions)
            known |= own
        return actions, known

    def _said(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions in their space, from the form they are stored in."""
        return actions

    def _stored(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions as they are stored, from their form in the space."""
        return actions

    def _rewards(self, feedback: Feedback) -> NDArray[np.float32]:
        """(P,): of each page, scaled."""
        return self.reward_scale * feedback.reward

    def _steps(self, pages: Pages, row: int) -> Iterator[tuple[NDArray[Any], Any]]:
        """(action, reward) of each transition that a page is."""
        yield pages["action"][row : row + 1], pages["reward"][row]

    def _learn(self, pages: Pages, rows: NDArray[np.int64], after: NDArray[np.int64]) -> None:
        """What `OffPolicyAlgorithm.collect_rollouts` and `learn` do with each step, for the transitions in `rows`."""
        model, parts = self.model, {name: pages[f"observations/{name}"] for name in self.names}
        every, starts = self.options["train_freq"], self.options["learning_starts"]
        with self.generators.swapped_in():
            for row in rows.tolist():
                seen = {name: array[row : row + 1] for name, array in parts.items()}
                follows = {name: array[after[row] : after[row] + 1] for name, array in parts.items()}
                for action, reward in self._steps(pages, row):
                    done = pages["ended"][row : row + 1]
                    model.replay_buffer.add(seen, follows, action, np.array([reward]), done, [{}])
                    model.num_timesteps += 1
                    model._on_step()
                    if model.num_timesteps % every == 0 and model.num_timesteps > starts:
                        model.train(self.options["gradient_steps"], self.options["batch_size"])
        model.policy.set_training_mode(False)

    def _settle(self) -> None:
        super()._settle()
        self.waiting = {}

    def _learned(self) -> dict[str, NDArray[Any]]:
        buffer = self.model.replay_buffer
        filled = buffer.buffer_size if buffer.full else buffer.pos
        replay = {"actions": buffer.actions, "rewards": buffer.rewards, "dones": buffer.dones}
        replay |= {f"now.{name}": array for name, array in buffer.observations.items()}
        replay |= {f"next.{name}": array for name, array in buffer.next_observations.items()}
        return {
            "last_tick": self.last_tick.copy(),
            "replay_position": np.array([buffer.pos, buffer.full], dtype=np.int64),
            **checkpoint.prefixed("replay", {name: array[:filled].copy() for name, array in replay.items()}),
            **checkpoint.prefixed("waiting", self.waiting),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        position, tick = saved(state, "replay_position", (2,)), saved(state, "last_tick", (1,))
        super().restore(state)
        buffer, kept = self.model.replay_buffer, checkpoint.part("replay", state)
        buffer.reset()
        for name, array in kept.items():
            kind, _, part = name.partition(".")
            whole_array = {"now": buffer.observations, "next": buffer.next_observations}.get(kind)
            target = getattr(buffer, name) if whole_array is None else whole_array[part]
            target[: len(array)] = array
        buffer.pos, buffer.full = int(position[0]), bool(position[1])
        self.last_tick, self.waiting = tick, checkpoint.part("waiting", state)


def completion(pages: Pages) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each page: the row whose coming made it a transition (-1: still open), and the row of the page after it.

    A page that ended its visit is its own follower: nothing is read of the state after an end.
    """
    n = rollouts.count(pages)
    order = np.lexsort((pages["page"], pages["visit"]))
    visit, page = pages["visit"][order], pages["page"][order]
    follows = (np.diff(visit) == 0) & (np.diff(page) == 1)
    after, done_at = np.arange(n), np.full(n, -1, dtype=np.int64)
    after[order[:-1][follows]] = order[1:][follows]
    joined = order[:-1][follows]
    done_at[joined] = np.maximum(joined, after[joined])
    ended = pages["ended"]
    after[ended] = np.flatnonzero(ended)
    done_at[ended] = np.flatnonzero(ended)
    return done_at, after
