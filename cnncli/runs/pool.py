"""A pool of processes in which one bad task never costs another.

Answers come in the order of the tasks, whatever the order they end in. A task that takes too long
or whose process dies is answered for by the caller, and the process replaced.

A process reads pickled tasks from a socket and answers each with what its work returns, with one
thread of arithmetic. A thread of its own reads ahead, so that the next task is here when one ends,
and so that the process ends at once when its pool has gone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import Any, Generic, Literal, TypeVar

from cnncli.process import ONE_THREAD

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Loss = Literal["timeout", "crashed"]

AHEAD = 2
"""Tasks a worker holds: the one it runs, and the next, so that it never waits for us."""
MOST_WAITING = 512
"""Answers that may wait for an earlier task to end; beyond it no new task is begun."""
MOST_WAITING_BYTES = 64 << 20
_STARTS = 3
GRACE = 2.0
"""Seconds in which a process that is ended may end what it started."""
SLACK = 256 << 20
"""Address space beyond the bound on a case: what NumPy and its BLAS reserve as they work."""


class WorkerStartError(RuntimeError):
    """Worker processes cannot be started here."""


@dataclass
class _Held(Generic[Task]):
    index: int
    task: Task
    started: float


class _Worker(Generic[Task]):
    """One process, and the tasks that it holds; the first of them is the one it runs."""

    def __init__(self, setup: bytes) -> None:
        ours, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from cnncli.runs.pool import serve\nserve({theirs.fileno()})"
        )
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, **ONE_THREAD},
                pass_fds=[theirs.fileno()],
                stdout=2,  # what a worker prints is not a result
            )
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self.held: deque[_Held[Task]] = deque()
        self.ready = False
        with contextlib.suppress(OSError):  # its death shows when it is read from
            self.connection.send_bytes(setup)

    def give(self, index: int, task: Task, data: bytes) -> None:
        self.held.append(_Held(index, task, time.monotonic()))
        with contextlib.suppress(OSError):
            self.connection.send_bytes(data)

    def take(self) -> _Held[Task]:
        """Return the task that has ended; the next one begins now."""
        done = self.held.popleft()
        if self.held:
            self.held[0].started = time.monotonic()
        return done

    def ask_to_end(self) -> None:
        """Let the process end what it started itself, such as people's code."""
        with contextlib.suppress(OSError):
            self.process.terminate()

    def end(self) -> int:
        """End the process, whatever it does; return its exit status."""
        self.ask_to_end()
        self.connection.close()
        try:
            return self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


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
            worker.ask_to_end()
        for worker in self._workers:
            worker.end()
        self._workers = []

    def run(self, tasks: Iterable[Task]) -> Iterator[Answer]:
        """Yield the answer to every task, in their order; tasks are taken as they are needed."""
        waiting = iter(enumerate(tasks))
        again: deque[tuple[int, Task]] = deque()
        answers: dict[int, tuple[Answer, int]] = {}
        next_index, given, exhausted = 0, 0, False
        while True:
            while next_index in answers:
                answer, _ = answers.pop(next_index)
                next_index += 1
                yield answer
            held_back = sum(size for _, size in answers.values()) > MOST_WAITING_BYTES
            while self._has_room():
                if again:
                    item = again.popleft()
                elif exhausted or held_back or given - next_index >= MOST_WAITING:
                    break
                else:
                    found = next(waiting, None)
                    if found is None:
                        exhausted = True
                        break
                    item, given = found, found[0] + 1
                self._give(*item)
            if not any(worker.held for worker in self._workers):
                if exhausted and not again:
                    return
                continue
            for index, answer, size in self._collect(again):
                answers[index] = (answer, size)

    def _has_room(self) -> bool:
        return len(self._workers) < self.jobs or any(len(w.held) < AHEAD for w in self._workers)

    def _give(self, index: int, task: Task) -> None:
        worker = min(self._workers, key=lambda w: len(w.held), default=None)
        if worker is None or (worker.held and len(self._workers) < self.jobs):
            worker = _Worker(self._setup)
            self._workers.append(worker)
        worker.give(index, task, dumps(task, HIGHEST_PROTOCOL))

    def _collect(self, again: deque[tuple[int, Task]]) -> Iterator[tuple[int, Answer, int]]:
        """Yield answers that have come, waiting for one; tasks to be given anew go to `again`."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), self._patience()):
            worker = by_connection[connection]  # type: ignore[index]  # only our connections
            try:
                data = worker.connection.recv_bytes()
            except (EOFError, OSError):
                yield from self._bury(worker, again)
                continue
            if not worker.ready:
                worker.ready, self._failed_starts = True, 0
                if worker.held:
                    worker.held[0].started = time.monotonic()
                continue
            done = worker.take()
            fine, answer = loads(data)
            if not fine:
                seconds = time.monotonic() - done.started
                answer = self.lost(done.task, "crashed", answer, seconds)
            yield done.index, answer, len(data)
        if self.timeout is not None:
            for worker in list(self._workers):
                yield from self._end_late(worker, again)

    def _patience(self) -> float | None:
        """Return the seconds until the next task runs out of time."""
        if self.timeout is None:
            return None
        begun = [w.held[0].started for w in self._workers if self._is_timed(w)]
        if not begun:
            return None
        return max(0.0, min(begun) + self.timeout - time.monotonic())

    def _is_timed(self, worker: _Worker[Task]) -> bool:
        """Tell whether a process runs a task that is ended where it takes too long."""
        if not (worker.ready and worker.held):
            return False
        return self.has_own_limit is None or not self.has_own_limit(worker.held[0].task)

    def _end_late(
        self, worker: _Worker[Task], again: deque[tuple[int, Task]]
    ) -> Iterator[tuple[int, Answer, int]]:
        assert self.timeout is not None
        if not self._is_timed(worker) or worker.connection.poll():
            return
        late = time.monotonic() - worker.held[0].started
        if late >= self.timeout:
            reason = f"took longer than --timeout {self.timeout:g} seconds"
            done = self._replace(worker, again)
            yield done.index, self.lost(done.task, "timeout", reason, late), 0

    def _bury(
        self, worker: _Worker[Task], again: deque[tuple[int, Task]]
    ) -> Iterator[tuple[int, Answer, int]]:
        """Answer for the task that a process died of; one that never began is started anew."""
        worker.connection.close()
        try:
            # It closed the connection by dying: its own exit status says how.
            status = worker.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = worker.end()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise WorkerStartError(f"a worker process {_how(status)} before it could begin")
            self._workers.remove(worker)
            again.extend((held.index, held.task) for held in worker.held)
            if not self._workers:
                self._workers.append(_Worker(self._setup))
            return
        if not worker.held:
            self._workers.remove(worker)
            return
        seconds = time.monotonic() - worker.held[0].started
        done = self._replace(worker, again)
        reason = f"its worker process {_how(status)}"
        yield done.index, self.lost(done.task, "crashed", reason, seconds), 0

    def _replace(self, worker: _Worker[Task], again: deque[tuple[int, Task]]) -> _Held[Task]:
        """End a process and start another; return the task it ran, the rest are given anew."""
        worker.end()
        done = worker.held.popleft()
        again.extend((held.index, held.task) for held in worker.held)
        self._workers[self._workers.index(worker)] = _Worker(self._setup)
        return done


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def serve(handle: int) -> None:
    """Serve the pool at the other end of socket `handle` until it closes."""
    # Ctrl-C is for the pool to handle: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    connection: Connection[Any, Any] = Connection(handle)
    work, max_memory = loads(connection.recv_bytes())
    import numpy as np

    np.zeros(1)
    _bound_memory(max_memory)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(connection, tasks), daemon=True)
    reader.start()
    connection.send_bytes(b"ready")
    try:
        while True:
            connection.send_bytes(_answer(work, tasks.get()))
    except SystemExit:
        os._exit(0)  # what libraries do as Python ends is not waited for


def _read(connection: Connection[Any, Any], tasks: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        # The pool has gone. The main thread ends what it started, and the process with it.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(0)


def _leave(*_: object) -> None:
    """End the process from within whatever it does, so that what it started is ended too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


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
