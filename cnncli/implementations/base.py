"""The one idea of an implementation: something that computes a case's tensors and can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from cnncli.cases.calls import Call
from cnncli.errors import CnncliError
from cnncli.layers.base import Problem, Shape, Tensors

MOST_TOLD = 300
"""Characters of an exception that are told."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an implementation is asked to compute.

    The problem's tensors hold every input of the plan and, with `backward`, dy, in the precision
    of the computation. `convention` is the one that the plan was made under. What follows is of
    people's functions: the `calls` that ask them, parameters put in (the problem then holds outputs
    and gradients too), and the same problem with x `padded` beforehand, where a call says pad(x).
    """

    problem: Problem
    backward: bool
    convention: str = "torch"
    calls: tuple[Call, ...] = ()
    padded: Problem | None = None
    seconds: float | None = None
    """How long it may take, where that is less than what the implementation allows anyway."""
    again: bool = True
    """Whether it may be computed a second time, to see whether the same comes of it."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a computation came to no end: a reason of the contract, and what is known of it.

    `function` is the one of people's that was being called, `line` its line that raised and `text`
    what stands there; `defined` are the functions that there are, where one is missing.
    """

    reason: Literal["exception", "timeout", "out of memory", "missing"]
    message: str = ""
    function: str | None = None
    line: str | None = None
    text: str | None = None
    defined: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What an implementation gave: outputs and gradients by name, NCHW as ours are.

    `reasons` says, for tensors that are not among them, why (a library that does not
    differentiate); `stored` is the type it computed in, which tells how precise it is, or None
    where that is each array's own; `note` says what else about its precision a reader should know.
    `unsaid` is why it has no way to say the case at all, which is no fault of its own; `trouble` is
    what went wrong.

    Of people's code alone: `shapes` of tensors too large to be handed over, `refused` what came in
    place of an array, `changed` the arguments that were written into, `unsteady` the tensors that
    come out different once the functions were called with other numbers, `notes` what loading the
    file showed and `broken` what of it could not be loaded.
    """

    tensors: Tensors = field(default_factory=dict)
    unsaid: str | None = None
    trouble: Trouble | None = None
    stored: str | None = "float64"
    reasons: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    seconds: float = 0.0

    def stored_of(self, name: str) -> str:
        """Return the type that tensor `name` was computed in."""
        return self.stored or str(self.tensors[name].dtype)


class CannotExpressError(Exception):
    """An implementation has no way to say this case; the text is the reason."""


class Implementation(Protocol):
    """Something that computes a case's tensors."""

    @property
    def label(self) -> str:
        """Its name and version, such as `torch 2.13.0`; of people's code its path."""

    @property
    def by_call(self) -> bool:
        """Whether it is to be given all cases at once, those alone that have a `call`."""

    @property
    def key(self) -> str:
        """What its results depend on beside the task: its version, or a hash of its code."""

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task, whatever it does: what goes wrong is a result too."""


def one_by_one(compute: Callable[[Task], Computed], tasks: Iterable[Task]) -> Iterator[Computed]:
    """Yield what `compute` returns for each task, or why it returned nothing.

    Raises CnncliError alone, such as that of a package that is missing.
    """
    for task in tasks:
        try:
            computed = compute(task)
        except CannotExpressError as reason:
            computed = Computed(unsaid=str(reason))
        except CnncliError:
            raise
        except Exception as error:  # whatever another's code raises is what it gave
            computed = Computed(trouble=Trouble(reason="exception", message=error_text(error)))
        yield computed


def error_text(error: Exception) -> str:
    """Return another's exception as a text that is not too long."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= MOST_TOLD else text[: MOST_TOLD - 3] + "..."


def as_floats(task: Task, *, widest: str = "float64") -> tuple[Tensors, str]:
    """Return copies of a task's tensors as floats of one type, which a library wants, and that.

    float32 stays so, and with `widest` float32 everything is. Raises CannotExpressError where a
    whole number has no float64 of its own.
    """
    narrow = widest == "float32" or any(
        array.dtype == np.float32
        for name, array in task.problem.tensors.items()
        if name in ("x", "w")
    )
    dtype = "float32" if narrow else "float64"
    for name, array in task.problem.tensors.items():
        if (
            array.dtype.kind in "iu"
            and (array.astype(np.float64).astype(array.dtype) != array).any()
        ):
            raise CannotExpressError(f"{name} holds whole numbers that float64 cannot")
    floats = {name: array.astype(dtype, order="C") for name, array in task.problem.tensors.items()}
    return floats, dtype
