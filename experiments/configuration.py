"""Hydra at the edge: compose `conf/`, hold every key against its class's typed constructor, build the objects."""

from __future__ import annotations

import collections.abc
import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

Node = dict[str, Any]
"""A resolved part of the configuration: plain dicts, lists and scalars."""

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
CONF = Path(__file__).parents[1] / "conf"
"""Where the YAMLs lie that the tools write to."""

VALUED = {"--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd", "--config-name", "-cn"}
"""Hydra's flags that the next word belongs to."""

OURS = "perennial"
SPECIAL = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


ELSEWHERE = {
    "detector": "detector@strategy.trigger.detector={} beside the strategy of an alarm, such as strategy=cusum",
    "agent/tuned": "agent=tuned/{}",
    "study": "perennial-demo study={}",
    "hpo": "perennial-tune hpo={}",
}
"""How a choice of a group is written that is not a group of a run's own."""


class ConfigurationError(ValueError):
    """The configuration cannot be run as it is; the message says which option, what is allowed and what came."""


@dataclass(frozen=True)
class Composed:
    """A whole, checked configuration: `node` the values, `choices` which YAML each group took."""

    node: Node
    choices: dict[str, str]


def compose(config: str, overrides: Sequence[str] = (), given: Mapping[str, set[str]] | None = None) -> Composed:
    """Compose `conf/<config>.yaml` with Hydra `overrides` and check all of it before anything runs.

    `given` names, per path, the constructor's arguments that the caller will hand over itself.
    """
    with initialize_config_module("perennial.conf", version_base="1.3"):
        forced = [_forced(override) for override in _parsed(overrides)]
        try:
            tree = hydra_compose(config, forced, return_hydra_config=True)
            choices = {k: str(v) for k, v in tree.hydra.runtime.choices.items() if not k.startswith("hydra/")}
            OmegaConf.set_struct(tree, False)
            del tree["hydra"]
            node = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigurationError(_elsewhere(overrides, str(error)) or str(error).strip().splitlines()[0]) from error
    assert isinstance(node, dict)
    values = {str(key): value for key, value in node.items()}
    check(values, given=given)
    return Composed(values, choices)


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The override lists of a multirun, one per run: `agent=a,b seed=0,1` gives four."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    with initialize_config_module("perennial.conf", version_base="1.3"):
        return [list(run) for run in BasicSweeper.split_arguments(_parsed(overrides, swept=True), None)[0]]


def forced(arguments: Sequence[str]) -> list[str]:
    """Command-line words for Hydra's own main, which then leaves the judgement of keys to `check`."""
    with initialize_config_module("perennial.conf", version_base="1.3"):
        before = ["", *arguments]
        return [
            word if word.startswith("-") or flag in VALUED else _forced(_parsed([word], swept=True)[0])
            for flag, word in zip(before, arguments, strict=False)
        ]


def check(node: Any, path: str = "", given: Mapping[str, set[str]] | None = None) -> None:
    """Hold every ``_target_`` in `node` against its constructor: known keys, well-typed values, nothing missing."""
    given = given or {}
    if isinstance(node, list):
        for index, value in enumerate(node):
            check(value, f"{path}[{index}]", given)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        check(value, _join(path, str(key)), given)
    if "_target_" in node:
        _check_call(node, path, given.get(path, set()))


def build(node: Node, path: str, **given: Any) -> Any:
    """The object that `node` describes; what its constructor refuses becomes a `ConfigurationError`."""
    check(node, path, {path: set(given)})
    try:
        made = instantiate(node, _convert_="all", _partial_=True)  # Hydra would turn dataclasses in `given` into dicts
    except InstantiationException as error:
        raise _refusal(error.__cause__, path, error) from error
    try:
        return made(**given)
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise _refusal(error, path, error) from error


def _refusal(cause: BaseException | None, path: str, error: Exception) -> Exception:
    """What a constructor said about its arguments, and of which part; any other error stays as it is."""
    if isinstance(cause, ValueError | TypeError | FileNotFoundError):
        return ConfigurationError(f"{path}: {cause}")
    return error


