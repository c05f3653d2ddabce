"""Worker processes: they live through the runs of a study; what is finished is kept, whatever happens to the rest."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import Any

from perennial.experiments import results
from perennial.experiments.results import Result
from perennial.experiments.run import Run

Advance = Callable[[int], object]

_days: Any = None
"""In a worker: the queue on which it tells of simulated days that have passed."""


def total_days(runs: Sequence[Run]) -> int:
    """Simulated days of the runs and of the histories they share."""
    histories = {run.history: run.window.history_days for run in runs}
    return sum(run.window.scored_days for run in runs) + sum(histories.values())


def work(runs: Sequence[Run], workers: int, advance: Advance, overwrite: bool = False) -> list[Result]:
    """Every run's result. Finished runs are read, not run again, unless `overwrite`; hears of days as they pass."""
    with crew(workers) as carry_out:
        return carry_out(runs, advance, overwrite)


@contextmanager
def crew(workers: int) -> Iterator[Callable[[Sequence[Run], Advance, bool], list[Result]]]:
    """`work` to be called several times with the same processes, which begin when there is something to do.

    A failure or an interruption ends the workers and is raised.
    """
    context = multiprocessing.get_context("spawn")
    days = context.Queue()

    def carry_out(runs: Sequence[Run], advance: Advance, overwrite: bool = False) -> list[Result]:
        waiting = [run for run in runs if overwrite or run.status() != "finished"]
        advance(total_days(runs) - total_days(waiting))
        shared: dict[Path, list[Run]] = defaultdict(list)
        for run in waiting:
            shared[run.history].append(run)
        _wait([pool.submit(prepare, group) for group in shared.values()], days, advance)
        _wait([pool.submit(execute, run) for run in waiting], days, advance)
        return [results.read(run.folder) for run in runs]

    with ProcessPoolExecutor(workers, context, start, (days,)) as pool:
        try:
            yield carry_out
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise _died() from error
            raise


def _died() -> Exception:
    from perennial.experiments.resuming import RunStoppedError

    return RunStoppedError(
        "A worker process was ended from outside, perhaps for want of memory. Finished runs and committed days are "
        "kept. Start the same command again, with fewer --workers if memory is short: it goes on from there."
    )


def _wait(futures: Sequence[Future[None]], days: Any, advance: Advance) -> None:
    unfinished = set(futures)
    while unfinished:
        done, unfinished = wait(unfinished, timeout=0.2, return_when=FIRST_COMPLETED)
        _pass_on(days, advance)
        for future in done:
            future.result()


def _pass_on(days: Any, advance: Advance) -> None:
    while True:
        try:
            advance(days.get_nowait())
        except queue.Empty:
            return


def start(days: Any) -> None:
    """A worker begins: it tells of `days`, an interruption ends it without a word, torch keeps to one thread."""
    global _days
    _days = days
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_torch_thread()


def _end_with_parent() -> None:
    """A study that was killed leaves no worker behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def one_torch_thread() -> None:
    """Torch takes its number of threads from here, not from the environment, once it is imported."""
    import torch

    torch.set_num_threads(1)


def prepare(runs: Sequence[Run]) -> None:
    """In a worker: the history that `runs` share, and the first versions of their agents."""
    from perennial.experiments import execution

    execution.prepare(runs, _days.put)


def execute(run: Run) -> None:
    """In a worker: one run."""
    from perennial.experiments import execution, resuming

    try:
        execution.execute(run, _days.put)
    except resuming.STOPPED:
        raise
    except Exception as error:
        raise RuntimeError(f"The run {run.folder} failed: {type(error).__name__}: {error}") from error


def in_this_process(run: Run, advance: Advance) -> Result:
    """One run, its history included, without workers."""
    from perennial.experiments import execution

    one_torch_thread()
    execution.build(run)
    execution.prepare([run], advance)
    execution.execute(run, advance)
    return results.read(run.folder)
