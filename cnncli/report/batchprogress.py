"""How far a batch is, on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from cnncli.runs.result import Result

EVERY = 0.1
"""Seconds between two drawings of the bar."""
EVERY_LINE = 30.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Counts results and shows done, failed, rate and time left. A sink of results."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        """Begin; `total` is how many cases there are, kept ones left out."""
        self.total = total
        self.done = self.failed = 0
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._started = self._shown = time.monotonic()
        self._drawn = False

    def take(self, result: Result) -> None:
        """Count a result, unless it stood in the results file."""
        if not result.kept:
            self.step(failed=not result.is_well)

    def end(self) -> None:
        """Take the bar away."""
        self.clear()

    def step(self, *, failed: bool) -> None:
        """Count a case that has ended."""
        self.done += 1
        self.failed += failed
        now = time.monotonic()
        if now - self._shown >= (EVERY if self._is_terminal else EVERY_LINE):
            self._shown = now
            self._show(now)

    def clear(self) -> None:
        """Take the bar away, so that other text can be printed."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def text(self, now: float) -> str:
        """Return the counts, the rate, and the time that the rest will take at that rate."""
        rate = self.done / max(now - self._started, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else 0.0
        return (
            f"{self.done}/{self.total} done, {self.failed} failed, {_rate(rate)}, "
            f"{_duration(left)} left"
        )

    def _show(self, now: float) -> None:
        text = self.text(now)
        if not self._is_terminal:
            self._stream.write(text + "\n")
            self._stream.flush()
            return
        width = shutil.get_terminal_size().columns - 1
        room = max(0, min(30, width - len(text) - 3))
        filled = room * self.done // max(self.total, 1)
        bar = f"[{'#' * filled}{'.' * (room - filled)}] " if room >= 5 else ""
        self._stream.write(f"\r\x1b[K{(bar + text)[:width]}")
        self._stream.flush()
        self._drawn = True


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
