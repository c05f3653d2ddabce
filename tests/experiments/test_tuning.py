"""Tuning spends the same budget on every agent, repeats itself, and never ends below the defaults it began with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from perennial.experiments import configuration, run, statistics, tuning
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.run import Run

pytest.importorskip("optuna", reason="needs the extra 'tune'")

TINY = [
    "world.n_users=300", "world.n_items=200", "world.visits_per_day=60", "experiment.history_days=3",
    "experiment.history_window_days=2", "experiment.scored_days=2",
]  # fmt: skip


def settings(**options: Any) -> tuning.Tuning:
    node = configuration.compose("tuning").node["hpo"]
    return configuration.build({**node, **options}, "hpo")


def tried(work: Any, agent: str = "linucb", **options: Any) -> list[tuning.Tried]:
    asked = settings(**options)
    return tuning.tune(asked, tuning.first(asked, [f"agent={agent}", *TINY], "runs"), work)


def scorer(score: Any) -> Any:
    """Stands for the simulation: each run scores `score(its agent's node, its seed)`."""

    def work(runs: Sequence[Run]) -> list[Any]:
        scores = [float(score(one.agent, one.seed)) for one in runs]
        return [SimpleNamespace(scores=SimpleNamespace(clicks_per_potential_visit=value)) for value in scores]

    return work


def test_defaults_come_first_and_the_search_climbs() -> None:
    """A known peak, at three times the default of alpha: thirty trials come closer to it than a tenth of the start."""
    found = tried(scorer(lambda agent, seed: -((agent["alpha"] - 0.55) ** 2) + seed), trials=30, seeds=[9001, 9002])
    assert found[0].values == {"alpha": 0.3, "ridge": 1.0, "rank": 5}
    assert found[0].score == pytest.approx(-((0.3 - 0.55) ** 2) + 9001.5)
    winner = tuning.best(found)
    assert abs(winner.values["alpha"] - 0.55) < 0.025
    assert len(found) == 30


def test_the_same_search_twice_and_another_seed_another() -> None:
    work = scorer(lambda agent, seed: agent["alpha"] * agent["ridge"])
    assert tried(work, trials=12) == tried(work, trials=12)
    assert tried(work, trials=12)[1:] != tried(work, trials=12, sampler_seed=5)[1:]


def test_searched_options_are_numbers_above_nought_within_a_factor_of_their_defaults() -> None:
    node = {"a": 0.5, "b": 8, "c": 0.0, "d": True, "e": "x", "cold_steps": 9, "inner": {"_target_": "t", "f": 2.0}}
    assert tuning.searched(node, ["cold_steps"]) == {"a": 0.5, "b": 8, "inner.f": 2.0}
    asked = {}

    class Corner:
        """A trial that draws every lower, then every upper end."""

        upper = False

        def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
            asked[name] = log
            return high if self.upper else low

        suggest_int = suggest_float

    corner: Any = Corner()
    assert tuning.suggest(corner, {"a": 0.5, "b": 8, "f": 2.0}, 4.0) == {"a": 0.2, "b": 2, "f": 0.5}
    corner.upper = True
    assert tuning.suggest(corner, {"a": 0.5, "b": 8, "f": 2.0}, 4.0) == {"a": 0.8, "b": 32, "f": 8.0}
    assert all(asked.values())


def test_options_that_the_agent_refuses_are_drawn_anew() -> None:
    """`tau` of DQN is 1, a share: about half of the draws lie above it, and none of them counts as a trial."""
    found = tried(scorer(lambda agent, seed: agent["width"]), "dqn", trials=8)
    assert [trial.number for trial in found] == list(range(8))
    assert all(trial.values["tau"] <= 1 for trial in found)
    assert len({trial.values["tau"] for trial in found}) > 2


def test_an_agent_that_refuses_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "suggest", lambda trial, defaults, factor: {**defaults, "tau": 2.0})
    with pytest.raises(ConfigurationError, match=r"refused 100 settings in a row.*'tau' must be"):
        tried(scorer(lambda agent, seed: 1.0), "dqn", trials=2)


def test_the_best_values_meet_the_defaults_on_seeds_that_chose_neither() -> None:
    """Scores of alpha times a seed's level: on seeds 5, 6, 7 the gain is .2 times their mean of 6, exactly known."""
    asked = settings(trials=2, held_out=[5, 6, 7])
    base = tuning.first(asked, ["agent=linucb", *TINY], "runs")
    ran: list[str] = []

    def work(runs: Sequence[Run]) -> list[Any]:
        ran.extend(one.label for one in runs)
        return scorer(lambda agent, seed: agent["alpha"] * seed)(runs)

    gained = tuning.gain(asked, base, tuning.Tried(1, {"alpha": 0.5}, 2.0), work)
    assert gained is not None
    assert gained.mean == pytest.approx(0.2 * 6)
    assert gained.half_width == pytest.approx(4.302652729911275 * 0.2 / 3**0.5)  # t of 2 degrees of freedom, .975
    assert len(ran) == 6
    assert all("held_out" in label for label in ran)
    assert tuning.gain(asked, base, tuning.Tried(0, {"alpha": 0.3}, 2.0), work) is None
    assert tuning.gain(settings(held_out=[]), base, tuning.Tried(1, {"alpha": 0.5}, 2.0), work) is None
    assert len(ran) == 6


