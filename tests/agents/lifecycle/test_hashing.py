import numpy as np
import pytest

from perennial.agents.lifecycle.hashing import BUCKETS, buckets, key_of, mixed, parts_of


def test_the_mixer_is_splitmix64():
    """The published sequence from seed 1234567 (state + golden gamma each step)."""
    states = np.uint64(1234567) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, 6, dtype=np.uint64)
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821
    ]  # fmt: skip
    assert mixed(states).tolist() == published


def test_buckets_are_even_and_keys_independent():
    users = np.arange(200_000)
    first, second = buckets(users, key_of("a")), buckets(users, key_of("b"))
    assert (first.min(), first.max()) == (0, BUCKETS - 1)
    for split in (first, second):
        assert (split < 1000).mean() == pytest.approx(0.1, abs=0.002)
    both = ((first < 5000) & (second < 5000)).mean()
    assert both == pytest.approx(0.25, abs=0.003)


def test_a_bucket_depends_on_nothing_but_id_and_key():
    users = np.array([5, 17, 5, 999_999])
    together = buckets(users, 3)
    assert together.tolist() == [int(buckets(np.array([user]), 3)[0]) for user in users]
    assert together.tolist() == buckets(users.astype(np.int32), 3).tolist()


def test_shares_are_ten_thousandths():
    assert [parts_of("share", share) for share in (0.0, 0.01, 0.5, 1.0)] == [0, 100, 5000, 10_000]
    for wrong in (-0.1, 1.1, 1e-6):
        with pytest.raises(ValueError, match=r"'share' must be 0 or a share from 0.0001 to 1. Got"):
            parts_of("share", wrong)
