"""A study: arms x worlds x seeds from one YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perennial.experiments import configuration, run
from perennial.experiments.configuration import ConfigurationError, nearest
from perennial.experiments.run import Run


@dataclass(frozen=True)
class Study:
    """What is compared with what.

    Arguments:
        title: of the pictures and tables.
        common: Hydra overrides of every run.
        drift: the world asked about; `twin`: its stationary twin, null for none.
        incumbent: the arm that the others are held against.
        arms: per arm the overrides particular to it.
        twin_arms: arms that are run in the twin too.
        pairs: pairs of arms whose variance factor is printed.
        floor: the arm that counts as 0 where the moving oracle counts as 1, in a table of its own; null for none.
        seeds: one run per arm, world and seed; seeds pair the arms.
        quick: overrides of the tiny form; `quick_seeds` its seeds.
    """

    title: str
    common: list[str]
    drift: str
    twin: str | None
    incumbent: str
    arms: dict[str, list[str]]
    twin_arms: list[str]
    pairs: list[list[str]]
    seeds: list[int]
    quick: list[str]
    quick_seeds: list[int]
    floor: str | None = None

    def __post_init__(self) -> None:
        named = [self.incumbent, *self.twin_arms, *(arm for pair in self.pairs for arm in pair)]
        named += [] if self.floor is None else [self.floor]
        for arm in named:
            if arm not in self.arms:
                raise ValueError(f"'{arm}' is not one of the arms {list(self.arms)}.{nearest(arm, self.arms)}")
        for seeds in (self.seeds, self.quick_seeds):
            if not seeds or len(set(seeds)) != len(seeds):
                raise ValueError(f"'seeds' must be different whole numbers, at least one. Got {seeds}.")

    def tiny(self) -> Study:
        """The study's tiny form, for a first look and for tests."""
        return replace(self, common=[*self.common, *self.quick], seeds=self.quick_seeds)

    def cases(self) -> list[tuple[str, str]]:
        """Every (arm, drift) that is run."""
        twin = [(arm, self.twin) for arm in self.twin_arms] if self.twin else []
        return [(arm, self.drift) for arm in self.arms] + twin

    def runs(self, name: str, output: str) -> list[Run]:
        """Every run, checked; seed by seed, so that an interrupted study has whole seeds."""
        firsts = [self._first(arm, drift, name, output) for arm, drift in self.cases()]
        return [first.at_seed(seed) for seed in self.seeds for first in firsts]

    def _first(self, arm: str, drift: str, name: str, output: str) -> Run:
        try:
            return run.compose([*self.common, f"drift={drift}", *self.arms[arm]], arm, collection=name, output=output)
        except ConfigurationError as error:
            raise ConfigurationError(f"Arm '{arm}' in the world '{drift}': {error}") from error


def load(overrides: Sequence[str]) -> tuple[str, Study]:
    """The study of `conf/study/<name>.yaml` with `overrides`, and its name."""
    composed = configuration.compose("study", overrides)
    study: Study = configuration.build(composed.node["study"], "study")
    return composed.choices["study"], study
