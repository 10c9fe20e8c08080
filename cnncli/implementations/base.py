"""The one idea of an implementation: something that computes a case's tensors and can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from cnncli.errors import CnncliError
from cnncli.layers.base import Problem, Tensors

MOST_TOLD = 300
"""Characters of an exception that are told."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an implementation is asked to compute.

    The problem's tensors hold every input of the plan and, with `backward`, dy, in the precision
    of the computation. `convention` is the one that the plan was made under.
    """

    problem: Problem
    backward: bool
    convention: str = "torch"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a computation came to no end: a reason of the contract, and what is known of it."""

    reason: Literal["exception", "timeout", "out of memory", "missing"]
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What an implementation gave: outputs and gradients by name, NCHW as ours are.

    `reasons` says, for tensors that are not among them, why (a library that does not
    differentiate); `stored` is the type it computed in, which tells how precise it is; `note` says
    what else about its precision a reader should know. `unsaid` is why it has no way to say the
    case at all, which is no fault of its own; `trouble` is what went wrong.
    """

    tensors: Tensors = field(default_factory=dict)
    unsaid: str | None = None
    trouble: Trouble | None = None
    stored: str = "float64"
    reasons: dict[str, str] = field(default_factory=dict)
    note: str | None = None


class CannotExpressError(Exception):
    """An implementation has no way to say this case; the text is the reason."""


class Implementation(Protocol):
    """Something that computes a case's tensors."""

    @property
    def label(self) -> str:
        """Its name and version, such as `torch 2.13.0`."""

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
