"""Standard streams that may be closed, full, or left by their reader, and the work goes on.

So a pipe into `head` changes neither the exit status nor the files that were asked for, and a
message that nobody can be told does not change the exit status either.
"""

from __future__ import annotations

import io
import os
import sys


class _Pipe(io.FileIO):
    """Where standard output's bytes go, or those of standard error."""

    reader_has_gone = False
    outlives: type[OSError] = BrokenPipeError

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # whatever a buffer hands on
        except self.outlives:
            self.reader_has_gone = True
            _lead_nowhere(self.fileno())
            return memoryview(data).nbytes  # type: ignore[arg-type]


class _ErrorPipe(_Pipe):
    """Where standard error's bytes go: there is no other place to say that they cannot."""

    outlives = OSError


def open_closed_streams() -> None:
    """Open the standard streams that the shell closed (`>&-`), at their own numbers, to nowhere.

    Or else the next file that is opened, of results perhaps, would be standard output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _lead_nowhere(number)
            mode = "r" if name == "stdin" else "w"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  # for good
            setattr(sys, name, stream)


def outlive_readers() -> None:
    """Make this process's standard output and error ones that outlive their readers."""
    sys.stdout = _outliving(sys.stdout, _Pipe)
    sys.stderr = _outliving(sys.stderr, _ErrorPipe)


def _outliving(old: object, kind: type[_Pipe]) -> io.TextIOWrapper:
    assert isinstance(old, io.TextIOWrapper)
    old.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(old.fileno(), "wb", closefd=False)),
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
    _lead_nowhere(1 if sys.stdout is None else sys.stdout.fileno())


def _lead_nowhere(number: int) -> None:
    """Make a file number one that can be read and written, and holds nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, number)  # for the processes of ours too, which inherit it
    if nowhere != number:
        os.close(nowhere)
