"""Shows what a drift declares, in words, numbers and a picture: `perennial-drift show <name>`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.envs.drift.schedules import day_of
from perennial.experiments import configuration, figures
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script, wide_console
from perennial.experiments.run import WORLD_GETS, build_world

if TYPE_CHECKING:
    from perennial.envs import World
    from perennial.envs.drift import Drift


def names() -> list[str]:
    """The choices of `conf/drift`."""
    files = resources.files("perennial.conf").joinpath("drift").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def build(name: str, overrides: Sequence[str], seed: int) -> World:
    """The world in which drift `name` happens. Raises ConfigurationError if it cannot be built."""
    return build_world(configuration.compose("config", [f"drift={name}", *overrides], WORLD_GETS).node, seed)


def parts_of(drift: Drift) -> Sequence[Drift]:
    """The drifts that a composition holds, or the drift itself."""
    from perennial.envs.drift import Composed

    return drift.parts if isinstance(drift, Composed) else (drift,)


def declaration(world: World, name: str, first: int, days: int) -> Any:
    """A rich table: what, when, how, who and budget, one row for each drift of a composition."""
    from rich import box
    from rich.table import Table

    table = Table(title=f"{name}, {world.preset.name}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in ("what", "when", "how", "who", f"budget of {days} days"):
        table.add_column(column)
    for part in parts_of(world.drift):
        words = part.describe()
        table.add_row(words.what, words.when, words.how, words.who, budget(part, world, first, days))
    return table


def budget(drift: Drift, world: World, first: int, days: int) -> str:
    """The total variation of a drift in words; nothing that does not move is named."""
    found = {what: size for what, size in drift.budget(world.setting, first, first + days).items() if size > 1e-9}
    words = [f"{what} {size:.2f}" for what, size in found.items()]
    lives = drift.lifetimes(world.catalogue.category, world.setting)
    if lives is not None:
        launched = ((lives[0] > first) & (lives[0] <= first + days)).sum()
        words.append(f"{launched} items handed over")
    if drift.turnover().share > 0:
        words.append(f"{drift.turnover().share:.0%} of tastes")
    return "\n".join(words) or "nothing"


def listing() -> Any:
    """A rich table of all drifts: their name and first words."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("drift=")
    table.add_column("")
    for name in names():
        text = resources.files("perennial.conf").joinpath("drift", f"{name}.yaml").read_text("utf-8")
        table.add_row(name, text.splitlines()[1].removeprefix("# "))
    return table


@script("perennial-drift")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print or draw; 0 when done, 2 when asked for something that is not there."""
    options = _parser().parse_intermixed_args(arguments)
    console = wide_console(160)
    if options.command == "list":
        console.print(listing())
        return 0
    try:
        if options.name is None:
            raise ConfigurationError(f"'show' needs the name of a drift: {', '.join(names())}.")
        show(options, console)
    except (ConfigurationError, ValueError) as error:
        print(f"perennial-drift: {error}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace, console: Any) -> None:
    """The declaration on the console, the picture in files."""
    from perennial.experiments.drift_picture import picture

    if options.days < 1:
        raise ValueError(f"'--days' must be an integer >= 1. Got {options.days}.")
    first = int(day_of("--from", options.first))
    world = build(options.name, options.overrides, options.seed)
    console.print(declaration(world, options.name, first, options.days))
    stem = Path(options.out or f"runs/drift/{options.name}-{world.preset.name}").with_suffix("")
    if options.name == "none":
        console.print("Nothing moves: there is nothing to draw.")
        return
    for path in figures.save(picture(world, options.name, first, options.days), stem):
        console.print(f"Drawn: {path}", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial-drift", description=__doc__)
    parser.add_argument("command", choices=["show", "list"])
    parser.add_argument("name", nargs="?", help="a choice of conf/drift, as shock")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, as in world=marketplace drift.strength=2")
    parser.add_argument("--seed", type=int, default=0, help="of the world")
    parser.add_argument("--from", dest="first", default="2010-01-01", metavar="DATE", help="first day, YYYY-MM-DD")
    parser.add_argument("--days", type=int, default=365, help="how many days")
    parser.add_argument("--out", help="where to write it, without or with .svg or .png (both are written)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
