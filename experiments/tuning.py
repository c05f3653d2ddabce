"""Tuning, `perennial-tune agent=linucb`: the same number of trials for every agent, on seeds that no study uses, and
then the best values against the defaults on seeds that chose neither."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.experiments import configuration, results, run, statistics
from perennial.experiments.configuration import ConfigurationError, Node, nearest
from perennial.experiments.console import script
from perennial.experiments.statistics import Interval
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

    from perennial.experiments.run import Run

TUNED = configuration.CONF / "agent" / "tuned"

DRAWS = 100
"""Settings that an agent may refuse in a row: shares above 1, sizes that do not divide each other."""

Values = dict[str, float | int]
"""Options by their path below ``agent``: ``alpha``, or ``agent.alpha`` of an agent inside another."""

Work = Callable[[Sequence["Run"]], Sequence["results.Result"]]
"""Carries out runs and gives their results, in order."""


@dataclass(frozen=True)
class Tuning:
    """How much tuning an agent gets, and on what.

    Arguments:
        trials: settings that are run, the agent's defaults first; the budget, equal for every agent.
        seeds: of the worlds each trial is run in; keep them apart from those of studies.
        held_out: seeds of the worlds in which the best values then meet the defaults, for the best of many trials is
            better than the rest by luck too; two or more, none of `seeds`, or empty for no such check.
        metric: a score of `perennial.experiments.metrics.Scores`; its mean over seeds is raised.
        factor: a number is searched from its default divided by this to its default times this, evenly in its
            logarithm; a number between 0 and 1 by its odds, so that it stays there.
        leave: names of options that keep their defaults.
        sampler_seed: of the search (the tree-structured Parzen estimator of Bergstra et al. 2011).
        common: overrides of every run, before those of the command line.
    """

    trials: int
    seeds: list[int]
    held_out: list[int]
    metric: str
    factor: float
    leave: list[str]
    sampler_seed: int
    common: list[str]

    def __post_init__(self) -> None:
        from perennial.experiments.metrics import Scores

        allowed = [field.name for field in fields(Scores)]
        if self.metric not in allowed:
            raise ValueError(
                f"'metric' must be one of {', '.join(allowed)}. Got {self.metric!r}.{nearest(self.metric, allowed)}"
            )
        if self.trials < 1:
            raise ValueError(f"'trials' must be at least 1. Got {self.trials}.")
        if not self.factor > 1:
            raise ValueError(f"'factor' must be above 1. Got {self.factor}.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"'seeds' must be different whole numbers, at least one. Got {self.seeds}.")
        apart = len({*self.seeds, *self.held_out}) == len(self.seeds) + len(self.held_out)
        if not apart or len(self.held_out) == 1:
            raise ValueError(
                f"'held_out' must be two or more different whole numbers, none of 'seeds' {self.seeds}, or empty for no"
                f" check. Got {self.held_out}."
            )


@dataclass(frozen=True)
class Tried:
    """One trial: its number, the options, and the metric's mean over seeds."""

    number: int
    values: Values
    score: float


def searched(node: Node, leave: Sequence[str], path: str = "") -> Values:
    """The options of an agent that are searched, with their defaults: its numbers above 0, those of parts included."""
    found: Values = {}
    for name, value in node.items():
        if isinstance(value, dict):
            found |= searched(value, leave, f"{path}{name}.")
        elif name not in leave and type(value) in (int, float) and value > 0:
            found[path + name] = value
    return found


def suggest(trial: Trial, defaults: Mapping[str, float | int], factor: float) -> Values:
    """Options for one trial, within `factor` of their defaults."""
    values: Values = {}
    for name, default in defaults.items():
        if isinstance(default, int):
            low = max(1, math.floor(default / factor))
            values[name] = trial.suggest_int(name, low, math.ceil(default * factor), log=True)
        elif default < 1:
            odds = default / (1 - default)
            drawn = trial.suggest_float(name, odds / factor, odds * factor, log=True)
            values[name] = short(drawn / (1 + drawn))
        else:
            values[name] = short(trial.suggest_float(name, default / factor, default * factor, log=True))
    return values


