"""No parameter of the world without a word on where it comes from, and no word on a parameter that is none."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

from perennial.envs.calibration import provenance
from perennial.envs.calibration.provenance import ASSUMED, FITTED, LITERATURE, TABLE, parameters


def gaps() -> dict[str, set[str]]:
    """By owner, what is a parameter or in the table, but not both."""
    found = parameters()
    both = {owner: set(found.get(owner, ())) ^ set(TABLE.get(owner, ())) for owner in {*found, *TABLE}}
    missing = {owner: {"(owner)"} for owner in set(found) ^ set(TABLE)}
    return {owner: names for owner, names in {**both, **missing}.items() if names}


def test_every_parameter_has_its_provenance() -> None:
    assert gaps() == {}, "say in envs/calibration/provenance.py where each of these comes from"


def test_the_kinds_are_three_and_each_names_a_source() -> None:
    entries = [entry for own in TABLE.values() for entry in own.values()]
    assert {entry.kind for entry in entries} == {FITTED, LITERATURE, ASSUMED}
    assert all(entry.source for entry in entries)


def test_a_new_field_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Reward:
        click: float = 1.0
        cart: float = 0.0
        purchase: float = 0.0
        not_interested: float = 0.0
        bounce: float = 0.0

    kept = tuple(record for record in provenance.RECORDS if record.__name__ != "Reward")
    monkeypatch.setattr(provenance, "RECORDS", (*kept, Reward))
    assert gaps() == {"Reward": {"bounce"}}


def test_a_new_constant_shows(tmp_path: Path) -> None:
    source = "from math import pi as PI\n\nAPPEAL, HALO = 0.4, 2.0\nGLOW: float = 1.0  # logits\nNAMES = {}\nlow = 1\n"
    (tmp_path / "made_up.py").write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("made_up", tmp_path / "made_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert dict(provenance._constants(module)) == {"APPEAL": 0.4, "HALO": 2.0, "GLOW": 1.0}


@pytest.mark.parametrize(
    ("owner", "name"),
    [("Preset", "season"), ("VisitModel", "focus"), ("Dynamics", "loyalty_rate"), ("TasteDrift", "share"),
     ("Years", "phase_sd_days"), ("catalogue", "APPEAL_SCALE"), ("visitors", "LATENT_SCALE"), ("World", "channel"),
     ("Pulse", "half_life_days"), ("Holiday", "size"), ("fit", "CART_GIVEN_CLICK")],
)  # fmt: skip
def test_the_walk_finds(owner: str, name: str) -> None:
    assert name in parameters()[owner]
