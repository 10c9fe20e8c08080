"""`--threads`: our own threads over the blocks, with the BLAS under them held to one.

A BLAS reads its variable as it is loaded; so this is called before NumPy is imported.
"""

from __future__ import annotations

import os

from cnncli.cli.flags import Flag, text_flag
from cnncli.errors import UsageError
from cnncli.runs.blas import THREAD_VARIABLES, core_count


def threads_flag(group: str) -> Flag:
    """Return the flag of commands that compute."""
    return text_flag(
        "threads",
        "Threads to compute with; results are the same. [default: every core]",
        group,
        "N",
    )


def parse_threads(text: str, place: str = "--threads") -> int:
    """Return a number of threads; raise UsageError."""
    if not text.strip().isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"must be a whole number from 1 to 1024, not {text!r}", place)
    return int(text)


def use_threads(text: str | None) -> None:
    """Compute with as many threads as the flag says, or with every core; raise UsageError."""
    from cnncli.kernels.threads import set_threads

    os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")
    set_threads(core_count() if text is None else parse_threads(text))
