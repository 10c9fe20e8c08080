"""The one idea of an implementation: something that computes a case's tensors and can be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cnncli.layers.base import Layer, Plan, Tensors


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an implementation is asked to compute.

    `tensors` holds every input of the plan and, with `backward`, dy, in the precision of the
    computation. `convention` is the one that the plan was made under.
    """

    layer: Layer
    plan: Plan
    tensors: Tensors
    backward: bool
    convention: str = "torch"


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What an implementation gave: outputs and gradients by name, NCHW as ours are.

    `reasons` says, for tensors that are not among them, why (a library that does not
    differentiate); `stored` is the type it computed in, which tells how precise it is; `note` says
    what else about its precision a reader should know.
    """

    tensors: Tensors
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

    def compute(self, task: Task) -> Computed:
        """Return what it computes; raise CannotExpressError where it cannot say the case."""


def as_floats(task: Task, *, widest: str = "float64") -> tuple[Tensors, str]:
    """Return a task's tensors as floats of one type, for a library that takes no other, and that.

    float32 stays so, and with `widest` float32 everything is. Raises CannotExpressError where a
    whole number has no float64 of its own.
    """
    import numpy as np

    narrow = widest == "float32" or any(
        array.dtype == np.float32 for name, array in task.tensors.items() if name in ("x", "w")
    )
    dtype = "float32" if narrow else "float64"
    for name, array in task.tensors.items():
        if (
            array.dtype.kind in "iu"
            and (array.astype(np.float64).astype(array.dtype) != array).any()
        ):
            raise CannotExpressError(f"{name} holds whole numbers that float64 cannot")
    return {name: array.astype(dtype) for name, array in task.tensors.items()}, dtype
