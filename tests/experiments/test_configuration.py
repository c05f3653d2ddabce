"""Configuration: YAML and Python give the same objects; what is wrong is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml

from perennial.agents.lifecycle.detectors import PageHinkley
from perennial.agents.lifecycle.rollout import ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.triggers import Never, Schedule
from perennial.agents.lifecycle.windows import LastDays
from perennial.agents.linucb import LinUCB
from perennial.envs import Reward, World
from perennial.envs.drift import NoDrift, Seasonal
from perennial.experiments import configuration, run
from perennial.experiments.configuration import ConfigurationError

CONF = Path(str(configuration.__file__)).parents[1] / "conf"


def options_of(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def plain(thing: Any) -> Any:
    """An object of ours as nested dicts of its attributes, so that two can be compared."""
    if type(thing).__module__.startswith("perennial."):
        return {"class": type(thing).__name__, **{key: plain(value) for key, value in vars(thing).items()}}
    return {key: plain(value) for key, value in thing.items()} if isinstance(thing, dict) else thing


@pytest.mark.parametrize(
    ("overrides", "part", "made"),
    [
        (["agent=linucb", "agent.alpha=0.7"], "agent", lambda: LinUCB(alpha=0.7)),
        (["reward=clicks"], "reward", Reward),
        (["drift=none"], "drift", NoDrift),
        (["drift.strength=0.5"], "drift", lambda: Seasonal(strength=0.5)),
        (
            ["strategy=nightly"],
            "strategy",
            lambda: Strategy(Schedule(days=1), LastDays(7), Never(), ImmediateRollout(), "warm", 24),
        ),
        (["strategy=cusum", "strategy.window.days=5"], "strategy.window", lambda: LastDays(5)),
    ],
)
def test_yaml_gives_what_python_gives(overrides: list[str], part: str, made: Callable[[], Any]) -> None:
    node: Any = configuration.compose("config", overrides, run.WORLD_GETS).node
    for key in part.split("."):
        node = node[key]
    assert plain(configuration.build(node, part)) == plain(made())


def test_world_from_yaml_is_the_world_from_python() -> None:
    node = run.compose(["world.n_users=50", "world.n_items=80"]).world
    ours = configuration.build(node, "world", drift=NoDrift(), seed=3, reward=Reward(click=2.0))
    theirs = World("gift_shop", NoDrift(), 3, n_users=50, n_items=80, reward=Reward(click=2.0))
    pages = []
    for world in (ours, theirs):
        visits = next(v for tick in range(6000, 7000) if len((v := world.arrivals(tick)).active))
        seen = world.observe(visits)
        answer = world.respond(visits, np.tile(np.arange(10, dtype=np.int32), (len(seen["user"]), 1)))
        pages.append({**seen, "reward": answer.reward, "clicked": answer.clicked})
    assert all(np.array_equal(pages[0][key], pages[1][key]) for key in pages[0])


@pytest.mark.parametrize("group", ["world", "drift", "reward", "feedback", "agent", "strategy", "experiment"])
def test_every_yaml_composes_and_builds(group: str) -> None:
    assert options_of(group)
    for name in options_of(group):
        assert run.compose([f"{group}={name}", *(["world=gift_shop"] if group != "world" else [])]).seed == 0


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_first_line_is_a_comment(path: Path) -> None:
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agent=linucbb", r"'agent' must be one of .*linucb, .*Got 'linucbb'\. Did you mean 'linucb'\?"),
        ("strategy=nightl", r"Did you mean 'nightly'\?"),
        ("agent.alhpa=1", r"agent\.alhpa is not an option of LinUCB\. Allowed: alpha, .*Did you mean 'alpha'\?"),
        ("strategy.trigger.dayz=1", r"strategy\.trigger\.dayz is not an option of Schedule\. Allowed: days, hours"),
        ("sede=1", r"sede is not an option of Run\. .*Did you mean 'seed'\?"),
        ("agent.alpha=large", r"agent\.alpha must be a number\. Got 'large'"),
        ("seed=1.5", r"seed must be a whole number\. Got 1\.5"),
        ("seed=-1", r"'seed' must be 0 or more\. Got -1"),
        ("agent.alpha=-1", r"agent: 'alpha' must .*Got -1"),
        ("world.drift=none", r"world\.drift is not an option of World"),
        ("experiment.first_day=autumn", r"'first_day' must be a date like"),
        ("experiment.history_days=400", r"reaches back before 2010-01-01"),
        ("seed=1,2", r"'seed=1,2' names several values\. Add -m"),
        ("seed", r"Options are written key=value"),
        ("detector=adwin", r"Write detector@strategy\.trigger\.detector=adwin beside"),
        ("agent/tuned=linucb", r"Write agent=tuned/linucb\. Got 'agent/tuned=linucb'"),
        ("study=agents", r"Write perennial-demo study=agents"),
        ("world.ladder=3", r"Write \{_target_: perennial\.envs\.notice\.Ladder, <option>: <value>\}"),
        ("agent._target_=perennial.agents.linucb.LinUBC", r"agent\._target_ names no class"),
    ],
)
def test_a_wrong_option_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run.compose(["agent=linucb", override])


def test_unknown_preset_is_refused_with_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["agent=random", "world.preset=gift_shp", f"output={tmp_path}/runs"]) == 2
    assert "Did you mean 'gift_shop'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_option_the_yaml_does_not_list_is_still_checked_and_used() -> None:
    node = run.compose(["world.latent_dim=8"]).world
    assert node["latent_dim"] == 8
    with pytest.raises(ConfigurationError, match=r"world\.latent_dim must be a whole number"):
        run.compose(["world.latent_dim=8.5"])


def test_a_sweep_is_the_product_of_its_values() -> None:
    runs = configuration.sweep(["agent=linucb,random", "seed=0,1", "strategy=static"])
    assert len(runs) == 4
    assert ["agent=random", "seed=1", "strategy=static"] in runs
    with pytest.raises(ConfigurationError, match=r"Got 'lin'"):
        configuration.sweep(["agent=linucb,lin"])


def test_words_that_belong_to_flags_of_hydra_are_left_alone() -> None:
    assert configuration.forced(["--cfg", "job", "-p", "agent", "seed=1"]) == [
        "--cfg",
        "job",
        "-p",
        "agent",
        "++seed=1",
    ]


@pytest.mark.parametrize(
    ("value", "hint", "good"),
    [
        (1, float, True), (True, float, False), (True, int, False), (1.0, int, False), (None, float | None, True),
        (None, float, False), ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False),
        ([1, 2], list[int], True), ([1, "x"], list[int], False), ({"a": [1]}, dict[str, list[int]], True),
        ([1, 2], tuple[int, int], True), ([1], tuple[int, int], False), ("x", Any, True), ("folder", Path, True),
        ({"direction": 1}, PageHinkley, False),
    ],
)  # fmt: skip
def test_fits(value: Any, hint: Any, good: bool) -> None:
    assert configuration.fits(value, hint) is good


def test_a_part_of_the_wrong_class_does_not_fit() -> None:
    node = {"_target_": "perennial.agents.lifecycle.windows.LastDays", "days": 3}
    with pytest.raises(ConfigurationError, match=r"strategy\.trigger must be a Trigger"):
        configuration.check({"strategy": {"_target_": "perennial.agents.lifecycle.strategy.Strategy", "trigger": node}})


MINE = "tests.agents.lifecycle.learner.Learner"
FOREIGN = [
    ({"_target_": "os.system", "command": "touch %s"}, "agent._target_ must be a class of perennial. Got 'os.system'"),
    ({"_target_": "perennial.experiments.execution.os.system", "command": "touch %s"}, "could run any code"),
    ({"_target_": "perennial.experiments.results.write_atomically", "path": "%s", "text": ""}, "could run any code"),
    ({"inner": [{"_target_": "subprocess.call", "args": ["touch", "%s"]}]}, r"agent.inner\[0\]._target_ must be"),
    ("${oc.create:'{_target_: os.system}'}", "agent must be a plain value. Got the reference"),
    ({"_target_": MINE}, "allow its package: --trust tests"),
]


@pytest.mark.parametrize(("agent", "message"), FOREIGN)
def test_the_folder_of_a_run_runs_no_code_of_others(agent: Any, message: str, tmp_path: Path) -> None:
    given = run.compose(["agent=popular"])
    text = yaml.safe_dump({**given.settings, "registry": given.registry, "agent": agent})
    (tmp_path / run.CONFIG).write_text(text.replace("%s", str(tmp_path / "touched")))
    with pytest.raises(ConfigurationError, match=message):
        run.kept_in(tmp_path)
    assert not (tmp_path / "touched").exists()


def keep(folder: Path, given: run.Run, **other: Any) -> None:
    """What a run writes of itself into its folder."""
    configuration.save({**given.settings, "registry": given.registry, **given.names, **other}, folder / run.CONFIG)


def test_the_folder_of_a_run_may_name_our_classes_and_those_of_trusted_packages(tmp_path: Path) -> None:
    for strategy in ("nightly_canary", "nightly_review", "page_hinkley"):
        given = run.compose(["agent=linucb", f"strategy={strategy}"])
        keep(tmp_path, given)
        assert run.kept_in(tmp_path).digest == given.digest
    keep(tmp_path, given, agent={"_target_": MINE})
    assert run.kept_in(tmp_path, ["tests"]).agent == {"_target_": MINE}
    harms = {"agent: [": "cannot be read", "- 1": "must hold keys", "agents: {}": "does not describe a run"}
    for text, message in harms.items():
        (tmp_path / run.CONFIG).write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            run.kept_in(tmp_path)
