"""What an agent sees, decides and learns from: plain NumPy arrays, the same from a simulated shop or a real log."""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.validation import check_feedback, one_of

Observations = Mapping[str, NDArray[Any]]
"""A batch of B pages about to be served. Keys:

=============  =============  ======================================================================
``user``       (B, D) f32     observable attributes of the visitor (a noisy view of the tastes)
``history``    (B, H) int32   ids of the items the visitor clicked last, newest last, -1 = none
``candidates`` (B, M) int32   ids of the items that may be shown, in an order without meaning
``page``       (B, P) f32     where the visit stands: see ``envs.observations``
``calendar``   (B, 8) f32     sine and cosine of the year (two harmonics), the week and the day
``notice``     (B, L) f32     what the shop was told about drift; zero at level L1
=============  =============  ======================================================================
"""

Items = Mapping[str, NDArray[Any]]
"""The item table, one row per item id (N rows). Keys:

============  ============  ====================================================
``category``  (N,) int32    department, in [0, C)
``price``     (N,) f32      in the shop's currency, > 0
``features``  (N, F) f32    a noisy view of the item's latent qualities
============  ============  ====================================================
"""


Learn = Callable[..., dict[str, float]]
"""A method ``fit`` or ``update``: figures to log."""


@dataclass(frozen=True)
class Spaces:
    """The sizes an agent must know before it is built; all are counts."""

    n_items: int
    n_users: int
    n_categories: int
    n_candidates: int
    slate_size: int
    history: int
    user_dim: int
    page_dim: int
    calendar_dim: int
    notice_dim: int


@dataclass(frozen=True)
class Keys:
    """Which pages these are.

    ``visit`` int64 (B,), ``page`` int32 (B,) from 0, ``user_id`` int32 (B,), ``tick`` int64 (B,) hours since the epoch.
    """

    visit: NDArray[np.int64]
    page: NDArray[np.int32]
    user_id: NDArray[np.int32]
    tick: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.visit)

    def take(self, rows: NDArray[Any]) -> Keys:
        return Keys(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Decision:
    """What an agent shows on B pages.

    ``slates`` int32 (B, K): slots into ``candidates``, each in [0, M).
    ``slot_propensity`` float64 (B, K): P(a_k | a_<k, x) in (0, 1]; NaN = unknown, declared.
    ``extras``: arrays (B, ...) the agent wants back with the feedback (log-probability, value, ...).
    """

    slates: NDArray[np.int32]
    slot_propensity: NDArray[np.float64]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def log_propensity(self) -> NDArray[np.float64]:
        """float64 (B,): log-probability of the whole slate, the sum over its slots."""
        with np.errstate(divide="ignore"):
            return np.log(self.slot_propensity).sum(axis=1)


@dataclass(frozen=True)
class Feedback:
    """P served pages and what came of them, ordered by (tick, visit, page).

    ``slate_items`` int32 (P, K): the ids shown. ``clicked``, ``carted``, ``purchased``, ``not_interested``
    bool (P, K). ``reward`` float32 (P,). ``terminated``, ``truncated`` bool (P,): the visit ended with this page.
    ``version`` int32 (P,): the model version that served the page, ``explored`` bool (P,): by the exploration floor.
    ``extras``: what `Decision.extras` held, for the pages served by the version that now learns (else absent).
    """

    keys: Keys
    observations: dict[str, NDArray[Any]]
    slates: NDArray[np.int32]
    slate_items: NDArray[np.int32]
    clicked: NDArray[np.bool_]
    carted: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    not_interested: NDArray[np.bool_]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    slot_propensity: NDArray[np.float64]
    version: NDArray[np.int32]
    explored: NDArray[np.bool_]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reward)

    def take(self, rows: NDArray[Any]) -> Feedback:
        """The pages in `rows` (indices or a mask), in that order."""
        parts: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, dict):
                parts[f.name] = {name: array[rows] for name, array in value.items()}
            elif isinstance(value, Keys):
                parts[f.name] = value.take(rows)
            else:
                parts[f.name] = value[rows]
        return Feedback(**parts)

    @staticmethod
    def concatenate(parts: list[Feedback]) -> Feedback:
        """The pages of all `parts` one after the other; extras survive where every part has them."""
        if not parts:
            raise ValueError("'parts' must hold at least one Feedback. Got an empty list.")

        def join(values: list[Any]) -> Any:
            if isinstance(values[0], Keys):
                return Keys(*(np.concatenate([getattr(v, f.name) for v in values]) for f in fields(Keys)))
            if isinstance(values[0], dict):
                shared = set.intersection(*(set(v) for v in values))
                return {name: np.concatenate([v[name] for v in values]) for name in values[0] if name in shared}
            return np.concatenate(values)

        return Feedback(**{f.name: join([getattr(p, f.name) for p in parts]) for f in fields(Feedback)})


def _checked(argument: str) -> Callable[[Learn], Learn]:
    """Let a method ``fit`` or ``update`` refuse what cannot be learned from; `argument` is what it calls its pages."""

    def guarded(learn: Learn) -> Learn:
        @functools.wraps(learn)
        def checked(self: Agent, *given: Any, **named: Any) -> dict[str, float]:
            one_of("start", given[1] if len(given) > 1 else named.get("start", "warm"), ("warm", "cold"))
            check_feedback(given[0] if given else named[argument], self.spaces, argument)
            return learn(self, *given, **named)

        return checked

    return guarded


