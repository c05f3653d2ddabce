"""A snapshot of living objects as arrays and JSON: what a checkpoint holds of strategies, detectors and deployments.

No class needs to list what it remembers: whatever an object keeps is written down through Python's own protocol for
copying (`__reduce_ex__`, so `__getstate__` and `__setstate__` are obeyed), and shared objects stay shared. Reading one
imports no module and calls no function that it names: objects are made by their class's `__new__` and filled, random
generators are of the kinds in `BITS`.
Agents are kept by their `state` and made anew by the training job; objects `outside` (a log, a registry, a world) are
kept by name only.
"""

from __future__ import annotations

import array
import base64
import collections
import copyreg
import datetime
import json
import random
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Items
from perennial.agents.exploring import Exploring

Arrays = dict[str, NDArray[Any]]
Node = Any
"""JSON: plain values as they are; everything else a dict whose first key says what it is."""

PLAIN = frozenset({type(None), bool, int, float, str})
CALLED = (collections.deque, collections.Counter, collections.defaultdict, collections.OrderedDict, set, frozenset)
"""Classes whose constructor may be called while reading, besides `object.__new__`; dates come on top."""
DATES = (datetime.date, datetime.datetime, datetime.timedelta)
BITS = {
    bits.__name__: bits
    for bits in (np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
}
"""NumPy's kinds of random bits, by name."""
TREE = "tree"


class SnapshotError(ValueError):
    """What cannot be written down, or does not fit what is read."""


def take(parts: Mapping[str, Any], outside: Mapping[str, Any]) -> Arrays:
    """All that `parts` remember, as arrays; one of them is text, the others hold the numbers."""
    writer = _Writer(outside)
    tree = {name: writer.node(part, name) for name, part in parts.items()}
    return {TREE: np.frombuffer(json.dumps(tree).encode(), np.uint8), **writer.arrays}


def give_back(arrays: Mapping[str, NDArray[Any]], outside: Mapping[str, Any], agent: AgentMaker) -> dict[str, Any]:
    """The parts again; `agent(items)` makes an agent that has learned nothing and knows `items`."""
    tree = json.loads(np.asarray(arrays[TREE]).tobytes().decode())
    reader = _Reader(arrays, outside, agent)
    return {name: reader.value(node, name) for name, node in tree.items()}


AgentMaker = Callable[[Items], Agent]


class _Writer:
    def __init__(self, outside: Mapping[str, Any]) -> None:
        self.arrays: Arrays = {}
        self._outside = {id(value): name for name, value in outside.items()}
        self._numbers: dict[int, int] = {}
        self._short: dict[type, str] = {}
        self._alive: list[Any] = []  # an id names an object only while that lives

    def node(self, value: Any, path: str) -> Node:
        if type(value) in PLAIN:
            return value
        if id(value) in self._outside:
            return {"outside": self._outside[id(value)]}
        if id(value) in self._numbers:
            return {"again": self._numbers[id(value)]}
        return self._frozen(value, path) or self._by_name(value, path) or self._numbered(value, path)

    def _frozen(self, value: Any, path: str) -> Node:
        """A frozen dataclass of plain values, such as a day's counts: there may be thousands, so it is short."""
        kind = type(value)
        if kind not in self._short:
            frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            self._short[kind] = _name(kind, path) if frozen and "__getstate__" not in vars(kind) else ""
        if (
            not self._short[kind]
            or not hasattr(value, "__dict__")
            or not PLAIN.issuperset(map(type, vars(value).values()))
        ):
            return None
        return {"frozen": self._short[kind], "fields": vars(value)}

    def _by_name(self, value: Any, path: str) -> Node:
        """Values without an identity of their own; None for the others."""
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value))}
        if type(value) is tuple:
            return {"tuple": self._entries(value, path)}
        if type(value) is bytes:
            return {"bytes": base64.b64encode(value).decode()}
        if isinstance(value, np.dtype):
            return {"dtype": value.str}
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return {"named": _name(value, path)}
        if isinstance(value, types.MethodType):
            return {"method": value.__name__, "of": self.node(value.__self__, path)}
        return None

    def _numbered(self, value: Any, path: str) -> Node:
        number = self._numbers[id(value)] = len(self._alive)
        self._alive.append(value)
        return {**self._content(value, path), "number": number}

    def _content(self, value: Any, path: str) -> dict[str, Node]:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise SnapshotError(f"'{path}' is an array of Python objects, which no checkpoint holds. Use numbers.")
            return {"array": self._array(value)}
        if isinstance(value, array.array):
            return {"typed": value.typecode, "array": self._array(np.array(value))}
        if type(value) in (list, set, frozenset):
            return {type(value).__name__: self._entries(value, path)}
        if type(value) is dict:
            return {"dict": self._pairs(value.items(), path)}
        if isinstance(value, np.random.Generator):
            state = value.bit_generator.state
            if state["bit_generator"] not in BITS:
                raise SnapshotError(
                    f"'{path}' draws from {state['bit_generator']}. Allowed: {', '.join(sorted(BITS))}."
                )
            return {"generator": state["bit_generator"], "state": self.node(state, path)}
        if type(value) is random.Random:
            version, words, spare = value.getstate()
            return {"random": version, "words": self._array(np.array(words, np.uint32)), "spare": spare}
        if isinstance(value, Agent) and not isinstance(value, Exploring):
            return {"agent": self.node(value.state(), path), "items": self.node(value.items, path)}
        return self._reduced(value, path)

    # Most of what an object remembers is plain: it is taken as it is at once, for a checkpoint is written every day.

    def _entries(self, parts: Iterable[Any], path: str) -> list[Node]:
        return [part if type(part) in PLAIN else self.node(part, f"{path}[{i}]") for i, part in enumerate(parts)]

    def _pairs(self, items: Iterable[tuple[Any, Any]], path: str) -> list[Node]:
        return [
            [
                key if type(key) in PLAIN else self.node(key, path),
                part if type(part) in PLAIN else self.node(part, f"{path}.{key}"),
            ]
            for key, part in items
        ]

    def _array(self, value: NDArray[Any]) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays[name] = value
        return name

    def _reduced(self, value: Any, path: str) -> dict[str, Node]:
        """Any other object by Python's own protocol: how it is made, its state, its entries."""
        try:
            made, arguments, state, entries, pairs = (*value.__reduce_ex__(2), None, None, None)[:5]
        except (TypeError, ValueError) as error:
            raise SnapshotError(f"'{path}', a {type(value).__name__}, cannot be kept in a checkpoint: {error}.") from (
                error
            )
        if made is getattr(copyreg, "__newobj__"):  # noqa: B009 (not listed in the types of the module)
            made, arguments, how = arguments[0], arguments[1:], "new"
        elif made in (*CALLED, *DATES):
            how = "called"
        else:
            raise SnapshotError(
                f"'{path}', a {type(value).__name__}, cannot be kept in a checkpoint. Give its class a __getstate__ "
                "that returns plain values."
            )
        node = {how: _name(made, path), "with": [self.node(part, path) for part in arguments]}
        if state is not None:
            node["state"] = self._state(value, state, path)
        if entries is not None:
            node["entries"] = self._entries(entries, path)
        if pairs is not None:
            node["pairs"] = self._pairs(pairs, path)
        return node

    def _state(self, value: Any, state: Any, path: str) -> Node:
        if isinstance(state, dict) and not hasattr(value, "__setstate__"):
            return {"dict": self._pairs(state.items(), path), "number": self._unnamed()}
        return self.node(state, path)

    def _unnamed(self) -> int:
        self._alive.append(None)
        return len(self._alive) - 1


