"""The processes of a benchmark: one a contender, timed in turns, driven over sockets.

Two libraries' thread pools in one process slow each other down, by up to five times; so every
contender has a process (cnncli.runs.contestant), and while one computes the others are stopped: the
threads of a pool (torch's, a BLAS's) spin for up to 0.2 s after their last work, on a core that the
next contender needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from cnncli.cases.case import Case
from cnncli.errors import CnncliError
from cnncli.implementations.library import Direction
from cnncli.process.start import Process
from cnncli.process.threads import ONE_THREAD

OURS, LIMIT = "cnncli", "limit"
"""The two contenders that every case has."""

POOLS = (*ONE_THREAD, "TF_NUM_INTRAOP_THREADS")
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
        # Ours holds the BLAS to one thread and splits blocks itself; the others' pools are theirs.
        pool = 1 if name == OURS else threads
        self.process = Process(
            "cnncli.runs.contestant:serve",
            name,
            threads,
            environment=os.environ | dict.fromkeys(POOLS, str(pool)),
        )
        self._connection: Connection[Any, Any] = Connection(self.process.channel.detach())

    def ask(self, request: Prepare | str) -> Any:
        """Return the answer to a request; raise what the process raised."""
        self.process.go_on()
        try:
            self._connection.send(request)
            answer = self._connection.recv()
            self.process.pause()
        except (EOFError, OSError):
            how = self.process.how_ended(5) or self.process.end()
            raise CnncliError(f"the process that times {self.name} {how}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self.process.end()
