"""The processes of a benchmark: one a contender, timed in turns, driven over pipes.

Two libraries' thread pools in one process slow each other down, by up to five times; so every
contender has a process (cnncli.runs.contestant), and while one computes the others are stopped: the
threads of a pool (torch's, a BLAS's) spin for up to 0.2 s after their last work, on a core that the
next contender needs.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.cases.case import Case
from cnncli.errors import CnncliError
from cnncli.implementations.library import Direction
from cnncli.runs.blas import THREAD_VARIABLES

OURS, LIMIT = "cnncli", "limit"
"""The two contenders that every case has."""

POOLS = (*THREAD_VARIABLES, "TF_NUM_INTRAOP_THREADS")
"""What says how many threads a library's pool has, read as it is loaded."""


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Ask a contender to make one direction of a case ready."""

    case: Case
    direction: Direction
    min_time: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer: why it cannot, or a note on what is timed and what a call takes."""

    reason: str | None = None
    note: str = ""
    memory: int | None = None
    """The most bytes that Python's allocators held beyond the arguments and the result."""


class Contender:
    """A process that times one contender."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        env = dict(os.environ)
        # Ours holds the BLAS to one thread and splits blocks itself; the others' pools are theirs.
        pool = 1 if name == OURS else threads
        env |= dict.fromkeys(POOLS, str(pool))
        root = str(Path(__file__).resolve().parents[2])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cnncli.runs.contestant", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )

    def ask(self, request: Prepare | str) -> Any:
        """Return the answer to a request; raise what the process raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._let(run=True)
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
            self._let(run=False)
        except (EOFError, BrokenPipeError):
            status = self._process.wait()
            raise CnncliError(
                f"the process that times {self.name} ended with status {status}"
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _let(self, *, run: bool) -> None:
        """Let the process run, or stop all of its threads, where the system can."""
        if sys.platform != "win32":
            self._process.send_signal(signal.SIGCONT if run else signal.SIGSTOP)

    def close(self) -> None:
        """End the process."""
        self._let(run=True)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # of a process that is gone
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
