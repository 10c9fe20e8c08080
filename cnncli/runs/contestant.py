"""One contender's process: pickled requests on standard input, answers on standard output."""

from __future__ import annotations

import os
import pickle
import sys
import time
from typing import Any, BinaryIO

from cnncli.errors import CnncliError
from cnncli.runs.contest import Prepare, Prepared


class _Worker:
    """What a contender's process holds: the call that is ready, and how often a sample calls it."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.ready: Any = None
        self.loops = 1

    def prepare(self, request: Prepare) -> Prepared:
        from cnncli.implementations.base import CannotExpressError
        from cnncli.implementations.contenders import make_ready

        self.ready = None
        try:
            self.ready = make_ready(self.name, make_job(request), self.threads)
            memory = _extra_memory(self.ready.call) if self.name == "cnncli" else None
            self._calibrate(request.min_time)
        except CannotExpressError as error:
            return Prepared(reason=str(error))
        except (ImportError, MemoryError) as error:
            return Prepared(reason=f"{self.name}: {error or type(error).__name__}")
        return Prepared(note=self.ready.note, memory=memory)

    def _calibrate(self, min_time: float) -> None:
        """Call until warm, and choose how many calls make a sample of `min_time` seconds."""
        self.loops = 1
        self.sample()
        took = self.sample() * self.ready.share
        self.loops = max(1, round(min_time / max(took, 1e-7)))

    def sample(self) -> float:
        """Return the seconds of one call of the whole case, the mean over a sample's calls."""
        call, loops = self.ready.call, self.loops
        started = time.perf_counter()
        for _ in range(loops):
            call()
        seconds = time.perf_counter() - started
        return seconds / loops / float(self.ready.share)


def make_job(request: Prepare) -> Any:
    """Return a case's arrays and plan, every tensor in the one dtype that is timed."""
    import numpy as np

    from cnncli.cases.tensors import make_tensors, open_ingredients, request_for
    from cnncli.implementations.contenders import Job

    case = request.case
    with open_ingredients(case) as ingredients:
        plan = case.layer.plan(request_for(case, ingredients.shapes))
        made = make_tensors(ingredients, plan, backward=request.direction != "forward")
    dtype = case.settings.dtype or "float64"
    tensors = {name: np.ascontiguousarray(m.array, dtype) for name, m in made.items()}
    return Job(layer=case.layer, plan=plan, tensors=tensors, direction=request.direction)


def _extra_memory(call: Any) -> int:
    """Return the peak of one call beyond its result, of all that Python's tracing sees."""
    import tracemalloc

    call()  # what it imports is not its own
    tracemalloc.start()
    try:
        result = call()
        arrays = result.values() if isinstance(result, dict) else [result]
        return tracemalloc.get_traced_memory()[1] - sum(int(array.nbytes) for array in arrays)
    finally:
        tracemalloc.stop()


def serve(requests: BinaryIO, answers: BinaryIO, name: str, threads: int) -> None:
    """Answer requests until their pipe ends."""
    from cnncli.kernels.threads import set_threads
    from cnncli.runs.blas import blas_text

    set_threads(threads)
    worker = _Worker(name, threads)
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            if request == "blas":
                answer: Any = blas_text()
            else:
                answer = worker.sample() if request == "sample" else worker.prepare(request)
        except CnncliError as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _die_with_parent() -> None:
    """Be killed when the benchmark dies: while stopped, this process would not see its pipe end."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    """Serve; whatever a library prints goes to standard error, not among the answers."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
