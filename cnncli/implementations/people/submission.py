"""One file of people's functions, as an implementation: asked all cases at once, in one process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnncli.implementations.base import Computed, Task
from cnncli.implementations.people.contents import code_key
from cnncli.implementations.people.isolate import Limits, Work, run_isolated
from cnncli.layers.base import Tensors

_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One file of people's functions.

    With `run_all` the whole file is carried out, not its definitions alone.
    """

    path: Path
    siblings: bool = False
    """Whether modules beside it may be imported: not where other submissions lie there."""
    limits: Limits = field(default_factory=Limits)
    run_all: bool = False

    by_call = True

    @property
    def label(self) -> str:
        """Its path, as a report names it: in one line, and as text that every file can hold."""
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(self.path))

    @property
    def key(self) -> str:
        """A hash of the code that its results depend on, and of what it may use."""
        code = code_key(self.path, siblings=self.siblings)
        return f"{code} {self.run_all} {self.limits.seconds:g}"

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what its functions make of each task, all of them called in one process.

        The shortest time that a task allows holds for all.
        """
        tasks = list(tasks)
        seconds = min([self.limits.seconds, *(t.seconds for t in tasks if t.seconds is not None)])
        yield from run_isolated(
            self.path,
            [_work(task) for task in tasks],
            replace(self.limits, seconds=seconds),
            run_all=self.run_all,
            siblings=self.siblings,
            again=all(task.again for task in tasks),
        )


def labelled(text: str) -> Path:
    """Return the path that a label names, or that the text names as it is."""
    return Path(text if os.path.lexists(text) else _ESCAPE.sub(_character, text))


def _character(escape: re.Match[str]) -> str:
    return escape[0].encode().decode("unicode_escape")


def used_tensors(task: Task) -> Tensors:
    """Return the tensors that a task's calls use, by name; x padded beforehand is `pad(x)`."""
    tensors = {
        name: array
        for name, array in task.problem.tensors.items()
        if any(call.uses("tensor", name) for call in task.calls)
    }
    if task.padded is not None:
        tensors["pad(x)"] = task.padded.tensors["x"]
    return tensors


def _work(task: Task) -> Work:
    calls = [
        {
            "function": call.function,
            "arguments": call.arguments,
            "keywords": call.keywords,
            "targets": [(target.name, target.judged) for target in call.targets],
        }
        for call in task.calls
    ]
    return Work(calls=calls, tensors=used_tensors(task))