def check_origin(node: Any, path: str, trusted: Sequence[str] = ()) -> None:
    """Refuse a `node` from an untrusted file whose building could run anything but our own constructors.

    Every ``_target_`` must be a class of this package, or come from one of the packages `trusted`; a name that leads to
    something imported there from elsewhere does not count. References of OmegaConf (``${...}``) can make nodes while
    they are read, so that a file with any is refused.
    """
    if isinstance(node, str) and "${" in node:
        raise ConfigurationError(f"{path} must be a plain value. Got the reference {node!r}.")
    if isinstance(node, list):
        for index, value in enumerate(node):
            check_origin(value, f"{path}[{index}]", trusted)
    if isinstance(node, dict):
        for key, value in node.items():
            check_origin(value, _join(path, str(key)), trusted)
        if "_target_" in node:
            _check_origin(str(node["_target_"]), _join(path, "_target_"), trusted)


def _check_origin(name: str, path: str, trusted: Sequence[str]) -> None:
    """A name may be looked up, which imports its module, only once its first word is known to be trusted."""
    package = name.partition(".")[0]
    if package == OURS or package in trusted:
        target = _target(name, path)
        home = str(getattr(target, "__module__", "")).partition(".")[0]
        if home in trusted or (home == OURS and inspect.isclass(target)):
            return
    allowed = (
        ""
        if package == OURS
        else (f" If the file is yours or you trust who made it, allow its package: --trust {package}.")
    )
    raise ConfigurationError(
        f"{path} must be a class of {', '.join((OURS, *trusted))}. Got '{name}', which could run any code.{allowed}"
    )


def nearest(word: str, allowed: Iterable[str]) -> str:
    """ "The sentence "Did you mean 'x'?", or nothing where no allowed word is near."""
    match = difflib.get_close_matches(word, list(allowed), 1)
    return f" Did you mean '{match[0]}'?" if match else ""


def load(path: Path) -> Node:
    """One YAML of `conf/` as plain values."""
    node = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def read(path: Path) -> Node:
    """A YAML from elsewhere as plain values, its references left as they are; see `check_origin`."""
    try:
        node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(node, dict):
        raise ConfigurationError(f"{path} must hold keys and values. Got {type(node).__name__}.")
    return {str(key): value for key, value in node.items()}


def save(node: Node, path: Path) -> None:
    """Write `node` as YAML."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(node), sort_keys=False), encoding="utf-8")


def _parsed(overrides: Sequence[str], swept: bool = False) -> list[Override]:
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigurationError(
            f"{str(error).splitlines()[0]}. Options are written key=value, as in 'agent=linucb' or 'seed=3'."
        ) from error
    for override in parsed:
        _check_choice(override, swept)
    return parsed


def _check_choice(override: Override, swept: bool) -> None:
    """Refuse an unknown choice of a group, with the allowed ones, and a sweep outside a multirun."""
    if override.is_sweep_override() and not swept:
        raise ConfigurationError(f"'{override.input_line}' names several values. Add -m to run each of them.")
    loader = GlobalHydra.instance().config_loader()
    group = override.key_or_group
    if group not in loader.list_groups("") or override.is_delete():
        return
    below = [
        f"{part}/{name}" for part in loader.list_groups(group) for name in loader.get_group_options(f"{group}/{part}")
    ]
    allowed = [*loader.get_group_options(group), *below]
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.get_value_string()]
    for value in values:
        if value not in allowed:
            raise ConfigurationError(
                f"'{group}' must be one of {', '.join(allowed)}. Got '{value}'.{nearest(value, allowed)}"
            )


def _forced(override: Override) -> str:
    """The override with Hydra's own struct check taken off: the constructor's signature decides which keys exist."""
    line = str(override.input_line)
    loader = GlobalHydra.instance().config_loader()
    plain = line[0] not in "+~" and override.package is None
    return f"++{line}" if plain and override.key_or_group not in loader.list_groups("") else line


def _elsewhere(overrides: Sequence[str], refusal: str) -> str:
    """What to write instead, if Hydra's refusal is of an override that chooses from a group of `ELSEWHERE`."""
    for override in overrides:
        group, _, choice = override.partition("=")
        if group in ELSEWHERE and group in refusal:
            return f"{group} is no group of a run's own. Write {ELSEWHERE[group].format(choice)}. Got '{override}'."
    return ""


