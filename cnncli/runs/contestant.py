"""One contender's process: it answers requests on its socket."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from cnncli.cases.tensors import make_tensors, open_ingredients, request_for
from cnncli.errors import CnncliError
from cnncli.implementations.base import CannotExpressError, Task, error_text
from cnncli.implementations.library import Call, Calls, Direction
from cnncli.implementations.limits import limit
from cnncli.implementations.table import resolve_library
from cnncli.implementations.textbook import TEXTBOOK, Ready
from cnncli.kernels.threads import set_threads
from cnncli.layers.base import Problem, Tensors
from cnncli.runs.blas import blas_text
from cnncli.runs.contest import LIMIT, OURS, Answer, Prepare


class Contestant:
    """What a contender's process holds: the call that is ready, and how often a sample calls it."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.ready: Any = None
        self.loops = 1

    def prepare(self, request: Prepare) -> Answer:
        """Make one direction of a case ready, and tell why where that is not possible."""
        self.ready = None
        try:
            task = make_task(request)
            self.ready = make_ready(self.name, task, request.direction, self.threads)
            memory = _extra_memory(self.ready.call) if self.name == OURS else None
            self._calibrate(request.min_time)
        except CannotExpressError as error:
            return Answer(reason=str(error))
        except CnncliError:
            raise
        except Exception as error:  # whatever a library raises is why it is not timed
            if self.name in (OURS, LIMIT) and not isinstance(error, MemoryError):
                raise
            text = " ".join(error_text(error).split())
            return Answer(reason=f"{self.name}: {text}")
        return Answer(note=self.ready.note, memory=memory)

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


def make_task(request: Prepare) -> Task:
    """Return what is to be computed, every tensor in the one dtype that is timed."""
    case = request.case
    backward = request.direction != "forward"
    with open_ingredients(case) as ingredients:
        plan = case.layer.plan(request_for(case, ingredients.shapes))
        made = make_tensors(ingredients, plan, backward=backward)
    dtype = case.settings.dtype or "float64"
    tensors = {name: np.ascontiguousarray(m.array, dtype) for name, m in made.items()}
    problem = Problem(layer=case.layer, plan=plan, tensors=tensors)
    return Task(problem=problem, backward=backward, convention=case.settings.convention)


def make_ready(name: str, task: Task, direction: Direction, threads: int) -> Ready:
    """Return the call that times contender `name`; raise CannotExpressError where it has none."""
    if name == OURS:
        return Ready(call=_ours(task).timed(direction))
    if name == LIMIT:
        return Ready(call=limit(task, direction))
    if name in TEXTBOOK:
        return TEXTBOOK[name](task, direction)
    return Ready(call=_library(name, task, threads).timed(direction))


def _ours(task: Task) -> Calls:
    layer, plan, tensors = task.problem.layer, task.problem.plan, task.problem.tensors

    def save() -> Call:
        saved = tensors | layer.forward(plan, tensors)
        return lambda: layer.backward(plan, saved)

    def step() -> Tensors:
        outputs = layer.forward(plan, tensors)
        return outputs | layer.backward(plan, tensors | outputs)

    return Calls(forward=lambda: layer.output(plan, tensors), save=save, step=step)


def _library(name: str, task: Task, threads: int) -> Calls:
    """Return a library's calls for y alone, as ours give y alone; raise CannotExpressError.

    Winners and running statistics would be work that nobody asked for.
    """
    problem = task.problem
    plan = replace(problem.plan, outputs={"y": problem.plan.upstream})
    asked = replace(task, problem=replace(problem, plan=plan))
    prepared = resolve_library(name).prepare(asked, threads=threads)
    dtype = str(problem.tensors["x"].dtype)
    if prepared.dtype != dtype:  # a ratio of two types would tell nothing
        raise CannotExpressError(f"{name} has no kernel for this case in {dtype}")
    if task.backward and not prepared.gradients:
        raise CannotExpressError(f"{name} gives no gradients")
    return prepared.calls


def _extra_memory(call: Any) -> int:
    """Return the peak of one call beyond its result, of all that Python's tracing sees."""
    call()  # what it imports is not its own
    tracemalloc.start()
    try:
        result = call()
        arrays = result.values() if isinstance(result, dict) else [result]
        return tracemalloc.get_traced_memory()[1] - sum(int(array.nbytes) for array in arrays)
    finally:
        tracemalloc.stop()


def serve(channel: int, name: str, threads: int) -> None:
    """Answer requests until their socket ends."""
    set_threads(threads)
    contestant = Contestant(name, threads)
    connection: Connection[Any, Any] = Connection(channel)
    with contextlib.suppress(EOFError):
        while True:
            request = connection.recv()
            try:
                if request == "blas":
                    answer: Any = blas_text()
                elif request == "sample":
                    answer = contestant.sample()
                else:
                    answer = contestant.prepare(request)
            except CnncliError as error:
                answer = error
            connection.send(answer)
