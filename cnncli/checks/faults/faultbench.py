"""What a named fault is computed on: a case's tensors, with changes, through its kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from cnncli.kernels.windows import Windows, windows
from cnncli.layers.base import Array, Layer, Plan, Problem, Tensors


@dataclass(frozen=True)
class FaultBench:
    """One tensor `name` of a problem, and how to compute it with something changed.

    The problem's tensors are float64 and hold the inputs and, for gradients, dy.
    """

    problem: Problem
    name: str

    @property
    def layer(self) -> Layer:
        """The problem's layer."""
        return self.problem.layer

    @property
    def plan(self) -> Plan:
        """The problem's plan."""
        return self.problem.plan

    @property
    def tensors(self) -> Tensors:
        """The problem's tensors."""
        return self.problem.tensors

    def redo(
        self,
        *,
        arguments: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        spatial: tuple[int, ...] | None = None,
        name: str | None = None,
        **tensors: Array,
    ) -> Array:
        """Return the tensor computed with other arguments, parameters, x's size, or tensors."""
        inputs = dict(self.plan.inputs)
        if spatial is not None:
            inputs["x"] = (*inputs["x"][:2], *spatial)
        plan = replace(
            self.plan,
            inputs=inputs,
            arguments={**self.plan.arguments, **(arguments or {})},
            params={**self.plan.params, **(params or {})},
        )
        name = name or self.name
        given = {**self.tensors, **tensors}
        compute = self.layer.backward if name in self.plan.gradients else self.layer.forward
        return compute(plan, given)[name]

    @property
    def right(self) -> Array:
        """The tensor as it should be."""
        return self.redo()

    @property
    def dy(self) -> Array:
        """The upstream gradient."""
        return self.tensors["dy"]

    @property
    def x(self) -> Array:
        """The input."""
        return self.tensors["x"]

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial axes of x, y and dy."""
        return tuple(range(2, self.x.ndim))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding, before and after on each axis."""
        pads: tuple[tuple[int, int], ...] = self.plan.arguments["padding"]
        return pads

    def argument(self, name: str) -> Any:
        """Return one of the kernels' arguments."""
        return self.plan.arguments[name]

    def windows(self) -> Windows:
        """Return how the windows of a conv or pool lie over x."""
        kernel = self.plan.inputs["w"][2:] if "w" in self.plan.inputs else self.argument("kernel")
        return windows(
            self.plan.spatial,
            kernel,
            self.argument("stride"),
            self.pads,
            self.argument("dilation"),
            self.plan.upstream[2:],
        )


Made: TypeAlias = "Array | list[Array]"


@dataclass(frozen=True)
class Fault:
    """One named fault: which tensors it spoils, in words, and the reference that has it alone.

    `cause` and `look` are what a student reads; {t} is the tensor. `make` returns the wrong tensor
    (or several: ways to make the same mistake), and may raise ValueError or IndexError where this
    geometry has no such fault. A `last` fault is named only where no other explains the tensor.
    """

    name: str
    layers: str
    tensors: str
    cause: str
    look: str
    make: Callable[[FaultBench], Made]
    last: bool = False

    def applies(self, layer: str, tensor: str) -> bool:
        """Tell whether this fault can spoil a tensor of a layer."""
        return layer in self.layers.split() and tensor in self.tensors.split()

    def variants(self, bench: FaultBench) -> list[Array]:
        """Return the tensor with this fault, every way; none where the geometry has none."""
        try:
            with np.errstate(all="ignore"):
                made = self.make(bench)
        except (ValueError, IndexError, ZeroDivisionError, KeyError):
            return []
        return [np.asarray(one) for one in (made if isinstance(made, list) else [made])]