class _Reader:
    def __init__(self, arrays: Mapping[str, NDArray[Any]], outside: Mapping[str, Any], agent: AgentMaker) -> None:
        self._arrays, self._outside, self._agent = arrays, outside, agent
        self._made: dict[int, Any] = {}

    def value(self, node: Node, path: str) -> Any:
        if not isinstance(node, dict):
            return node
        kind = next(iter(node))
        if kind == "again":
            return self._made[node[kind]]
        read = getattr(self, f"_read_{kind}", None)
        if read is None:
            raise SnapshotError(f"'{path}' is of the kind '{kind}', which no checkpoint holds.")
        made = read(node, path)
        if "number" in node:
            self._made[node["number"]] = made
        return made

    def _all(self, nodes: list[Node], path: str) -> list[Any]:
        return [self.value(node, path) for node in nodes]

    def _read_outside(self, node: Node, path: str) -> Any:
        if node["outside"] not in self._outside:
            raise SnapshotError(f"'{path}' needs '{node['outside']}', which was not handed over.")
        return self._outside[node["outside"]]

    def _read_scalar(self, node: Node, path: str) -> Any:
        return np.reshape(self._arrays[node["scalar"]], ())[()]  # some files hold no array without an axis

    def _read_tuple(self, node: Node, path: str) -> Any:
        return tuple(self._all(node["tuple"], path))

    def _read_bytes(self, node: Node, path: str) -> bytes:
        return base64.b64decode(node["bytes"])

    def _read_dtype(self, node: Node, path: str) -> Any:
        return np.dtype(node["dtype"])

    def _read_named(self, node: Node, path: str) -> Any:
        return _find(node["named"], path)

    def _read_method(self, node: Node, path: str) -> Any:
        return getattr(self.value(node["of"], path), node["method"])

    def _read_array(self, node: Node, path: str) -> Any:
        return self._arrays[node["array"]]

    def _read_typed(self, node: Node, path: str) -> Any:
        return array.array(node["typed"], self._arrays[node["array"]].tolist())

    def _read_list(self, node: Node, path: str) -> Any:
        made: list[Any] = self._made.setdefault(node["number"], [])
        made.extend(self._all(node["list"], path))
        return made

    def _read_set(self, node: Node, path: str) -> Any:
        return set(self._all(node["set"], path))

    def _read_frozenset(self, node: Node, path: str) -> Any:
        return frozenset(self._all(node["frozenset"], path))

    def _read_dict(self, node: Node, path: str) -> Any:
        made: dict[Any, Any] = self._made.setdefault(node["number"], {})
        for key, part in node["dict"]:
            made[self.value(key, path)] = self.value(part, f"{path}.{key}")
        return made

    def _read_generator(self, node: Node, path: str) -> Any:
        if node["generator"] not in BITS:
            raise SnapshotError(f"'{path}' names {node['generator']}, which is no kind of random bits.")
        bits: Any = BITS[node["generator"]](0)
        bits.state = self.value(node["state"], path)
        return np.random.Generator(bits)

    def _read_random(self, node: Node, path: str) -> Any:
        made = random.Random(0)
        made.setstate((node["random"], tuple(self._arrays[node["words"]].tolist()), node["spare"]))
        return made

    def _read_agent(self, node: Node, path: str) -> Any:
        made = self._agent(self.value(node["items"], path))
        made.restore(self.value(node["agent"], path))
        return made

    def _read_frozen(self, node: Node, path: str) -> Any:
        kind = _find(node["frozen"], path)
        if not (isinstance(kind, type) and is_dataclass(kind)):
            raise SnapshotError(f"'{path}' names {node['frozen']}, which is no dataclass.")
        made = kind.__new__(kind)
        made.__dict__.update(node["fields"])
        return made

    def _read_called(self, node: Node, path: str) -> Any:
        kind = _find(node["called"], path)
        if kind not in (*CALLED, *DATES):
            raise SnapshotError(f"'{path}' names {node['called']}, which no checkpoint may call.")
        made = self._made[node["number"]] = kind(*self._all(node["with"], path))
        return self._filled(made, node, path)

    def _read_new(self, node: Node, path: str) -> Any:
        kind = _find(node["new"], path)
        if not isinstance(kind, type):
            raise SnapshotError(f"'{path}' names {node['new']}, which is no class.")
        made = self._made[node["number"]] = kind.__new__(kind, *self._all(node["with"], path))
        return self._filled(made, node, path)

    def _filled(self, made: Any, node: Node, path: str) -> Any:
        if "state" in node:
            _fill(made, self.value(node["state"], path))
        for part in node.get("entries", ()):
            made.append(self.value(part, path))
        for key, part in node.get("pairs", ()):
            made[self.value(key, path)] = self.value(part, path)
        return made


def _fill(made: Any, state: Any) -> None:
    """What `copy` does with a state: the class's own way, or attributes and slots as they are."""
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        made.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(made, name, value)


def _name(value: Any, path: str) -> str:
    name = f"{value.__module__}:{value.__qualname__}"
    if "<" in name:
        raise SnapshotError(
            f"'{path}' is the function {name}, which has no name to find it by. Use a method, or a function or class "
            "of a module."
        )
    return name


def _find(name: str, path: str) -> Any:
    """The class or function of that name in a module that is imported already; none is imported for a checkpoint."""
    module, _, inner = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in inner.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise SnapshotError(f"'{path}' needs {name}, which is not there. Was the checkpoint written by other code?")
    return found
