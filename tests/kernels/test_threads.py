from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from cnncli.kernels import threads


@pytest.fixture(autouse=True)
def one_thread_after() -> Iterator[None]:
    yield
    threads.set_threads(1)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_every_block_is_worked_once(number: int) -> None:
    threads.set_threads(number)
    done: list[int] = []
    threads.each(range(50), lambda block, space: done.append(block), object)
    assert sorted(done) == list(range(50))


def test_several_threads_work_at_once() -> None:
    threads.set_threads(3)
    together = threading.Barrier(3, timeout=10)  # breaks, and raises, where fewer arrive
    threads.each(range(3), lambda _, space: together.wait(), object)


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_is_raised_here(number: int) -> None:
    threads.set_threads(number)

    def work(block: int, space: object) -> None:
        if block == 7:
            raise MemoryError("block 7")

    with pytest.raises(MemoryError, match="block 7"):
        threads.each(range(20), work, object)
    assert threading.active_count() == 1


@pytest.mark.parametrize("number", [1, 4])
def test_what_numpy_warns_of_is_the_same_in_every_thread(number: int) -> None:
    """NumPy keeps that for each thread, and a new one warns; warnings are errors here."""
    threads.set_threads(number)
    together = threading.Barrier(number, timeout=10)

    def work(_: int, space: object) -> None:
        together.wait()
        assert np.isnan(np.float64(np.inf) - np.float64(np.inf))

    with np.errstate(invalid="ignore"):
        threads.each(range(number), work, object)
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        threads.each(range(number), work, object)
