"""One run: world x drift x agent x strategy x seed, scored day by day; `perennial-run` on the command line."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perennial.envs.preset import EPOCH
from perennial.experiments import configuration, results
from perennial.experiments.configuration import ConfigurationError, Node
from perennial.experiments.console import STOPPED, script
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.envs import World

WORLD_GETS = {"world": {"drift", "seed", "reward"}, "registry": {"place"}}
"""Arguments of the parts that the run hands over itself."""

CONFIG = "config.yaml"
"""In a run's folder: all that `kept_in` needs to have the run again."""

Status = Literal["finished", "stale", "open"]


@dataclass(frozen=True)
class Experiment:
    """When a run is scored and what came before.

    Arguments:
        first_day: first scored day, an ISO date.
        scored_days: number of scored days.
        history_days: days before it that `popular` served; the agent's first version learns from them.
        history_window_days: days that `popular` is refitted on every night.
        history_exploration: share of uniform pages in that time.
        exploration: share of uniform pages of every agent deployed afterwards.
    """

    first_day: str
    scored_days: int = 90
    history_days: int = 91
    history_window_days: int = 28
    history_exploration: float = 0.1
    exploration: float = 0.02

    def __post_init__(self) -> None:
        try:
            datetime.date.fromisoformat(self.first_day)
        except ValueError as error:
            raise ValueError(f"'first_day' must be a date like 2010-09-02. Got {self.first_day!r}.") from error
        for name in ("scored_days", "history_days", "history_window_days"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' must be at least 1. Got {getattr(self, name)}.")
        for name in ("history_exploration", "exploration"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"'{name}' must lie in [0, 1]. Got {getattr(self, name)}.")
        if self.history_start < 0:
            raise ValueError(
                f"'history_days' reaches back before {EPOCH}, the first day of all worlds. "
                f"Got {self.history_days} days before {self.first_day}."
            )

    @property
    def start(self) -> int:
        """The first scored day, in days since the epoch."""
        return (datetime.date.fromisoformat(self.first_day) - datetime.date.fromisoformat(EPOCH)).days

    @property
    def history_start(self) -> int:
        return self.start - self.history_days


@dataclass(frozen=True)
class Run:
    """All that decides a run's result, and where it is kept. Its parts are nodes, built in the process that runs it."""

    world: Node
    drift: Node
    reward: Node
    feedback: Node
    agent: Node
    strategy: Node
    experiment: Node
    registry: Node
    seed: int = 0
    collection: str = "single"
    name: str | None = None
    output: str = "runs"
    overwrite: bool = False
    arm: str = ""
    drift_name: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"'seed' must be 0 or more. Got {self.seed}.")

    def at_seed(self, seed: int) -> Run:
        return replace(self, seed=seed)

    @cached_property
    def window(self) -> Experiment:
        window: Experiment = configuration.build(self.experiment, "experiment")
        return window

    @property
    def label(self) -> str:
        return self.name or f"{self.arm}-{self.drift_name}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        return Path(self.output) / self.collection / self.label

    @cached_property
    def history(self) -> Path:
        """Where the time before the scored window is kept, shared by all agents and strategies."""
        shop = [self.world, self.drift, self.reward, self.feedback]
        parts = [*shop, asdict(self.window), self.seed, results.code_digest()]
        name = f"{self.drift_name}-seed{self.seed}-{results.digest(parts)[:8]}"
        return Path(self.output) / self.collection / "history" / name

    @property
    def first_version(self) -> Path:
        """The file of the agent's first version, shared by all strategies."""
        return self.history / "first" / f"{results.digest(self.agent)[:16]}.safetensors"

    @property
    def settings(self) -> Node:
        """What decides the result; where it is kept does not."""
        return {key: getattr(self, key) for key in (*PARTS, "seed")}

    @property
    def names(self) -> Node:
        """What the run calls its parts in tables."""
        return {"arm": self.arm, "drift_name": self.drift_name}

    @cached_property
    def digest(self) -> str:
        return results.digest(self.settings)

    def status(self) -> Status:
        """Finished; stale, by other settings or other code; or still to be run."""
        if not results.finished(self.folder):
            return "open"
        done = results.read(self.folder)
        return "finished" if (done.configuration, done.code) == (self.digest, results.code_digest()) else "stale"


PARTS = ("world", "drift", "reward", "feedback", "agent", "strategy", "experiment")


def build_world(setting: Node, seed: int) -> World:
    """The world that `setting` (its nodes world, drift and reward) describes; raises ConfigurationError if none."""
    parts = {name: configuration.build(setting[name], name) for name in ("drift", "reward")}
    world: World = configuration.build(setting["world"], "world", **parts, seed=seed)
    return world


