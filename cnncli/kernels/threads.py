"""Threads over the blocks of one pass; NumPy lets go of the interpreter while it computes.

Blocks are cut by shapes alone and write apart from each other, so how many threads take them
never changes a bit of a result. The BLAS under them should run one thread (see cli/threads.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
W = TypeVar("W")

_threads = 1


def set_threads(number: int) -> None:
    """Let the passes that follow, in this process, use up to `number` threads."""
    global _threads  # noqa: PLW0603  # one setting a process, as the BLAS's own is
    _threads = number


def count() -> int:
    """Return how many threads a pass may use."""
    return _threads


def each(blocks: Iterable[T], work: Callable[[T, W], object], make: Callable[[], W]) -> None:
    """Call `work` once with every block; several threads take the next block as they get free.

    `make` gives each thread a workspace, the second argument of its calls. An error in one block
    is raised here, after the blocks already begun have ended.
    """
    waiting = list(blocks)
    helpers = min(_threads, len(waiting)) - 1
    if helpers < 1:
        workspace = make()
        for block in waiting:
            work(block, workspace)
        return
    import numpy as np  # not for who only sets the number

    waiting.reverse()
    errors: list[BaseException] = []
    warns = np.geterr()  # which NumPy keeps for each thread

    def take() -> None:
        try:
            with np.errstate(**warns):
                workspace = make()
                while not errors:
                    try:
                        block = waiting.pop()
                    except IndexError:
                        return
                    work(block, workspace)
        except BaseException as error:  # raised again below
            errors.append(error)

    threads = [Thread(target=take) for _ in range(helpers)]
    for thread in threads:
        thread.start()
    take()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
