"""The process that a pool runs cases in: one thread of arithmetic, one task at a time.

It reads pickled tasks from a socket and answers each with what its work returns. A thread of its
own reads ahead, so that the next task is here when one ends, and so that the process ends at once
when its pool has gone.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import Any

SLACK = 256 << 20
"""Address space beyond the bound on a case: what NumPy and its BLAS reserve as they work."""


def main(handle: int) -> None:
    """Serve the pool at the other end of socket `handle` until it closes."""
    # Ctrl-C is for the pool to handle: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(handle)
    work, max_memory = loads(connection.recv_bytes())
    import numpy as np

    np.zeros(1)
    _bound_memory(max_memory)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(connection, tasks), daemon=True)
    reader.start()
    connection.send_bytes(b"ready")
    while True:
        connection.send_bytes(_answer(work, tasks.get()))


def _read(connection: Connection[Any, Any], tasks: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


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
