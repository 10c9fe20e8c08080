"""The protocol of a layer, and the plan that its shape rule makes of a case."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from cnncli.errors import ConfigError, GeometryError
from cnncli.layers.parameters import Ints, Pairs

if TYPE_CHECKING:
    import numpy as np

    from cnncli.layers.sharing import Link

Shape: TypeAlias = tuple[int, ...]
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Tensors: TypeAlias = dict[str, Array]

SPATIAL_AXES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input tensor: what it is, and what stands for it when it is left out."""

    name: str
    help: str
    left_out: Literal["required", "none", "ones", "zeros"] = "required"
    differentiable: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A case's shapes and parameters, judged and resolved: all that the kernels need to know.

    `params` is what is printed (padding as before:after pairs); `arguments` are the kernels' own.
    Shapes are NCHW; `gradients` maps dx, dw, ... to the shape of the input they belong to.
    """

    layer: str
    params: dict[str, Any]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    gradients: dict[str, Shape]
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def spatial(self) -> Shape:
        """The spatial shape of x."""
        return self.inputs["x"][2:]

    @property
    def upstream(self) -> Shape:
        """The shape of dy, which is y's."""
        return self.outputs["y"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a layer's shape rule judges: parameters as written and the shapes that are known.

    `given` maps the name of every parameter that the user wrote to its place, `tensors` the name
    of every tensor; `shapes` maps those tensors whose shape is known, dy included, to that shape.
    """

    params: Any
    given: Mapping[str, str]
    tensors: Mapping[str, str]
    shapes: Mapping[str, Shape]
    convention: str = "torch"
    layer: str = ""
    """The layer's name, which an error about a tensor left out gives."""
    outside: Callable[[str, Shape], Shape] = lambda name, shape: shape
    """What a user calls the NCHW shape of a tensor, whose axes may have another order."""

    def shown(self, name: str, shape: Shape) -> str:
        """Return the NCHW shape of tensor `name` as text, in the order that the user writes."""
        return shape_text(self.outside(name, shape))

    def refuse(self, name: str, reason: str) -> None:
        """Raise ConfigError if the user wrote parameter `name`, which does not apply."""
        if name in self.given:
            raise ConfigError(f"{name} does not apply {reason}", self.given[name])

    def fault(self, name: str, message: str) -> GeometryError:
        """Return the error `name: message` at the place where that parameter was written."""
        return GeometryError(f"{name} {message}", self.given.get(name))

    def has(self, name: str) -> bool:
        """Tell whether tensor `name` is given, its shape known or not."""
        return name in self.tensors or name in self.shapes

    def misfit(self, name: str, message: str) -> GeometryError:
        """Return the error `message` at the place where tensor `name` was written."""
        return GeometryError(message, self.tensors.get(name))

    def per_axis(self, name: str, rank: int) -> Ints:
        """Return parameter `name` as one number a spatial axis; raise GeometryError."""
        value = getattr(self.params, name)
        if isinstance(value, int):
            return (value,) * rank
        if len(value) != rank:
            raise self.fault(name, f"has {len(value)} numbers, but x has {rank} spatial axes")
        return tuple(value)

    def pairs(self, name: str, rank: int) -> Pairs:
        """Return padding `name` as a before:after pair a spatial axis; raise GeometryError."""
        value = getattr(self.params, name)
        if isinstance(value, int):
            return ((value, value),) * rank
        if isinstance(value[0], tuple) and len(value) == 1:
            return tuple(value) * rank
        if len(value) == rank:
            return tuple(item if isinstance(item, tuple) else (item, item) for item in value)
        message = f"has {len(value)} numbers, but x has {rank} spatial axes"
        if isinstance(value[0], tuple):
            message = f"has {len(value)} pairs, but x has {rank} spatial axes"
        elif len(value) == 2 * rank:
            onnx = ",".join(f"{value[i]}:{value[i + rank]}" for i in range(rank))
            torch = ",".join(f"{value[2 * i]}:{value[2 * i + 1]}" for i in reversed(range(rank)))
            message += (
                f"; write before:after pairs: read in ONNX's order this is {onnx}, "
                f"in the order of torch's F.pad {torch}"
            )
        raise self.fault(name, message)

    def required(self, name: str, shape: Shape) -> Shape:
        """Return the shape of a tensor that nothing else determines; raise GeometryError.

        The error shows `shape` as an example.
        """
        example = f"normal:{self.shown(name, shape)}"
        if name not in self.shapes and name not in self.tensors:
            owner = f"{self.layer} needs" if self.layer else "this needs"
            raise self.misfit(name, f"{owner} {name}: --{name} {example} or a file")
        if name not in self.shapes:
            raise self.misfit(
                name,
                f"{name} needs a shape, which does not follow from anything; "
                f"write it, such as --{name} {example}",
            )
        return self.shapes[name]

    def image(self) -> tuple[Shape, int]:
        """Return x's shape (N, C, *S) and its spatial rank, 1 to 3; raise GeometryError."""
        shape = self.required("x", (2, 3, 8, 8))
        rank = len(shape) - 2
        if rank not in SPATIAL_AXES:
            axes = ("N", "C", "1 to 3 spatial ones")
            first, second, third = (axes[place] for place in self.outside("x", (0, 1, 2)))
            raise self.misfit(
                "x",
                f"x must have 3 to 5 axes ({first}, {second} and {third}), but has {len(shape)}: "
                f"{self.shown('x', shape)}",
            )
        return shape, rank

    def agree(self, name: str, expected: Shape, why: str) -> Shape:
        """Return `expected`; raise GeometryError where `name` is known to be something else."""
        known = self.shapes.get(name, expected)
        if known != expected:
            raise self.misfit(
                name,
                f"{name} must be {self.shown(name, expected)} ({why}), "
                f"but is {self.shown(name, known)}",
            )
        return expected


def shape_text(shape: Shape) -> str:
    """Return a shape as it is written in a tensor source: 2x3x8x8."""
    return "x".join(map(str, shape)) if shape else "a single number"


class Layer(ABC):
    """One layer: declarations, the shape rule, and the way to its kernels.

    Importing a layer imports no NumPy; its kernels are imported when it runs.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Params: ClassVar[type]
    inputs: ClassVar[tuple[Input, ...]]
    outputs: ClassVar[tuple[str, ...]] = ("y",)

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every tensor a case of this layer can have, in the order results show them."""
        names = [tensor.name for tensor in self.inputs]
        return (*names, *self.outputs, "dy", *self.gradient_names)

    @property
    def source_names(self) -> tuple[str, ...]:
        """The tensors that a user can give."""
        return (*(tensor.name for tensor in self.inputs), "dy")

    @property
    def gradient_names(self) -> tuple[str, ...]:
        """The gradients that this layer's backward gives."""
        return tuple("d" + tensor.name for tensor in self.inputs if tensor.differentiable)

    @abstractmethod
    def plan(self, request: Request) -> Plan:
        """Judge shapes and parameters alone; raise GeometryError naming the rule and numbers."""

    @abstractmethod
    def output(self, plan: Plan, tensors: Tensors) -> Array:
        """Return y alone; `tensors` holds every input of the plan."""

    def forward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return every output of the plan by its name, and beside them what backward can use."""
        return {"y": self.output(plan, tensors)}

    @abstractmethod
    def backward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return the gradients for upstream gradient `tensors["dy"]`.

        `tensors` holds every input of the plan, and may hold what forward returned for them.
        """

    def workspace_bytes(self, plan: Plan, itemsize: int, backward: bool) -> int:
        """Return an upper bound on the kernels' memory beyond inputs and outputs."""
        return 0

    def outputs_for(self, plan: Plan, tensors: Tensors, name: str, values: Array) -> Array:
        """Return y for each of `values` (M, *shape) of input `name`: (M, *y's shape).

        Layers override it where one pass of a larger tensor gives the same as M small ones.
        """
        import numpy as np

        return np.stack([self.output(plan, {**tensors, name: value}) for value in values])

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...] | None:
        """Return how each axis of input `name` meets the output; None where nothing is known."""
        return None

    def linear_in(self, plan: Plan, name: str) -> bool:
        """Tell whether y is linear (or affine) in input `name`, so that any step is exact."""
        return True

    def keeps_dtype(self, plan: Plan) -> bool:
        """Tell whether x's own dtype is kept, as by layers that only move values."""
        return False

    def judge_values(self, plan: Plan, tensors: Tensors) -> None:
        """Raise TensorError where a value, not a shape, makes the layer impossible."""
        return


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A layer, its plan and the arrays that it is about: what can be computed, judged and broken.

    `tensors` holds every input of the plan, dy where gradients are asked for and, where they are
    known, outputs and gradients; each has the shape that the plan gives it, NCHW.
    """

    layer: Layer
    plan: Plan
    tensors: Tensors

    def changed(self, **tensors: Array) -> Problem:
        """Return the problem with other arrays of these names."""
        return replace(self, tensors={**self.tensors, **tensors})
