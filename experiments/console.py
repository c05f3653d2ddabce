"""How console scripts end: what is wrong with the words or the disk is one sentence, and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

DONE, STOPPED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all went well; stopped by the disk or a damaged record; not to be run as asked; Ctrl+C."""


def wide_console(width: int = 150) -> Console:
    """A console as wide as the terminal; where nobody watches one `width`, so that tables stay whole."""
    from rich.console import Console  # only now: it takes its time

    return Console(width=None if sys.stdout.isatty() else width)


def script(program: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The main function of `program`: refused settings give exit code 2, a full disk or damaged records 1."""

    def wrap(main: Callable[..., int]) -> Callable[..., int]:
        @wraps(main)
        def told(arguments: Sequence[str] | None = None) -> int:
            try:
                return main(arguments)
            except Exception as error:
                code = _code(error)
                if code is None:
                    raise
                print(f"{program}: {_sentence(error)}", file=sys.stderr)
                return code

        return told

    return wrap


def _code(error: Exception) -> int | None:
    """The exit code for `error`; None for a bug, whose traceback is wanted."""
    from perennial.experiments import resuming  # only now: it takes its time
    from perennial.experiments.configuration import ConfigurationError

    if isinstance(error, ConfigurationError):
        return REFUSED
    disk = isinstance(error, resuming.DISK) and not isinstance(error, BrokenPipeError)
    return STOPPED if disk or isinstance(error, resuming.STOPPED) else None


def _sentence(error: Exception) -> str:
    from perennial.experiments import resuming

    if isinstance(error, resuming.DISK):
        return (
            f"could not read or write: {resuming.first_line(error)}. Finished runs and committed days are kept. Make "
            "room or mend the disk, and give the same command again."
        )
    return str(error)
