"""`--threads`: our own threads over the blocks, above a BLAS that has one (see cnncli/process)."""

from __future__ import annotations

from cnncli.cli.flags import Flag, text_flag
from cnncli.errors import UsageError
from cnncli.numerals import short, whole_of
from cnncli.runs.blas import core_count


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
    number = whole_of(text)
    if number is None or not 1 <= number <= 1024:
        raise UsageError(f"must be a whole number from 1 to 1024, not {short(text)}", place)
    return number


def use_threads(text: str | None) -> None:
    """Compute with as many threads as the flag says, or with every core; raise UsageError."""
    from cnncli.kernels.threads import set_threads

    set_threads(core_count() if text is None else parse_threads(text))
