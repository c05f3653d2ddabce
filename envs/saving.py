"""A saved state on disk: plain arrays in one file, written whole or not at all, read without running any code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Saved = dict[str, NDArray[Any]]


def write(path: str | Path, saved: Mapping[str, NDArray[Any]]) -> None:
    """Write what `save` of a world or an environment gave to `path` (.npz)."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"'path' must end in .npz. Got '{path.name}'.")
    draft = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez(draft, **saved)  # type: ignore[arg-type]
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: str | Path) -> Saved:
    """What `write` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def under(name: str, saved: Mapping[str, NDArray[Any]]) -> Saved:
    """`saved` with its names under `name`, as in "lanes.page"."""
    return {f"{name}.{key}": array for key, array in saved.items()}


def part(name: str, saved: Mapping[str, NDArray[Any]]) -> Saved:
    """What `under(name, ...)` put into `saved`."""
    return {key.removeprefix(f"{name}."): array for key, array in saved.items() if key.startswith(f"{name}.")}


def check(name: str, saved: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]], sized: bool = True) -> None:
    """Raise ValueError unless `saved` holds arrays like those in `like`: the same dtypes and, if `sized`, shapes."""
    for key, array in like.items():
        given = saved.get(key)
        if given is None or given.dtype != array.dtype or (sized and given.shape != array.shape):
            shape = f" of shape {array.shape}" if sized else ""
            raise ValueError(
                f"'saved' must hold '{name}{key}' as {array.dtype}{shape}, as `save` gives it. "
                "Build the world or the environment with the arguments it was saved with."
            )
