"""How far a long numeric gradient is, on standard error, once it has taken a second."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 30


class ProgressBar:
    """A bar that a terminal redraws; a pipe gets a plain line at most every five seconds."""

    def __init__(self, stream: TextIO | None = None, after: float = 1.0) -> None:
        self.stream = stream
        self.after = after
        self._name = ""
        self._started = self._shown = 0.0
        self._drawn = False

    def __call__(self, name: str, done: int, total: int) -> None:
        """Tell that `done` of `total` evaluations for tensor `name` are made."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._started, self._shown = name, now, 0.0
        stream = self.stream or sys.stderr
        terminal = stream.isatty()
        ended = done >= total
        if ended and self._drawn and terminal:
            print("\r" + " " * (WIDTH + 50) + "\r", end="", file=stream, flush=True)
            self._drawn = False
            return
        if ended or now - self._started < self.after:
            return
        if now - self._shown < (0.1 if terminal else 5.0):
            return
        self._shown = now
        left = (now - self._started) / done * (total - done)
        filled = WIDTH * done // total
        text = (
            f"d{name} [{'#' * filled}{'.' * (WIDTH - filled)}] "
            f"{done} of {total} evaluations, {left:.0f} s left"
        )
        print(f"\r{text}  " if terminal else text, end="" if terminal else "\n", file=stream)
        stream.flush()
        self._drawn = True
