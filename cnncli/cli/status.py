"""Exit statuses, and what a signal that ends the program does: the same as Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from types import FrameType

PASSED = 0
FAILED = 1
BAD_INPUT = 2
OUR_FAULT = 3
INTERRUPTED = 130

STATUSES = {
    "done": PASSED,
    "passed": PASSED,
    "skipped": PASSED,
    "failed": FAILED,
    "timeout": FAILED,
    "invalid": BAD_INPUT,
    "crashed": OUR_FAULT,
}


def exit_of(statuses: Iterable[str]) -> int:
    """Return the highest status that any of the texts asks for; of none, that all is well."""
    return max((STATUSES[status] for status in statuses), default=PASSED)


class EndedError(SystemExit):
    """A signal asked the program to end. No KeyboardInterrupt, for which Python itself has uses."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def end_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: what is done is written, and told.

    One that is ignored stays so (nohup); the same signal a second time ends the program at once.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _hear)


def _hear(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise EndedError(number)


def interruption(error: BaseException) -> tuple[str, int]:
    """Return in words what broke the program off, and the exit status that shells give it."""
    if isinstance(error, EndedError):
        return f"ended by {error.name}", int(str(error.code))
    return "interrupted", INTERRUPTED
