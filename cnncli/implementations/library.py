"""A library as an implementation: a task is made ready once, and then called to judge or to time.

What a library runs is the text that `--as` prints, compiled once; everything that a call does not
need to repeat (arrays converted, a session built) is done before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from cnncli.implementations.base import Computed, Task, one_by_one
from cnncli.layers.base import Array

Call = Callable[[], Any]
Direction = Literal["forward", "backward", "step"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "step")


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What computes a task, ready to be called again and again, tensors being the library's own.

    `forward` gives the outputs. `save` runs forward once and gives the call that gives the
    gradients from what was saved. `step` is both passes: outputs, then gradients, in one tuple.
    The last two are there where there are gradients.
    """

    forward: Call
    save: Callable[[], Call] | None = None
    step: Call | None = None

    def timed(self, direction: Direction) -> Call:
        """Return the call of one direction, all that it is given made: what forward saves, too."""
        if direction == "forward":
            return self.forward
        assert self.save is not None
        assert self.step is not None
        return self.step if direction == "step" else self.save()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task made ready by a library, and how what the calls give becomes a result."""

    calls: Calls
    outputs: tuple[str, ...]
    """What `forward` gives, by name."""
    gradients: tuple[str, ...] = ()
    """What `step` gives after them; none where nobody differentiates."""
    read: Callable[[str, Any], Array]
    """Turns the library's tensor of a name into an array, NCHW."""
    dtype: str
    """The type of the library's tensors."""
    told: Computed
    """What is known before anything is computed: precision, notes, why tensors are missing."""

    def computed(self) -> Computed:
        """Compute once, and return what was computed as arrays."""
        found = self.calls.timed("step" if self.gradients else "forward")()
        named = zip((*self.outputs, *self.gradients), found, strict=True)
        return replace(self.told, tensors={name: self.read(name, value) for name, value in named})


class Library(ABC):
    """An implementation that is given a case at a time."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name and version, such as `torch 2.13.0`."""

    @property
    def key(self) -> str:
        """Its name and version, which its results depend on."""
        return self.label

    by_call = False

    @abstractmethod
    def prepare(self, task: Task, *, threads: int = 1) -> Prepared:
        """Return the task ready to be called; raise CannotExpressError where it has no call."""

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task."""
        return one_by_one(self._compute, tasks)

    def _compute(self, task: Task) -> Computed:
        return self.prepare(task).computed()
