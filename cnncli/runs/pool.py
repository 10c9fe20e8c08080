"""A pool of processes in which one bad task never costs another.

Answers come in the order of the tasks, whatever the order they end in. A task that takes too long
or whose process dies is answered for by the caller, and the process replaced.

A process reads pickled tasks from its socket and answers each with what its work returns, with one
thread of arithmetic. The next task waits in the socket already, so that none is waited for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import Any, Generic, Literal, TypeVar

from cnncli.process.start import NotStartedError, Process

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Loss = Literal["timeout", "crashed"]

AHEAD, AHEAD_BYTES = 2, 16 << 10
"""Tasks that a process holds: the one it runs and, if it surely fits into the socket, the next."""
MOST_WAITING = 512
"""Answers that may wait for an earlier task to end; beyond it no new task is begun."""
MOST_WAITING_BYTES = 64 << 20
_STARTS = 3
SLACK = 256 << 20
"""Address space beyond the bound on a case: what NumPy and its BLAS reserve as they work."""


@dataclass
class _Item(Generic[Task]):
    """A task, pickled, and when a process began with it."""

    index: int
    task: Task
    data: bytes
    started: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has been run."""
        return time.monotonic() - self.started


class _Worker(Generic[Task]):
    """One process, and the tasks that it holds; the first of them is the one it runs."""

    def __init__(self, setup: bytes) -> None:
        self.process = Process("cnncli.runs.pool:serve")
        self.connection: Connection[Any, Any] = Connection(self.process.channel.detach())
        self.held: deque[_Item[Task]] = deque()
        self.ready = False
        with contextlib.suppress(OSError):  # its death shows when it is read from
            self.connection.send_bytes(setup)

    def give(self, item: _Item[Task]) -> None:
        item.started = time.monotonic()
        self.held.append(item)
        with contextlib.suppress(OSError):
            self.connection.send_bytes(item.data)

    def take(self) -> _Item[Task]:
        """Return the task that has ended; the next one begins now."""
        done = self.held.popleft()
        if self.held:
            self.held[0].started = time.monotonic()
        return done

    def let_end(self) -> None:
        self.process.let_end()
        self.connection.close()


