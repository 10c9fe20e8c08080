"""`--explain`: which element is asked for, and its explanation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cnncli.cases.layout import outward, shape_inside, shape_outside
from cnncli.errors import UsageError
from cnncli.layers.base import Layer, Plan, Tensors, shape_text
from cnncli.layers.explain.parts import Element, Explanation, Factor, Region, Terms

FLAG = "--explain"
_INDEX = re.compile(r"-?[0-9]{1,18}(,-?[0-9]{1,18})*\Z")
_BRACKETED = re.compile(r"(\w*)\[([^]]*)\]\Z")


@dataclass(frozen=True)
class Target:
    """One element that is to be explained: an index as it is written or, once judged, NCHW."""

    tensor: str
    index: tuple[int, ...]


def read_target(text: str, layer: Layer) -> Target:
    """Return the element that `0,2,3,1` (of y) or `dx:0,1,4,4` names; raise UsageError.

    `dx[0,1,4,4]`, as every report writes an element, is taken too.
    """
    name, colon, index = text.rpartition(":")
    if bracketed := _BRACKETED.match(text):
        name, colon, index = bracketed[1], ":", bracketed[2]
    name = name if name and colon else "y"
    known = (*layer.outputs, *layer.gradient_names)
    if name not in known:
        what = f"{name} is given, not computed" if name in layer.source_names else f"not {name!r}"
        raise UsageError(f"an element of {', '.join(known)} can be explained; {what}", FLAG)
    index = index.replace(" ", "")
    if not _INDEX.match(index):
        raise UsageError(
            f"an element is a tensor and an index, such as 0,2,3,1 (of y) or {known[-1]}:0,1, "
            f"not {text!r}",
            FLAG,
        )
    return Target(name, tuple(int(part) for part in index.split(",")))


def wants_gradient(texts: Iterable[str], layer: Layer) -> bool:
    """Tell whether any of the elements is one of a gradient; raise UsageError."""
    return any(read_target(text, layer).tensor in layer.gradient_names for text in texts)


def judge_targets(
    texts: Sequence[str], layer: Layer, plan: Plan, *, backward: bool, layout: str
) -> list[Target]:
    """Return the elements, NCHW, negative indices counted from the end; raise UsageError.

    The texts have the order of `layout`. Judged from shapes alone, before anything is computed.
    """
    return [_judge(read_target(text, layer), plan, backward, layout) for text in texts]


def _judge(target: Target, plan: Plan, backward: bool, layout: str) -> Target:
    shapes = {**plan.outputs, **(plan.gradients if backward else {})}
    name, index = target.tensor, target.index
    if name not in shapes:
        off = name in plan.gradients
        reason = "backward is off" if off else "these parameters and tensors do not give it"
        raise UsageError(f"{name} is not computed: {reason}", FLAG)
    shape = shape_outside(layout, name, shapes[name])
    shown = ",".join(map(str, index))
    if len(index) != len(shape):
        raise UsageError(
            f"{shown} has {len(index)} indices, but {name} has {len(shape)} axes: "
            f"{shape_text(shape)}",
            FLAG,
        )
    for axis, (i, size) in enumerate(zip(index, shape, strict=True)):
        if not -size <= i < size:
            raise UsageError(
                f"index {i} is outside axis {axis} of {name}, which has {size}: "
                f"{shape_text(shape)}",
                FLAG,
            )
    counted = tuple(i % size for i, size in zip(index, shape, strict=True))
    return Target(name, shape_inside(layout, name, counted))


def explain_targets(
    targets: Sequence[Target], layer: Layer, plan: Plan, arrays: Tensors, layout: str
) -> list[Explanation]:
    """Return an explanation for each element, its indices in the order of `layout`."""
    if not targets:
        return []
    # Explainers compute with NumPy, which whoever only writes a result down does not need.
    from cnncli.layers.explain.table import EXPLAINERS

    explain = EXPLAINERS[layer.name]
    found = [explain(plan, arrays, target.tensor, target.index) for target in targets]
    return found if layout == "nchw" else [_outside(one, layout) for one in found]


def _outside(explanation: Explanation, layout: str) -> Explanation:
    """Return an explanation with all of its indices as the layout has them."""

    def of_element(element: Element | None) -> Element | None:
        if element is None:
            return None
        return replace(element, index=shape_outside(layout, element.name, element.index))

    def of_factor(factor: Factor) -> Factor:
        axes = outward(layout, factor.name, factor.indices.shape[1])
        return replace(factor, indices=factor.indices[:, axes])

    def of_terms(many: Iterable[Terms]) -> tuple[Terms, ...]:
        return tuple(replace(t, factors=tuple(map(of_factor, t.factors))) for t in many)

    def of_region(region: Region) -> Region:
        axes = outward(layout, region.name, len(region.ranges))
        return replace(region, ranges=tuple(region.ranges[axis] for axis in axes))

    return replace(
        explanation,
        index=shape_outside(layout, explanation.tensor, explanation.index),
        terms=of_terms(explanation.terms),
        reads=tuple(map(of_region, explanation.reads)),
        aside=of_terms(explanation.aside),
        winner=of_element(explanation.winner),
        runner_up=of_element(explanation.runner_up),
    )
