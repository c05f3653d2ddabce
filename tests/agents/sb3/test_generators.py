"""An agent's draws leave the process-wide generators untouched and go on where they stopped."""

# ruff: noqa: NPY002  (the legacy generator is what is tested)
from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from perennial.agents.sb3.generators import OwnGenerators, read_positions, write_positions


def draw() -> list[float]:
    return [random.gauss(0, 1), np.random.normal(), np.random.random(), float(torch.rand(1)), random.random()]


def test_outside_sees_nothing() -> None:
    before, own = read_positions(), OwnGenerators(1)
    with own.swapped_in():
        draw()
    after = read_positions()
    assert all(np.array_equal(before[name], after[name], equal_nan=name.endswith("gauss")) for name in before)


def test_two_owners_do_not_disturb_each_other() -> None:
    alone, other = OwnGenerators(1), OwnGenerators(2)
    with alone.swapped_in():
        expected = [draw(), draw()]
    alone = OwnGenerators(1)
    with alone.swapped_in():
        first = draw()
    with other.swapped_in():
        draw()
    with alone.swapped_in():
        second = draw()
    assert [first, second] == expected


def test_positions_are_put_back_after_an_error() -> None:
    before, own = np.random.get_state()[1].copy(), OwnGenerators(1)
    with pytest.raises(ZeroDivisionError), own.swapped_in():
        draw()[0] / 0
    assert np.array_equal(np.random.get_state()[1], before)


def test_arrays_hold_the_whole_position() -> None:
    own = OwnGenerators(5)
    with own.swapped_in():
        random.gauss(0, 1)  # leaves a spare normal draw behind
        np.random.normal()
        kept = read_positions()
        expected = draw()
        write_positions(kept)
        assert draw() == expected
