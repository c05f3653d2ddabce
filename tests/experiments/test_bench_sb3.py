"""The benchmark of training runs on every learner it names; its figures are not judged."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.experiments import bench_sb3

NAMED = {name: (kind, options) for name, kind, options, _, _ in bench_sb3.RUNS}
SIZES: dict[str, Any] = {"n_users": 300, "n_items": 200, "n_candidates": 12, "slate_size": 3, "visits_per_day": 2000.0}


@pytest.mark.parametrize(("kind", "options"), NAMED.values(), ids=NAMED)
def test_a_share_of_every_run_is_measured(kind: Any, options: dict[str, Any]) -> None:
    speed, part = bench_sb3.share(kind, options, pages=128, lanes=8, sizes=SIZES)
    assert speed > 0
    assert 0 < part < 1
