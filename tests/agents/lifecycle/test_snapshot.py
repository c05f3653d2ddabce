"""Snapshots: objects come back as they were, shared ones shared, and nothing that is named is run."""

from __future__ import annotations

import array
import datetime
import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from perennial.agents.exploring import Exploring
from perennial.agents.lifecycle import snapshot
from perennial.agents.lifecycle.detectors import Adwin, ErrorDetector, PageHinkley
from perennial.agents.lifecycle.snapshot import SnapshotError
from tests.agents.lifecycle.detectors.test_yaml import PATHS, made
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import Learner, begun


def fresh(items: Any) -> Learner:
    agent = Learner()
    agent.begin(items, SPACES, 99)
    return agent


def there_and_back(outside: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    kept = {name: array.copy() for name, array in snapshot.take(parts, outside or {}).items()}
    return snapshot.give_back(kept, outside or {}, fresh)


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


class Slotted:
    __slots__ = ("rate",)


def test_plain_values_and_containers_come_back_with_their_types() -> None:
    given = {
        "none": None,
        "numbers": [True, 7, 2**100, 0.1, float("inf"), np.float32(0.3), np.int64(5)],
        "texts": ("ä", b"\x00\xff"),
        "keys": {1: "a", (2, 3): "b"},
        "sets": [{3, 1}, frozenset({2})],
        "others": [deque([1, 2], maxlen=3), Counter("aab"), defaultdict(list, {"x": [1]}), array.array("d", [0.1, 2])],
        "day": datetime.date(2010, 9, 2),
        "dtype": np.dtype("<f4"),
    }
    back = there_and_back(given=given)["given"]
    assert back == given
    assert [type(value) for value in back["numbers"]] == [type(value) for value in given["numbers"]]
    assert back["others"][0].maxlen == 3
    assert np.isnan(there_and_back(x=float("nan"))["x"])


def test_shared_objects_stay_shared_and_circles_stay_closed() -> None:
    numbers = np.arange(3)
    ring: list[Any] = [numbers]
    ring.append(ring)
    back = there_and_back(a=Pair(numbers, ring), b=numbers)
    assert back["a"].left is back["b"]
    assert back["a"].right[1] is back["a"].right
    assert there_and_back(many=[Pair(1, "x"), Pair(None, 0.1)])["many"] == [Pair(1, "x"), Pair(None, 0.1)]
    slotted = Slotted()
    slotted.rate = 2.5
    assert there_and_back(s=slotted)["s"].rate == 2.5


@pytest.mark.parametrize("make", [Adwin, PageHinkley])
def test_a_detector_of_river_goes_on_where_it_was(make: Any) -> None:
    stream = np.random.default_rng(5).random(3000) - np.repeat([0.0, 0.3], 1500)
    whole, kept = make(), make()
    for value in stream[:1400]:
        whole.update(value)
        kept.update(value)
    again = there_and_back(detector=kept)["detector"]
    scores = []
    for detector in (whole, again):
        scores.append([(detector.update(value), detector.score, detector.drift_detected) for value in stream[1400:]])
    assert scores[0] == scores[1]
    assert any(fired for _, _, fired in scores[0])


def clicks() -> Iterator[tuple[int, float]]:
    """The day and the click of ten visits a day; every 200 days fewer click."""
    draws = np.random.default_rng(7)
    for day in range(700):
        often = 0.95 - 0.3 * (day // 200)
        yield from ((day, float(click)) for click in draws.random(10) < often)


def alarms(detector: Any, stream: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Where it fires, with the scores."""
    found, errors = [], isinstance(detector, ErrorDetector) or getattr(detector, "direction", "down") == "up"
    for index, (day, click) in enumerate(stream):
        detector.at(24 * day)
        detector.update(1.0 - click if errors else click)
        if detector.drift_detected:
            found.append((index, detector.score))
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_detector_of_conf_goes_on_to_the_same_alarms(path: Path) -> None:
    """Cut off 100 visits before everything changes, when all windows are full."""
    detector, stream = made(yaml.safe_load(path.read_text())), list(clicks())
    alarms(detector, stream[:5900])
    again = there_and_back(detector=detector)["detector"]
    found = alarms(detector, stream[5900:])
    assert alarms(again, stream[5900:]) == found
    assert bool(found) == (path.stem != "never")


def test_random_generators_go_on_where_they_were() -> None:
    plain = random.Random(5)
    plain.gauss(0.0, 1.0)  # another one is in store
    given = {"plain": plain, **{name: np.random.Generator(bits(3)) for name, bits in snapshot.BITS.items()}}
    back = there_and_back(**given)
    assert [back["plain"].gauss(0.0, 1.0) for _ in range(3)] == [plain.gauss(0.0, 1.0) for _ in range(3)]
    assert back["plain"].sample(range(1000), 9) == plain.sample(range(1000), 9)
    for name in snapshot.BITS:
        assert back[name].normal(size=5).tobytes() == given[name].normal(size=5).tobytes()


def test_agents_are_made_anew_and_take_their_state_back() -> None:
    items = {"price": np.ones(SPACES.n_items, np.float32)}
    agent = begun(SPACES)
    agent.items = items
    agent.update(wave(0, [1, 2, 3]))
    floor = Exploring(agent, 0.3)
    floor.rng = np.random.default_rng(3)
    back = there_and_back(serving=floor, same=agent, items=items)
    assert back["serving"].policy is back["same"]
    assert back["same"] is not agent
    observations, keys = wave(1, [4, 5]).observations, wave(1, [4, 5]).keys
    ours, theirs = floor.act(observations, keys), back["serving"].act(observations, keys)
    assert ours.slates.tobytes() == theirs.slates.tobytes()
    assert ours.extras["noise"].tobytes() == theirs.extras["noise"].tobytes()


def test_what_is_outside_is_kept_by_name() -> None:
    log, other = object(), object()
    kept = snapshot.take({"pair": Pair(log, 1)}, {"log": log})
    assert snapshot.give_back(kept, {"log": other}, fresh)["pair"].left is other
    with pytest.raises(SnapshotError, match="needs 'log', which was not handed over"):
        snapshot.give_back(kept, {}, fresh)


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(SnapshotError, match="'strategy.left' is the function .*<lambda>"):
        snapshot.take({"strategy": Pair(lambda: 1, None)}, {})
    with pytest.raises(SnapshotError, match="'x' is an array of Python objects"):
        snapshot.take({"x": np.array([object()])}, {})
    with pytest.raises(SnapshotError, match="'file.right', a TextIOWrapper, cannot be kept"), open(__file__) as file:
        snapshot.take({"file": Pair(0, file)}, {})


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"called": "os:system", "with": ["exit 1"], "number": 0}, "os:system, which no checkpoint may call"),
        ({"called": "builtins:eval", "with": ["1/0"], "number": 0}, "builtins:eval, which no checkpoint may call"),
        ({"new": "os:system", "with": ["exit 1"], "number": 0}, "os:system, which is no class"),
        ({"frozen": "os:system", "fields": {}}, "os:system, which is no dataclass"),
        ({"generator": "seed", "state": 1, "number": 0}, "seed, which is no kind of random bits"),
        ({"generator": "default_rng", "state": 1, "number": 0}, "default_rng, which is no kind of random bits"),
        ({"anything": 1}, "is of the kind 'anything', which no checkpoint holds"),
        ({"named": "a_module_never_imported:thing"}, "is not there"),
    ],
)
def test_a_forged_snapshot_runs_nothing(node: Any, message: str) -> None:
    forged = {"tree": np.frombuffer(json.dumps({"part": node}).encode(), np.uint8)}
    with pytest.raises(SnapshotError, match=message):
        snapshot.give_back(forged, {}, fresh)
