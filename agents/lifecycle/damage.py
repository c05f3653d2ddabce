"""The one error of records that do not hold what was written there, whichever record it is."""

from __future__ import annotations


class DamagedError(RuntimeError):
    """A file on disk does not hold what was written there; the message names it and says what to do next."""