def _check_call(node: Node, path: str, given: set[str]) -> None:
    target = _target(node["_target_"], _join(path, "_target_"))
    name, options, hints = getattr(target, "__name__", str(target)), _options(target), _hints(target)
    keys = {str(key) for key in node} - SPECIAL
    allowed = [key for key in options if key not in given]
    if not any(o.kind is inspect.Parameter.VAR_KEYWORD for o in options.values()):
        for key in sorted(keys - set(allowed)):
            raise ConfigurationError(
                f"{_join(path, key)} is not an option of {name}. Allowed: {', '.join(allowed) or 'none'}."
                f"{nearest(key, allowed)}"
            )
    for key in sorted(keys & set(hints)):
        if not fits(node[key], hints[key]):
            raise ConfigurationError(
                f"{_join(path, key)} must be {_words(hints[key])}. Got {node[key]!r}.{_written(hints[key])}"
            )
    needed = {key for key, o in options.items() if o.default is o.empty and o.kind not in _VARIADIC}
    for key in sorted(needed - keys - given):
        raise ConfigurationError(f"{_join(path, key)} is missing. {name} needs it: {_words(hints.get(key, Any))}.")


def _written(hint: Any) -> str:
    """How an object of ours is written in YAML, where `hint` asks for one."""
    for part in (hint, *typing.get_args(hint)):
        if inspect.isclass(part) and part.__module__.startswith("perennial."):
            return f" Write {{_target_: {part.__module__}.{part.__name__}, <option>: <value>}}."
    return ""


def _target(name: str, path: str) -> Callable[..., Any]:
    try:
        target: Callable[..., Any] = get_object(name)
    except Exception as error:  # Hydra wraps whatever the import raised
        raise ConfigurationError(f"{path} names no class or function: '{name}'.") from error
    return target


def _options(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(target).parameters)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)


def fits(value: Any, hint: Any) -> bool:
    """Whether a YAML `value` may be handed to an argument annotated `hint`; hints we cannot read let it pass."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in arguments)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in arguments)
    if isinstance(value, dict) and "_target_" in value:
        target = get_object(value["_target_"])
        return not (inspect.isclass(hint) and inspect.isclass(target)) or issubclass(target, hint)
    if origin is not None:
        return _fits_container(value, origin, arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str)
    if hint is None or hint is types.NoneType:
        return value is None
    if inspect.isclass(hint) and value is not None and hint is not object:
        return isinstance(value, hint)
    return not (inspect.isclass(hint) and value is None)


def _fits_container(value: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if not inspect.isclass(origin):
        return True
    if issubclass(origin, collections.abc.Mapping):
        part = arguments[1] if len(arguments) == 2 else Any
        return isinstance(value, dict) and all(fits(v, part) for v in value.values())
    if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
        return isinstance(value, list) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if issubclass(origin, collections.abc.Iterable):
        return isinstance(value, list) and all(fits(v, arguments[0] if arguments else Any) for v in value)
    return True


def _words(hint: Any) -> str:
    """A type hint as a user reads it: "a number", "one of 'a', 'b'"."""
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if hint in simple:
        return simple[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is types.NoneType else _words(a) for a in arguments)
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping):
        return "a mapping of names" + (f" to {_words(arguments[1])}" if len(arguments) == 2 else "")
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Iterable):
        return "a list" + (f", each entry {_words(arguments[0])}" if arguments else "")
    return f"a {hint.__name__}" if inspect.isclass(hint) else str(hint)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
