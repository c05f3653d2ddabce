"""Compiled kernels are cached for the sources they were compiled from, callees in other files included."""

from pathlib import Path

import numpy as np
import pytest
from numba import config

from perennial.envs import compiled
from perennial.envs.response import respond


def test_the_cache_belongs_to_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    (tmp_path / "drift").mkdir()
    (tmp_path / "caller.py").write_text("from callee import f\n")
    (tmp_path / "drift" / "callee.py").write_text("f = 1\n")
    before = compiled._digest()
    assert compiled._digest() == before
    (tmp_path / "drift" / "callee.py").write_text("f = 2\n")
    assert compiled._digest() != before


def test_kernels_lie_in_that_cache_and_other_peoples_do_not() -> None:
    assert compiled._CACHE in respond.stats.cache_path
    assert compiled._CACHE not in str(config.CACHE_DIR)


def test_division_by_zero_is_as_in_numpy() -> None:
    with np.errstate(divide="ignore"):
        assert compiled.kernel(lambda x: 1.0 / x)(0.0) == np.float64(1.0) / np.float64(0.0)