def compose(overrides: Sequence[str], arm: str = "", **kept: Any) -> Run:
    """The run of ``conf/config.yaml`` with Hydra `overrides`, wholly checked; `kept` says where it is kept."""
    composed = configuration.compose("config", overrides, WORLD_GETS)
    return _run({**composed.node, **kept}, composed.choices, arm)


def finished(words: Sequence[str], days: int, trusted: Sequence[str] = ()) -> Run:
    """The finished run about whose `days` something is asked: `words` are its folder, or what made `perennial-run`
    make it."""
    kept = len(words) == 1 and Path(words[0]).is_dir()
    run = kept_in(Path(words[0]), trusted) if kept else compose(words)
    if run.status() != "finished" or days < 1:
        raise ConfigurationError(
            f"{run.folder} must be a finished run of this code, and --days at least 1. Give its folder, or the words "
            "that perennial-run was given."
        )
    return run


def ask_finished(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `finished` takes, but for the days."""
    words = "the run's folder, such as runs/gift_shop/nightly-seasonal-seed0, or its settings as given to perennial-run"
    parser.add_argument("run", nargs="*", help=words)
    ask_trust(parser)


def _run(node: Node, choices: dict[str, str], arm: str = "") -> Run:
    values = {key: value for key, value in node.items() if key != "_target_"}
    try:
        arm = arm or f"{choices['agent'].replace('/', '_')}-{choices['strategy']}"
        run = Run(**values, arm=arm, drift_name=choices["drift"])
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    for part in ("drift", "reward", "feedback", "agent", "strategy", "experiment"):
        configuration.build(getattr(run, part), part)
    return run


def kept_in(folder: Path, trusted: Sequence[str] = ()) -> Run:
    """The run whose records lie in `folder`.

    Its settings may name classes of this package and of the packages `trusted`, no others: a folder that somebody else
    made would otherwise run their code.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigurationError(f"'run' must be the folder of a run, which holds {CONFIG}. Got {folder}.")
    node = configuration.read(folder / CONFIG)
    configuration.check_origin(node, "", trusted)
    place = folder.resolve()
    try:
        return Run(**node, name=place.name, collection=place.parent.name, output=str(place.parent.parent))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{folder / CONFIG} does not describe a run: {error}.") from error


def ask_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option with which a user vouches for agents and other parts of their own, for `kept_in`."""
    words = "a package that the run's config.yaml may take classes from, besides perennial; may be given several times"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=words)


@script("perennial-run")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-run key=value ...`: one run, or with -m the product of several values."""
    one_thread()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if any(word in ("-m", "--multirun") for word in given):
        for overrides in configuration.sweep([word for word in given if not word.startswith("-")]):
            compose(overrides)
        return _hydra(given)
    if any(word.startswith("-") for word in given):
        return _hydra(given)
    return carry_out(compose(given))


def _hydra(given: Sequence[str]) -> int:
    """Hand over to Hydra's own main: multirun with its launchers, --help, --cfg."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf

    codes = [0]

    @hydra.main(config_path="pkg://perennial.conf", config_name="config", version_base="1.3")
    def task(tree: DictConfig) -> int:
        node = OmegaConf.to_container(tree, resolve=True)
        assert isinstance(node, dict)
        choices = {key: str(value) for key, value in HydraConfig.get().runtime.choices.items()}
        codes.append(carry_out(_run({str(key): value for key, value in node.items()}, choices)))
        return codes[-1]

    sys.argv[1:] = configuration.forced(given)
    task()
    return max(codes)


def carry_out(run: Run) -> int:
    """Execute one run here and say what came of it."""
    from rich.console import Console

    from perennial.experiments import resuming, workers
    from perennial.experiments.progress import tracking

    console, status = Console(soft_wrap=not sys.stdout.isatty()), run.status()
    if status == "finished" and not run.overwrite:
        console.print(f"{run.folder} is finished. Add overwrite=true to run it again.", highlight=False)
    elif status == "stale" and not run.overwrite:
        raise ConfigurationError(
            f"{run.folder} holds a run made with other settings or by other code. Choose another name=..., "
            "or add overwrite=true to replace it."
        )
    else:
        reviewer = run.strategy.get("review", {}).get("reviewer", {}).get("_target_", "")
        if reviewer.endswith(".PersonReviewer"):
            console.print(f"It waits for a person: perennial-review {run.folder}", highlight=False)
        try:
            with tracking(console, run.label, workers.total_days([run])) as tracker:
                workers.in_this_process(run, tracker.advance)
        except resuming.STOPPED as error:  # one of several runs leaves the others alone
            print(f"perennial-run: {error}", file=sys.stderr)
            return STOPPED
    done = results.read(run.folder)
    for name, value in {**asdict(done.scores), "retrains": done.retrains}.items():
        console.print(f"  {name.replace('_', ' '):32s} {value:.6g}", highlight=False)
    console.print(f"  TensorBoard: tensorboard --logdir {run.folder / 'tensorboard'}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
