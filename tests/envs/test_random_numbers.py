"""Philox4x32-10 against the published known-answer vectors; derived draws against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from perennial.envs.random_numbers import draw, key_of, normal, philox4x32, poisson, table_generator, unit

# Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, answer.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: list[int], key: list[int], answer: list[int]) -> None:
    assert [int(word) for word in philox4x32(*(np.uint64(word) for word in counter + key))] == answer


def test_a_draw_is_philox_of_its_address() -> None:
    visit = (7 << 32) | 9
    words = philox4x32(*(np.uint64(w) for w in (5, (4 << 24) | 3, 9, 7, 123, 1)))
    assert [int(w) for w in draw(key_of((1 << 32) | 123), 4, visit, 3, 5)] == [int(w) for w in words]


def test_unit_never_reaches_its_ends() -> None:
    assert 0.0 < unit(np.uint64(0)) < 1e-9
    assert 1 - 1e-9 < unit(np.uint64(0xFFFFFFFF)) < 1.0


def test_normals_are_normal() -> None:
    key = key_of(3)
    sample = [normal(*draw(key, 7, visit, 0, 0)[:2]) for visit in range(20_000)]
    assert stats.kstest(sample, "norm").pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.3, 20.0, 500.0])
def test_poissons_are_poisson(rate: float) -> None:
    key = key_of(5)
    sample = np.array([poisson(key, 1, tick, rate) for tick in range(20_000)])
    assert abs(sample.mean() - rate) < 4 * np.sqrt(rate / len(sample))
    assert abs(sample.var() / rate - 1) < 4 * np.sqrt((2 + 1 / rate) / len(sample))


def test_no_visits_at_rate_zero() -> None:
    assert poisson(key_of(1), 1, 0, 0.0) == 0


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=r"'seed' must be an integer in \[0, 2\*\*64\)"):
        key_of(seed)


def test_tables_have_a_generator_each() -> None:
    first, again, other = (table_generator(1, name).random() for name in ("items", "items", "users"))
    assert first == again != other