def short(value: float) -> float:
    """To three digits, below 1 those of the nearer of 0 and 1, so that what was tried can be written down."""
    size = min(value, 1 - value) if value < 1 else value
    return round(value, 2 - math.floor(math.log10(size)))


def inward(defaults: Mapping[str, float | int]) -> Values:
    """The defaults as `suggest` would have drawn them."""
    return {n: v / (1 - v) if isinstance(v, float) and v < 1 else v for n, v in defaults.items()}


def first(tuning: Tuning, overrides: Sequence[str], output: str) -> Run:
    """The run of the agent that `overrides` choose, which every trial varies."""
    base = run.compose([*tuning.common, *overrides], output=output)
    return replace(base, collection=f"tuning-{base.arm}")


def tune(tuning: Tuning, base: Run, work: Work) -> list[Tried]:
    """All trials of the agent of `base`; what was run before is read, not run again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    defaults = searched(base.agent, tuning.leave)
    if not defaults:
        raise ConfigurationError(f"The agent of {base.arm} has no number to tune. Choose another with agent=...")
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=tuning.sampler_seed))
    study.enqueue_trial(inward(defaults))
    return [_trial(tuning, base, study, number, defaults, work) for number in range(tuning.trials)]


def _trial(tuning: Tuning, base: Run, study: Study, number: int, defaults: Values, work: Work) -> Tried:
    """Run the next setting on every seed. One that the agent refuses has cost nothing and is drawn anew."""
    import optuna

    for _ in range(DRAWS):
        trial = study.ask()
        drawn = suggest(trial, defaults, tuning.factor)
        values = drawn if number else defaults
        agent = chosen(base.agent, values)
        try:
            configuration.build(agent, "agent")
        except ConfigurationError as error:
            refusal = error
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        scores = _scores(tuning, base, agent, f"trial{number}", tuning.seeds, work)
        score = sum(scores) / len(scores)
        study.tell(trial, score)
        return Tried(number, values, score)
    raise ConfigurationError(
        f"The agent of {base.arm} refused {DRAWS} settings in a row. Leave the option out with hpo.leave, or lower"
        f" hpo.factor. The last refusal: {refusal}"
    )


def gain(tuning: Tuning, base: Run, winner: Tried, work: Work) -> Interval | None:
    """What the best values add to the metric on the held-out seeds; None where the defaults won or none is held out."""
    if winner.number == 0 or not tuning.held_out:
        return None
    tuned = _scores(tuning, base, chosen(base.agent, winner.values), "held_out_best", tuning.held_out, work)
    plain = _scores(tuning, base, base.agent, "held_out_defaults", tuning.held_out, work)
    return statistics.paired_interval(tuned, plain)


def _scores(tuning: Tuning, base: Run, agent: Node, name: str, seeds: Sequence[int], work: Work) -> list[float]:
    """The metric of one setting, seed by seed."""
    runs = [replace(base, agent=agent, seed=seed, name=f"{name}-seed{seed}") for seed in seeds]
    return [getattr(result.scores, tuning.metric) for result in work(runs)]


def chosen(node: Node, values: Values) -> Node:
    """A copy of an agent's node with `values` in their places."""
    made = copy.deepcopy(node)
    for path, value in values.items():
        *parts, name = path.split(".")
        place = made
        for part in parts:
            place = place.setdefault(part, {})
        place[name] = value
    return made


def best(tried: Sequence[Tried]) -> Tried:
    """The trial of the highest score, the first of equal ones: the defaults stay unless something is better."""
    return max(tried, key=lambda trial: (trial.score, -trial.number))


