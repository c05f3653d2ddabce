"""The main job, `perennial-demo`: run a study, then say what was found, what it cost in time, and where it lies."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from perennial.experiments.console import script, wide_console
from perennial.experiments.threads import one_thread


@script("perennial-demo")
def main(arguments: Sequence[str] | None = None) -> int:
    """`perennial-demo`: 0 when done, 1 when the disk stopped it, 2 when the configuration cannot be run."""
    one_thread()
    options = _parser().parse_args(arguments)
    from perennial.experiments import report, study, workers
    from perennial.experiments.progress import tracking

    console = wide_console()
    try:
        name, asked = study.load(options.overrides)
        name, asked = (f"{name}_quick", asked.tiny()) if options.quick else (name, asked)
        runs = asked.runs(name, options.output)
        report.announce(console, asked, runs, options.workers, options.overwrite)
        with tracking(console, "Simulating", workers.total_days(runs)) as tracker:
            results = workers.work(runs, options.workers, tracker.advance, options.overwrite)
        report.present(console, asked, runs, results, options.workers)
    except KeyboardInterrupt:
        console.print("Interrupted. Finished runs are kept; the same command goes on from there.")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial-demo", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, as in study=gift_shop 'study.seeds=[0,1,2]'")
    parser.add_argument("--quick", action="store_true", help="the study's tiny form: a small shop, a few days")
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--output", default="runs", help="folder of all results (default: runs)")
    parser.add_argument("--overwrite", action="store_true", help="run again what is finished")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1. Got '{text}'.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
