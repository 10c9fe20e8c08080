"""Standard output whose reader may leave: what is written then goes nowhere, and the work goes on.

So a pipe into `head` changes neither the exit status nor the files that were asked for.
"""

from __future__ import annotations

import io
import os
import sys


class _Pipe(io.FileIO):
    """Where standard output's bytes go."""

    reader_has_gone = False

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # whatever a buffer hands on
        except BrokenPipeError:
            self.reader_has_gone = True
            leave_stdout()
            return memoryview(data).nbytes  # type: ignore[arg-type]


def outlive_reader() -> None:
    """Make this process's standard output one that outlives its reader."""
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper):
        old.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Pipe(old.fileno(), "wb", closefd=False)),
            encoding=old.encoding,
            errors=old.errors,
            line_buffering=old.line_buffering,
        )


def reader_has_gone() -> bool:
    """Tell whether nobody reads what is printed."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Pipe) and raw.reader_has_gone


def leave_stdout() -> None:
    """Write nothing more to standard output, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if sys.stdout is None else sys.stdout.fileno())
