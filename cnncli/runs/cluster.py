"""Cases on a Dask cluster: the same work, the same order, the same results as a pool of ours.

Every Dask worker runs cases in a process of its own (a pool of one), so that a timeout, a crash or
a bound on memory costs one case there as it does here, and arithmetic has one thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Generic

from cnncli.errors import MissingExtraError, UsageError
from cnncli.runs.pool import Answer, Loss, Pool, Task

_CONNECT = "20s"
_AHEAD = 256
"""Cases that the cluster holds at a time: enough for a hundred threads, little for a client."""


@dataclass(kw_only=True)
class Cluster(Pool[Task, Answer]):
    """A pool whose processes are those of a Dask cluster."""

    address: str

    def __enter__(self) -> Cluster[Task, Answer]:
        """Connect; raise MissingExtraError without Dask, UsageError where nobody answers."""
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtraError(
                "needs Dask: pip install 'cnncli[dask]'", "--scheduler"
            ) from None
        try:
            connect: Any = Client
            self._client = connect(self.address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.address}: {error}", "--scheduler") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; the cluster stays, its unfinished cases are withdrawn."""
        self._client.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[Answer]:
        """Yield the answer to every task, in their order.

        Dask gives the case of a worker that died to another; one that several workers died of is
        answered for as crashed.
        """
        from distributed import KilledWorker

        remote: _Remote[Task, Answer] = _Remote(
            work=self.work,
            lost=self.lost,
            timeout=self.timeout,
            has_own_limit=self.has_own_limit,
            max_memory=self.max_memory,
        )
        waiting = iter(tasks)
        pending: deque[tuple[Task, Any]] = deque()
        while True:
            while len(pending) < _AHEAD:
                task = next(waiting, None)
                if task is None:
                    break
                pending.append((task, self._client.submit(remote, task, pure=False)))
            if not pending:
                return
            task, future = pending.popleft()
            try:
                answer = future.result()
            except KilledWorker as error:
                answer = self.lost(task, "crashed", f"its Dask workers died: {error}", 0.0)
            except CancelledError:
                raise UsageError(f"{self.address}: the scheduler has gone", "--scheduler") from None
            yield answer


@dataclass(frozen=True, kw_only=True)
class _Remote(Generic[Task, Answer]):
    """What a Dask worker does with a task: hand it to this machine's own process."""

    work: Callable[[Task], Answer]
    lost: Callable[[Task, Loss, str, float], Answer]
    timeout: float | None
    has_own_limit: Callable[[Task], bool] | None
    max_memory: int | None

    def __call__(self, task: Task) -> Answer:
        return _pool_of(self).answer(task)


class _Kept(Generic[Task, Answer]):
    """A pool of one process that outlives the task: starting one takes longer than most cases."""

    def __init__(self, remote: _Remote[Task, Answer]) -> None:
        self.remote = remote
        self.pool = Pool(
            work=remote.work,
            lost=remote.lost,
            jobs=1,
            timeout=remote.timeout,
            has_own_limit=remote.has_own_limit,
            max_memory=remote.max_memory,
        )
        self.pool.__enter__()

    def answer(self, task: Task) -> Answer:
        (answer,) = self.pool.run([task])
        return answer

    def close(self) -> None:
        self.pool.__exit__()


_here = threading.local()


def _pool_of(remote: _Remote[Task, Answer]) -> _Kept[Task, Answer]:
    """Return this thread's process, a new one where the work is another than before."""
    kept: _Kept[Task, Answer] | None = getattr(_here, "kept", None)
    if kept is None or kept.remote != remote:
        if kept is not None:
            kept.close()
        kept = _here.kept = _Kept(remote)
    return kept
