"""Pages of feedback as columns of tables and back: the data dictionary of the feedback log."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Keys, Spaces

HOURS = 24
ARMS = ("champion", "challenger")

OBSERVED: dict[str, tuple[str, type[np.generic]]] = {
    "user": ("user_dim", np.float32),
    "history": ("history", np.int32),
    "candidates": ("n_candidates", np.int32),
    "page": ("page_dim", np.float32),
    "calendar": ("calendar_dim", np.float32),
    "notice": ("notice_dim", np.float32),
}
"""Name of an observation: the size that gives its width, and its dtype. Stored as ``seen_<name>``."""

KEYS: dict[str, type[np.generic]] = {"visit": np.int64, "page": np.int32, "user_id": np.int32, "tick": np.int64}

PER_SLOT: dict[str, type[np.generic]] = {
    "slates": np.int32,
    "slate_items": np.int32,
    "clicked": np.bool_,
    "carted": np.bool_,
    "purchased": np.bool_,
    "not_interested": np.bool_,
    "slot_propensity": np.float64,
}
PER_PAGE: dict[str, type[np.generic]] = {
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "version": np.int32,
    "explored": np.bool_,
}
STORED_LISTS: dict[str, type[np.generic]] = {"slates": np.int32, "slate_items": np.int32, "slot_propensity": np.float64}
OUTCOMES = ("clicked", "carted", "not_interested")
ORDER = ("tick", "visit", "page")


def widths(spaces: Spaces) -> dict[str, int]:
    """Columns of each observation."""
    return {name: getattr(spaces, size) for name, (size, _) in OBSERVED.items()}


def empty(spaces: Spaces) -> Feedback:
    """No page at all, in the right shapes and dtypes."""
    fields: dict[str, Any] = {name: np.empty((0, spaces.slate_size), dtype) for name, dtype in PER_SLOT.items()}
    fields |= {name: np.empty(0, dtype) for name, dtype in PER_PAGE.items()}
    return Feedback(
        keys=Keys(**{name: np.empty(0, dtype) for name, dtype in KEYS.items()}),
        observations={name: np.empty((0, n), OBSERVED[name][1]) for name, n in widths(spaces).items()},
        **fields,
    )


def arrays(feedback: Feedback) -> dict[str, NDArray[Any]]:
    """Every array of the pages but the extras, by a flat name, in a fixed order."""
    flat = {name: getattr(feedback.keys, name) for name in KEYS}
    flat |= {f"seen_{name}": feedback.observations[name] for name in OBSERVED}
    return flat | {name: getattr(feedback, name) for name in (*PER_SLOT, *PER_PAGE)}


def from_arrays(flat: Mapping[str, NDArray[Any]]) -> Feedback:
    """The pages whose arrays `flat` holds, as `arrays` gave them."""
    fields: dict[str, Any] = {name: flat[name] for name in (*PER_SLOT, *PER_PAGE)}
    keys, observations = {name: flat[name] for name in KEYS}, {name: flat[f"seen_{name}"] for name in OBSERVED}
    return Feedback(keys=Keys(**keys), observations=observations, **fields)


def content_hash(feedback: Feedback) -> str:
    """16 hex digits naming the pages' content: equal exactly when all arrays but the extras are, bit for bit."""
    digest = blake2b(digest_size=8)
    for name, array in arrays(feedback).items():
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _list(name: str, values: NDArray[Any]) -> pl.Series:
    """A 2-d array as a column of lists."""
    inner = pl.Series(np.empty(0, values.dtype)).dtype
    if values.size == 0:
        return pl.Series(name, [[] for _ in values], dtype=pl.List(inner))
    return pl.Series(name, np.ascontiguousarray(values)).cast(pl.List(inner))


def pages_frame(
    feedback: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32], received: NDArray[np.int64], day: int
) -> pl.DataFrame:
    """One row per page: keys, what was seen, what was shown, by whom and with which probability, what it earned.

    `received` int64 (P,), `day`: when they entered the log; the hour and the day of `tick`, unless they came late.
    """
    columns = [pl.Series(name, getattr(feedback.keys, name)) for name in KEYS]
    columns.append(pl.Series("day", np.full(len(feedback), day, np.int32)))
    columns += [_list(f"seen_{name}", feedback.observations[name]) for name in OBSERVED]
    columns += [_list(name, getattr(feedback, name)) for name in STORED_LISTS]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns.append(pl.Series("log_propensity", np.log(feedback.slot_propensity).sum(axis=1)))
    columns += [pl.Series(name, getattr(feedback, name)) for name in PER_PAGE]
    columns.append(pl.Series("arm", ARMS, dtype=pl.String).gather(arm.astype(np.uint32)))
    columns.append(pl.Series("revision", revision))
    columns.append(pl.Series("received", received))
    return pl.DataFrame(columns)


def impressions_frame(feedback: Feedback, day: int) -> pl.DataFrame:
    """One row per slot shown, with what the visitor did there; `day` as in `pages_frame`."""
    row, slot = np.divmod(np.arange(feedback.slates.size), feedback.slates.shape[1])
    keys = feedback.keys
    columns = [
        pl.Series("visit", keys.visit[row]),
        pl.Series("page", keys.page[row]),
        pl.Series("slot", slot.astype(np.int16)),
        pl.Series("tick", keys.tick[row]),
        pl.Series("day", np.full(len(row), day, np.int32)),
        pl.Series("item", feedback.slate_items.ravel()),
    ]
    return pl.DataFrame([*columns, *(pl.Series(name, getattr(feedback, name).ravel()) for name in OUTCOMES)])


def quarantine_frame(
    feedback: Feedback, arm: NDArray[np.int8], revision: NDArray[np.int32], reason: list[str], tick: int
) -> pl.DataFrame:
    """The refused rows as they came, outcomes included, with the reason and the hour they came in."""
    outcomes = [_list(name, getattr(feedback, name)) for name in (*OUTCOMES, "purchased")]
    pages = pages_frame(feedback, arm, revision, np.full(len(feedback), tick), tick // HOURS)
    return pl.DataFrame([*pages, *outcomes, pl.Series("reason", reason, dtype=pl.String)])


def join(pages: pl.DataFrame, impressions: pl.DataFrame, spaces: Spaces) -> Feedback:
    """The pages with their slots' outcomes, ordered by (tick, visit, page); nothing is purchased yet."""
    pages = pages.sort(ORDER)
    impressions = impressions.sort(*ORDER, "slot")
    shape = (len(pages), spaces.slate_size)
    if len(impressions) != shape[0] * shape[1]:
        raise ValueError(
            f"The log is damaged: {len(pages)} pages of {shape[1]} slots need {shape[0] * shape[1]} impressions. "
            f"Got {len(impressions)}. Restore the log's folder from a copy."
        )
    fields: dict[str, Any] = {name: matrix(pages[name], shape[1], dtype) for name, dtype in STORED_LISTS.items()}
    fields |= {name: impressions[name].to_numpy().reshape(shape) for name in OUTCOMES}
    fields |= {name: pages[name].to_numpy() for name in PER_PAGE}
    return Feedback(
        keys=Keys(**{name: pages[name].to_numpy() for name in KEYS}),
        observations={n: matrix(pages[f"seen_{n}"], width, OBSERVED[n][1]) for n, width in widths(spaces).items()},
        purchased=np.zeros(shape, np.bool_),
        **fields,
    )


def matrix(column: pl.Series, width: int, dtype: type[np.generic]) -> NDArray[Any]:
    """A column of lists as a 2-d array."""
    if width == 0 or len(column) == 0:
        return np.empty((len(column), width), dtype)
    return column.list.to_array(width).to_numpy()
