"""Every detector's YAML: it builds, lists every option of its class, and every class has one."""

import importlib
import inspect
import itertools
from pathlib import Path

import pytest
import yaml

from perennial import conf
from perennial.agents.lifecycle import detectors
from perennial.agents.lifecycle.detectors import Detector

PATHS = sorted((Path(next(iter(conf.__path__))) / "detector").glob("*.yaml"))


def parts(node):
    """The node and those inside it."""
    yield node
    if "detector" in node:
        yield from parts(node["detector"])


def made(node):
    values = {key: made(value) if key == "detector" else value for key, value in node.items() if key != "_target_"}
    module, name = node["_target_"].rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**values)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_builds_and_lists_every_option(path):
    node = yaml.safe_load(path.read_text())
    assert isinstance(made(node), Detector)
    for part in parts(node):
        options = inspect.signature(getattr(detectors, part["_target_"].rsplit(".", 1)[1])).parameters
        assert set(part) - {"_target_"} == set(options)


def test_every_class_has_a_yaml():
    nodes = itertools.chain.from_iterable(parts(yaml.safe_load(path.read_text())) for path in PATHS)
    named = {node["_target_"].rsplit(".", 1)[1] for node in nodes}
    classes = {
        name for name, thing in vars(detectors).items() if inspect.isclass(thing) and issubclass(thing, Detector)
    }
    assert classes - {"Detector", "ErrorDetector"} == named
