"""The house keeps its shape: imports point one way, packages match the tree, doc examples run, nothing unsafe."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("envs", "agents", "experiments", "conf")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN = {
    "envs": "perennial.agents perennial.experiments perennial.conf hydra omegaconf torch stable_baselines3 sb3_contrib "
    "tensorboard deltalake river implicit",
    "agents": "perennial.envs perennial.experiments perennial.conf hydra omegaconf tensorboard torch.utils.tensorboard "
    "matplotlib gymnasium.make",
    "conf": "perennial.envs perennial.agents perennial.experiments hydra torch",
    "experiments": "",
}


def name_of(path: Path) -> str:
    """The import name of a source file: envs/drift/seasonal.py is perennial.envs.drift.seasonal."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("perennial", *(part for part in parts if part != "__init__")))


def imports_of(source: str, name: str, is_package: bool) -> Iterator[str]:
    """Every module that `source` imports anywhere, relative imports resolved; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def reaches(module: str, target: str) -> bool:
    return module == target or module.startswith(target + ".")


def violations(source: str, path: Path) -> list[str]:
    """The imports of a file that its folder may not make, or that use a folder's bare name."""
    forbidden = [*FORBIDDEN.get(path.relative_to(ROOT).parts[0], "").split(), *FOLDERS]
    found = imports_of(source, name_of(path), path.name == "__init__.py")
    return sorted({module for module in found for target in forbidden if reaches(module, target)})


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_the_allowed_way(path: Path) -> None:
    assert violations(path.read_text(), path) == []


def test_tests_import_by_full_name() -> None:
    found = {path.name: violations(path.read_text(), path) for path in (ROOT / "tests").rglob("*.py")}
    assert {name: bad for name, bad in found.items() if bad} == {}


@pytest.mark.parametrize(
    ("folder", "source", "found"),
    [
        ("envs", "from perennial.agents.base import Agent", ["perennial.agents.base", "perennial.agents.base.Agent"]),
        ("envs", "def f():\n    import torch.nn as nn", ["torch.nn"]),
        ("envs", "from ..agents import base", ["perennial.agents", "perennial.agents.base"]),
        ("envs", "import numpy\nfrom .drift import seasonal\nfrom perennial.envs import world", []),
        ("agents", "import torch\nfrom torch.utils import tensorboard", ["torch.utils.tensorboard"]),
        ("agents", "from . import base\nimport stable_baselines3", []),
        ("experiments", "from envs import world\nimport perennial.envs", ["envs", "envs.world"]),
    ],
)
def test_the_import_check_sees(folder: str, source: str, found: list[str]) -> None:
    assert violations(source, ROOT / folder / "example.py") == found


def test_packages_are_those_of_the_tree() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(declared) == sorted({name_of(path / "__init__.py") for path in {p.parent for p in SOURCES}})
    assert all((path.parent / "__init__.py").exists() for path in SOURCES)


def test_console_scripts_lead_to_functions() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for target in scripts.values():
        module, function = target.split(":")
        path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert path.exists(), f"{target}: no file {path.relative_to(ROOT)}"
        names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert function in names, f"{target}: no function '{function}' in {path.relative_to(ROOT)}"


@pytest.mark.parametrize("path", [p for p in SOURCES if ">>> " in p.read_text()], ids=name_of)
def test_doc_examples_run(path: Path) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name_of(path)))
    assert failed == 0
    assert attempted > 0, "examples are written, but none is found: are they in a docstring?"


def modules_after(statement: str) -> set[str]:
    """The names of all modules that a fresh Python holds after one statement."""
    code = statement + "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return set(done.stdout.split())


def test_importing_the_environments_stays_light() -> None:
    heavy = {"torch", "polars", "hydra", "matplotlib", "pandas", "deltalake", "stable_baselines3"}
    parts_of_scipy = {"scipy.stats", "scipy.optimize", "scipy.sparse", "scipy.linalg"}  # numba asks scipy its version
    assert (heavy | parts_of_scipy) & modules_after("import perennial.envs") == set()


def test_importing_the_agents_stays_light() -> None:
    heavy = {"torch", "stable_baselines3", "implicit", "hydra", "numba", "scipy"}
    assert heavy & modules_after("import perennial.agents") == set()


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~/])/(?:" + "|".join(("work", "home", "root", "Users", "opt")) + r")/\w")
    others = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in {".py", ".md", ".toml", ""}]
    yamls = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in {".yaml", ".json"}]
    files = [*SOURCES, *others, *yamls, *(ROOT / "tests").rglob("*.py"), ROOT / ".ci" / "run"]
    bad = [str(path.relative_to(ROOT)) for path in files if pattern.search(path.read_text(errors="replace"))]
    assert bad == []


def unsafe_calls(source: str) -> list[str]:
    """Calls that would run code hidden in a file: pickle in any dress, full YAML, torch.load of more than weights."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        call = ast.unparse(node.func)
        flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
        pickles = re.fullmatch(
            r"(c?pickle|cloudpickle|dill|joblib)\.(load|loads|Unpickler)|yaml\.(unsafe_|full_)?load", call
        )
        loose = (call == "torch.load" and flags.get("weights_only") != "True") or flags.get("allow_pickle") == "True"
        if pickles or loose:
            found.append(call)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_is_trusted_with_code(path: Path) -> None:
    assert unsafe_calls(path.read_text()) == []


def test_the_check_for_unsafe_calls_sees() -> None:
    source = "pickle.load(f)\nyaml.load(f)\ntorch.load(f)\nnp.load(f, allow_pickle=True)\nyaml.safe_load(f)"
    assert unsafe_calls(source) == ["pickle.load", "yaml.load", "torch.load", "np.load"]


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "agent").glob("*.yaml")), ids=lambda path: path.stem)
def test_agent_yaml_lists_every_option_of_its_class(path: Path) -> None:
    text = path.read_text()
    values = yaml.safe_load(text)
    module, name = values.pop("_target_").rsplit(".", 1)
    options = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert text.startswith("# "), "the first line says what the agent is"
    assert list(values) == list(options)
