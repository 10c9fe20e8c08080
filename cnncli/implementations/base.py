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
    differentiate); `stored` is the type it computed in, which tells how precise it is.
    """

    tensors: Tensors
    stored: str = "float64"
    reasons: dict[str, str] = field(default_factory=dict)


class CannotExpressError(Exception):
    """An implementation has no way to say this case; the text is the reason."""


class Implementation(Protocol):
    """Something that computes a case's tensors."""

    @property
    def label(self) -> str:
        """Its name and version, such as `torch 2.13.0`."""

    def compute(self, task: Task) -> Computed:
        """Return what it computes; raise CannotExpressError where it cannot say the case."""