@script("perennial-tune")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-tune agent=<name> [hpo.<option>=<value>] [overrides]`: 0 when done, 1 when the disk stopped it, 2 when
    it cannot be run."""
    one_thread()
    options = _parser().parse_args(arguments)
    from rich.console import Console

    from perennial.experiments import workers

    console = Console(soft_wrap=not sys.stdout.isatty())
    mine = [word for word in options.overrides if word.startswith("hpo")]
    theirs = [word for word in options.overrides if not word.startswith("hpo")]

    try:
        tuning: Tuning = configuration.build(configuration.compose("tuning", mine).node["hpo"], "hpo")
        base = first(tuning, theirs, options.output)
        most = max(len(tuning.seeds), len(tuning.held_out))
        with workers.crew(min(options.workers, most)) as carry_out:

            def work(runs: Sequence[Run]) -> Sequence[results.Result]:
                done = carry_out(runs, lambda days: None, False)
                console.print(f"  {runs[0].folder.parent}/{runs[0].label.rsplit('-', 1)[0]}", highlight=False)
                return done

            tried = tune(tuning, base, work)
            gained = gain(tuning, base, best(tried), work)
        path = Path(options.output) / base.collection / "tuned.json"
        command = f"perennial-tune {' '.join(options.overrides)}"
        results.write_atomically(path, report(tuning, tried, gained, command))
        if options.write:
            path = TUNED / f"{base.arm.partition('-')[0]}.yaml"
            results.write_atomically(path, beside(path.stem, tuning, tried, gained, command))
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        print("perennial-tune needs optuna: pip install 'perennial[tune]'", file=sys.stderr)
        return 2
    winner = best(tried)
    console.print(f"{tuning.metric}: defaults {tried[0].score:.6g}, best {winner.score:.6g} (trial {winner.number})")
    if gained is not None:
        console.print(f"on the held-out seeds, best less defaults: {written(gained)}", highlight=False)
    console.print(f"written: {path}", highlight=False)
    return 0


def written(gained: Interval) -> str:
    """A gain and its interval in words."""
    return f"{gained.mean:+.3g} [{gained.low:+.3g}, {gained.high:+.3g}], 95 % paired t interval"


def report(tuning: Tuning, tried: Sequence[Tried], gained: Interval | None, command: str) -> str:
    """What is kept beside the defaults, as JSON: the command, the best values and every trial."""
    winner = best(tried)
    body: dict[str, Any] = {
        "command": command,
        "metric": tuning.metric,
        "seeds": tuning.seeds,
        "defaults": tried[0].score,
        "best": {"score": winner.score, "trial": winner.number, "values": winner.values},
        "held_out": {"seeds": tuning.held_out, "gain": None if gained is None else asdict(gained)},
        "trials": [{"score": trial.score, "values": trial.values} for trial in tried],
    }
    return json.dumps(body, indent=1) + "\n"


def beside(agent: str, tuning: Tuning, tried: Sequence[Tried], gained: Interval | None, command: str) -> str:
    """The YAML of ``conf/agent/tuned``: the best values over the agent's defaults, and where they are from."""
    from omegaconf import OmegaConf

    winner = best(tried)
    changed = {} if winner.number == 0 else chosen({}, winner.values)
    outcome = f"{winner.score:.4g} by these" if changed else "which no trial beat"
    seeds, others = (", ".join(map(str, each)) for each in (tuning.seeds, tuning.held_out))
    check = "" if gained is None else f"# On the held-out seeds {others}: {written(gained)}.\n"
    head = (
        f"# perennial-run agent=tuned/{agent}\n"
        f"# {command} --write\n"
        f"# {tuning.metric.replace('_', ' ')} {tried[0].score:.4g} by the defaults, {outcome};"
        f" {tuning.trials} trials on the tuning seeds {seeds}.\n{check}"
        f"defaults:\n  - /agent/{agent}@_here_\n  - _self_\n"
    )
    return head + (OmegaConf.to_yaml(OmegaConf.create(changed)) if changed else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial-tune", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, as in agent=linucb hpo.trials=10 drift=trend")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--output", default="runs", help="folder of all results (default: runs)")
    parser.add_argument("--write", action="store_true", help="put the best values into conf/agent/tuned")
    return parser


if __name__ == "__main__":
    sys.exit(main())