class Agent(ABC):
    """A policy over slates that can learn from logged feedback.

    Life: ``begin`` once, then any order of ``act``, ``fit`` (batch), ``update`` (incremental), ``save``/``load``.
    When to learn is never decided here: cadence belongs to the strategy.

    Whatever a subclass puts into ``fit`` and ``update``, it is handed only feedback that has passed `check_feedback`:
    NaN, ids that nobody has or a page twice raise a `ValueError` that counts them, and nothing is learned.
    """

    items: Items
    spaces: Spaces
    rng: np.random.Generator

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the extras of its decisions that `update` or `recollect` needs: the feedback log keeps these."""
        return ()

    @property
    def on_policy(self) -> bool:
        """Whether it learns from pages it served itself only, so that nobody else's lessons reach its `update`."""
        return False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, argument in (("fit", "window"), ("update", "feedback")):
            if name in cls.__dict__:
                setattr(cls, name, _checked(argument)(cls.__dict__[name]))

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        """Meet the catalogue. Called once, before anything else; resets all that was learned."""
        self.items, self.spaces = items, spaces
        self.rng = np.random.default_rng(seed)

    def reseed(self, seed: int) -> None:
        """Draw from `seed` from now on: what a training draws then depends on the training, not on what was served.

        Agents that draw from further generators override it.
        """
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def act(self, observations: Observations, keys: Keys) -> Decision:
        """Choose a slate for each page of the batch."""

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """float64 (B, K): P(a_k | a_<k, x) of the given `slates` under this agent.

        The default is right for a deterministic agent: 1 as long as the slate follows its own, 0 from the first
        slot that departs. Stochastic agents override it.
        """
        same = self.act(observations, keys).slates == slates
        return np.logical_and.accumulate(same, axis=1).astype(np.float64)

    @_checked("window")
    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        """Learn from a batch of logged pages; `start` is "warm" (go on) or "cold" (forget first).

        Returns figures to log.
        """
        return {}

    @_checked("feedback")
    def update(self, feedback: Feedback) -> dict[str, float]:
        """Learn from newly logged pages, each handed over once. Returns figures to log."""
        return {}

    def recollect(self, pages: Feedback) -> None:  # noqa: B027 - most note nothing while they serve
        """Note of logged `pages` what serving them had left in this agent; they carry the extras `stored`.

        So an agent is brought from one training to the next by the log alone.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """All that was learned, as arrays, the generator's position included; `restore(state())` changes nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027 - an agent that learns nothing keeps it
        """Take back what `state` gave."""

    def save(self, path: Path) -> None:
        """Write `state()` to one safetensors file: arrays only, no code; who saved it and a digest in the header."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array) for name, array in self.state().items()}
        seal = {"agent": _kind(self), "digest": digest_of(arrays)}
        save_file(arrays, str(path), {SEAL: json.dumps(seal, sort_keys=True)})  # one key: more have no fixed order

    def load(self, path: Path) -> None:
        """Read what `save` wrote, after `begin` with the same items and spaces; refuses any other file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "np") as file:
                seal = json.loads((file.metadata() or {}).get(SEAL, "{}"))
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(f"'path' must be a file that an agent's save() wrote. Got {path}: {error}.") from error
        if seal.get("agent") != _kind(self):
            raise ValueError(
                f"'path' must hold an agent of the kind {_kind(self)}. Got {path}, saved by "
                f"{seal.get('agent', 'something that is no agent')}."
            )
        if seal["digest"] != digest_of(arrays):
            raise ValueError(f"'path' must hold what save() wrote. Got {path}, whose content was changed afterwards.")
        self.restore(arrays)


SEAL = "perennial"  # the header's entry that says who saved a file, and what


def _kind(agent: Agent) -> str:
    return f"{type(agent).__module__}.{type(agent).__qualname__}"


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """32 hex digits: equal exactly when names, dtypes, shapes and bytes of the `arrays` are equal."""
    digest = blake2b(digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def generator_state(rng: np.random.Generator) -> NDArray[np.uint64]:
    """uint64 (6,): the position of a PCG64 generator, so that it fits a file of arrays."""
    state: Any = rng.bit_generator.state
    mask = (1 << 64) - 1
    value, inc = state["state"]["state"], state["state"]["inc"]
    return np.array(
        [value & mask, value >> 64, inc & mask, inc >> 64, state["has_uint32"], state["uinteger"]], dtype=np.uint64
    )


def set_generator_state(rng: np.random.Generator, words: NDArray[np.uint64]) -> None:
    """Take back a position that `generator_state` gave."""
    low, high, inc_low, inc_high, has, kept = (int(w) for w in words)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has,
        "uinteger": kept,
    }


def top_k(scores: NDArray[Any], k: int) -> NDArray[np.int32]:
    """int32 (B, k): slots of the k largest scores of each row, best first; ties by the lower slot."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