@dataclass(kw_only=True)
class Pool(Generic[Task, Answer]):
    """Runs `work` on tasks in `jobs` processes; used in a `with`, which ends them all."""

    work: Callable[[Task], Answer]
    lost: Callable[[Task, Loss, str, float], Answer]
    """What to answer for a task that gave nothing: the task, why, the reason, seconds."""
    jobs: int
    timeout: float | None = None
    has_own_limit: Callable[[Task], bool] | None = None
    """Which tasks end in time by themselves; the others are ended."""
    max_memory: int | None = None
    _workers: list[_Worker[Task]] = field(default_factory=list)
    _failed_starts: int = 0

    def __enter__(self) -> Pool[Task, Answer]:
        """Return the pool; its processes start with the tasks that need them."""
        self._setup = dumps((self.work, self.max_memory), HIGHEST_PROTOCOL)
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        for worker in self._workers:
            worker.let_end()
        for worker in self._workers:
            worker.process.end()
        self._workers = []

    def run(self, tasks: Iterable[Task]) -> Iterator[Answer]:
        """Yield the answer to every task, in their order; tasks are taken as they are needed.

        Raises NotStartedError where processes cannot be started here.
        """
        waiting = iter(enumerate(tasks))
        queue: deque[_Item[Task]] = deque()
        answers: dict[int, tuple[Answer, int]] = {}
        next_index, taken, exhausted = 0, 0, False
        while True:
            held_back = sum(size for _, size in answers.values()) > MOST_WAITING_BYTES
            while True:
                if not (queue or exhausted or held_back or taken - next_index >= MOST_WAITING):
                    found = next(waiting, None)
                    if found is None:
                        exhausted = True
                    else:
                        queue.append(_Item(*found, dumps(found[1], HIGHEST_PROTOCOL)))
                        taken += 1
                worker = self._free(len(queue[0].data)) if queue else None
                if worker is None:
                    break
                worker.give(queue.popleft())
            while next_index in answers:
                answer, _ = answers.pop(next_index)
                next_index += 1
                yield answer
            if any(worker.held for worker in self._workers):
                for index, answer, size in self._collect(queue):
                    answers[index] = (answer, size)
            elif exhausted and not queue:
                return

    def _free(self, size: int) -> _Worker[Task] | None:
        """Return a process that can take a task of some bytes, a new one where all are busy."""
        worker = min(self._workers, key=lambda w: len(w.held), default=None)
        if worker is None or (worker.held and len(self._workers) < self.jobs):
            worker = _Worker(self._setup)
            self._workers.append(worker)
        has_room = not worker.held or (len(worker.held) < AHEAD and size <= AHEAD_BYTES)
        return worker if has_room else None

    def _collect(self, queue: deque[_Item[Task]]) -> Iterator[tuple[int, Answer, int]]:
        """Yield answers that have come, waiting for one; a task that was not begun is queued."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), self._patience()):
            worker = by_connection[connection]  # type: ignore[index]  # only our connections
            try:
                data = worker.connection.recv_bytes()
            except (EOFError, OSError):
                yield from self._bury(worker, queue)
                continue
            if not worker.ready:
                worker.ready, self._failed_starts = True, 0
                if worker.held:
                    worker.held[0].started = time.monotonic()
                continue
            done = worker.take()
            fine, answer = loads(data)
            if not fine:
                answer = self.lost(done.task, "crashed", answer, done.seconds)
            yield done.index, answer, len(data)
        if self.timeout is not None:
            for worker in list(self._workers):
                yield from self._end_late(worker, queue)

    def _patience(self) -> float | None:
        """Return the seconds until the next task runs out of time."""
        taken = [w.held[0].seconds for w in self._workers if self._is_timed(w)]
        if self.timeout is None or not taken:
            return None
        return max(0.0, self.timeout - max(taken))

    def _is_timed(self, worker: _Worker[Task]) -> bool:
        """Tell whether a process runs a task that is ended where it takes too long."""
        if not (worker.ready and worker.held):
            return False
        return self.has_own_limit is None or not self.has_own_limit(worker.held[0].task)

    def _end_late(
        self, worker: _Worker[Task], queue: deque[_Item[Task]]
    ) -> Iterator[tuple[int, Answer, int]]:
        assert self.timeout is not None
        if not self._is_timed(worker) or worker.connection.poll():
            return
        if (seconds := worker.held[0].seconds) >= self.timeout:
            late = worker.held.popleft()
            self._end(worker, queue)
            reason = f"took longer than --timeout {self.timeout:g} seconds"
            yield late.index, self.lost(late.task, "timeout", reason, seconds), 0

    def _bury(
        self, worker: _Worker[Task], queue: deque[_Item[Task]]
    ) -> Iterator[tuple[int, Answer, int]]:
        """Answer for the task that a process died of; one that never began is queued anew."""
        died = worker.held.popleft() if worker.ready and worker.held else None
        seconds = 0.0 if died is None else died.seconds
        # It closed the connection by dying: its own ending says how.
        worker.process.how_ended(5)
        how = self._end(worker, queue)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise NotStartedError(f"a worker process {how} before it could begin")
        if died is not None:
            reason = f"its worker process {how}"
            yield died.index, self.lost(died.task, "crashed", reason, seconds), 0

    def _end(self, worker: _Worker[Task], queue: deque[_Item[Task]]) -> str:
        """End a process, whose tasks are for the next one; return how it ended."""
        queue.extendleft(reversed(worker.held))
        self._workers.remove(worker)
        worker.let_end()
        return worker.process.end()


def serve(channel: int) -> None:
    """Serve the pool at the other end of a socket until it closes."""
    connection: Connection[Any, Any] = Connection(channel)
    work, max_memory = loads(connection.recv_bytes())
    import numpy as np

    np.zeros(1)
    _bound_memory(max_memory)
    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send_bytes(_answer(work, connection.recv_bytes()))


def _answer(work: Callable[[Any], Any], task: bytes) -> bytes:
    """Return the pickled answer: what the work returned, or the text of what it raised."""
    try:
        return dumps((True, work(loads(task))), HIGHEST_PROTOCOL)
    except MemoryError:
        return dumps((False, "out of memory"), HIGHEST_PROTOCOL)
    except Exception as error:
        return dumps((False, f"{type(error).__name__}: {error}"), HIGHEST_PROTOCOL)


def _bound_memory(max_memory: int | None) -> None:
    """Make the system refuse what exceeds the bound, where it can: then one case fails alone."""
    if max_memory is None or not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as stream:
        used = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = used + max_memory + SLACK
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