@pytest.mark.timeout(240)
def test_two_trials_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = ["hpo.seeds=[9001]", "hpo.held_out=[9003,9004]"]
    words = ["agent=trending", "hpo.trials=2", *seeds, *TINY, "--output", str(tmp_path), "--workers", "1"]
    assert tuning.main(words) == 0
    path = tmp_path / "tuning-trending-nightly" / "tuned.json"
    kept = json.loads(path.read_text())
    assert kept["command"].startswith("perennial-tune agent=trending hpo.trials=2")
    assert kept["trials"][0]["values"] == {"half_life_days": 3.0, "prior": 20.0}
    assert kept["best"]["score"] >= kept["defaults"] > 0
    said = capsys.readouterr().out
    assert "clicks_per_potential_visit: defaults" in said
    assert kept["held_out"]["seeds"] == [9003, 9004]
    assert (kept["held_out"]["gain"] is not None) == (kept["best"]["trial"] > 0) == ("held-out seeds" in said)
    before = path.read_text()
    assert tuning.main(words) == 0  # nothing is run again
    assert path.read_text() == before


@pytest.mark.timeout(240)
def test_what_the_disk_does_to_a_trial_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the days before belong: no worker can make their folder."""
    folder = tmp_path / "tuning-trending-nightly"
    folder.mkdir()
    (folder / "history").write_text("in the way")
    words = ["agent=trending", "hpo.trials=2", "hpo.seeds=[9001]", *TINY, "--output", str(tmp_path), "--workers", "1"]
    assert tuning.main(words) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("perennial-tune: The run in ")
    assert "Not a directory" in said
    assert "start the same command again" in said


def test_what_was_tried_can_be_written_down() -> None:
    assert [tuning.short(v) for v in (0.123456, 0.99912345, 3.14159, 1234.5)] == [0.123, 0.999123, 3.14, 1230.0]


def test_the_best_values_lie_over_the_defaults() -> None:
    kept = [
        tuning.Tried(0, {"alpha": 0.3, "agent.rank": 5}, 1.0),
        tuning.Tried(1, {"alpha": 0.7, "agent.rank": 2}, 1.5),
    ]
    gained = statistics.Interval(0.25, 0.125, 0.375, 5)
    text = tuning.beside("lints", settings(trials=2), kept, gained, "perennial-tune agent=lints hpo.trials=2")
    assert "# On the held-out seeds 9003, 9004, 9005, 9006, 9007: +0.25 [+0.125, +0.375], 95 % paired" in text
    assert "# perennial-tune agent=lints hpo.trials=2 --write\n" in text
    assert "1 by the defaults, 1.5 by these" in text
    values = yaml.safe_load(text)
    assert values.pop("defaults") == ["/agent/lints@_here_", "_self_"]
    assert values == {"alpha": 0.7, "agent": {"rank": 2}}
    nothing = tuning.beside("lints", settings(trials=2), kept[:1], None, "perennial-tune agent=lints hpo.trials=2")
    assert "which no trial beat" in nothing
    assert list(yaml.safe_load(nothing)) == ["defaults"]


TUNED = sorted(path.stem for path in tuning.TUNED.glob("*.yaml"))


@pytest.mark.parametrize("name", TUNED)
def test_tuned_values_are_the_defaults_but_for_what_is_searched(name: str) -> None:
    tuned, plain = (run.compose([f"agent={choice}"]) for choice in (f"tuned/{name}", name))
    assert tuned.arm == f"tuned_{name}-{plain.arm.partition('-')[2]}"
    defaults, leave = tuning.searched(plain.agent, []), settings().leave
    found = tuning.searched(tuned.agent, [])
    assert set(found) == set(defaults)
    assert {path for path in found if found[path] != defaults[path]} <= set(tuning.searched(plain.agent, leave))
    head = (tuning.TUNED / f"{name}.yaml").read_text().splitlines()[1]
    assert head.startswith(f"# perennial-tune agent={name} ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agent=linucbb"], "Did you mean 'linucb'?"),
        (["agent=tuned/nothing"], "must be one of"),
        (["agent=linucb", "hpo.metric=ctrr"], "'metric' must be one of"),
        (
            ["agent=linucb", "hpo.held_out=[9001,9003]"],
            "'held_out' must be two or more different whole numbers, none of",
        ),
        (["agent=linucb", "hpo.held_out=[9003]"], "'held_out' must be two or more"),
        (["agent=linucb", "hpo.trials=0"], "'trials' must be at least 1. Got 0"),
        (["agent=random"], "has no number to tune"),
        (["agent=linucb", "hpo=optunaa"], "Did you mean 'optuna'?"),
    ],
)
def test_what_cannot_be_tuned_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuning.main(words) == 2
    assert message in capsys.readouterr().err


def test_tuning_seeds_are_no_studys() -> None:
    studies = (Path(str(run.__file__)).parents[1] / "conf" / "study").glob("*.yaml")
    used = {
        seed
        for path in studies
        for seed in configuration.compose("study", [f"study={path.stem}"]).node["study"]["seeds"]
    }
    assert used.isdisjoint([*settings().seeds, *settings().held_out])
