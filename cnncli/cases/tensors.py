"""A case's tensors: shapes and sizes judged first, then read, drawn and cast."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import Case
from cnncli.cases.draws import Streams, make_values
from cnncli.cases.layout import inward, shape_inside, shape_outside, to_inside
from cnncli.cases.sources import (
    FileSource,
    Random,
    Source,
    Values,
    flag_of,
    refuse_shared_standard_input,
)
from cnncli.errors import CnncliError, GeometryError
from cnncli.layers.base import Plan, Request, Shape, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnncli.cases.files import StoredTensor

UPSTREAM = "dy"


@dataclass(frozen=True, kw_only=True)
class Made:
    """One tensor, ready to compute with, and what it was before."""

    array: NDArray[Any]
    source: str
    stored: str
    """The type it was stored in, which tells how precise it is."""


@dataclass(kw_only=True)
class Ingredients:
    """What a case's tensors will be made of: every source judged, no data read."""

    case: Case
    shapes: dict[str, Shape]
    """Every shape that is known without the layer's rule."""
    opened: dict[str, StoredTensor] = field(default_factory=dict)
    references: dict[Source, StoredTensor] = field(default_factory=dict)
    """What the assertions compare with, where it is a file."""

    def close(self) -> None:
        """Let go of what was not loaded."""
        for tensor in (*self.opened.values(), *self.references.values()):
            tensor.close()


@contextlib.contextmanager
def open_ingredients(case: Case) -> Iterator[Ingredients]:
    """Judge a case's sources by their headers; raise TensorError naming tensor and place."""
    references = [
        (f"expected {name}", assertion.source)
        for name, assertions in case.expect.items()
        for assertion in assertions
        if assertion.source is not None
    ]
    named: dict[str, Source] = dict(case.sources)
    for name, source in references:
        named[f"{name} again" if name in named else name] = source
    refuse_shared_standard_input(named)
    ingredients = Ingredients(case=case, shapes={})
    try:
        for name, source in case.sources.items():
            with naming(name, source):
                shape: Shape | None
                if isinstance(source, FileSource):
                    ingredients.opened[name] = _open(source)
                    shape = ingredients.opened[name].stored.shape
                else:
                    shape = _shape_of(source)
                if shape is not None:
                    layout = case.settings.layout
                    ingredients.shapes[name] = shape_inside(layout, name, shape)
        for name, source in references:
            if isinstance(source, FileSource):
                with naming(name, source):
                    ingredients.references[source] = _open(source)
        yield ingredients
    finally:
        ingredients.close()


def _open(source: FileSource) -> StoredTensor:
    from cnncli.cases.files import StoredTensor

    return StoredTensor(source)


@contextlib.contextmanager
def naming(name: str, source: Source) -> Iterator[None]:
    """Say in every error which tensor it is about, and where its source was written."""
    try:
        yield
    except CnncliError as error:
        if error.where and error.where != source.where:
            error.message = f"{error.where}: {error.message}"
        if source.where != flag_of(name):
            error.message = f"{name}: {error.message}"
        error.where = source.where
        raise


def _shape_of(source: Source) -> Shape | None:
    if isinstance(source, Random):
        return source.zero_extend or source.shape
    assert isinstance(source, Values)
    return source.zero_extend or source.shape


def plan_for(case: Case, shapes: Mapping[str, Shape]) -> Plan:
    """Return the layer's plan for shapes NCHW; raise GeometryError, with a hint where NHWC fits."""
    try:
        return case.layer.plan(request_for(case, shapes))
    except GeometryError as error:
        if case.settings.layout == "nchw":
            error.message += _layout_hint(case, shapes)
        raise


def _layout_hint(case: Case, shapes: Mapping[str, Shape]) -> str:
    """Say which shapes fit, read as channels-last: all, or x without w; nothing where none do.

    Where both fit, the likelier is first and each is told with the kernel that it would mean:
    kernels are mostly square, and small.
    """
    found: list[tuple[Plan, str]] = []
    whole = _fit_as_nhwc(case, shapes, shapes)
    if whole is not None:
        changed, plan = whole
        shown = ", ".join(f"{name} {shape_text(shape)}" for name, shape in changed.items())
        found.append((plan, f"with --layout nhwc these shapes fit: {shown} as NCHW"))
    if "w" in shapes:
        alone = _fit_as_nhwc(case, shapes, ("x",)) or _fit_as_nhwc(case, shapes, ("x", UPSTREAM))
        if alone is not None:
            changed, plan = alone
            move = ", ".join(map(str, inward("nhwc", "x", len(shapes["x"]))))
            moved = f"x.transpose({move})" + (" and the same of dy" if UPSTREAM in changed else "")
            shown = ", ".join(f"{name} {shape_text(shape)}" for name, shape in changed.items())
            found.append((plan, f"with {moved} w fits as it is: {shown}"))
    if len(found) < 2:
        return "".join(f"; {text}" for _, text in found)
    found.sort(key=lambda one: _oddity(one[0].inputs["w"][2:]))
    kernels = [shape_text(plan.inputs["w"][2:]) for plan, _ in found]
    texts = [f"{text} (kernel {k})" for (_, text), k in zip(found, kernels, strict=True)]
    return "; " + "; or ".join(texts)


def _oddity(kernel: Shape) -> tuple[float, int]:
    return max(kernel) / min(kernel), max(kernel)


def _fit_as_nhwc(
    case: Case, shapes: Mapping[str, Shape], names: Iterable[str]
) -> tuple[dict[str, Shape], Plan] | None:
    """Return which of `names` change, read as channels-last, and the plan; None without one."""
    turned = {name: shape_inside("nhwc", name, shapes[name]) for name in names if name in shapes}
    changed = {name: shape for name, shape in turned.items() if shape != shapes[name]}
    if not changed:
        return None
    try:
        return changed, case.layer.plan(request_for(case, {**shapes, **changed}))
    except CnncliError:
        return None


def request_for(case: Case, shapes: Mapping[str, Shape]) -> Request:
    """Return what the layer's shape rule judges."""
    places = {name: source.where for name, source in case.sources.items()}
    return Request(
        params=case.params,
        given=case.given,
        tensors=places,
        shapes=shapes,
        convention=case.settings.convention,
        layer=case.layer.name,
        outside=partial(shape_outside, case.settings.layout),
    )


def make_tensors(ingredients: Ingredients, plan: Plan, *, backward: bool) -> dict[str, Made]:
    """Return every input of the plan and, with `backward`, dy: read, drawn or filled in.

    Drawn in the order written, then those left out. Raises TensorError naming the tensor.
    """
    case = ingredients.case
    streams = Streams(case.settings.rng, case.settings.seed)
    shapes = dict(plan.inputs) | ({UPSTREAM: plan.upstream} if backward else {})
    layout = case.settings.layout
    outside = {name: shape_outside(layout, name, shape) for name, shape in shapes.items()}
    made: dict[str, Made] = {}
    for name, source in case.sources.items():
        if name in shapes:
            with naming(name, source):
                made[name] = _make(name, source, outside[name], ingredients, streams)
    for name, shape in outside.items():
        if name not in made:
            made[name] = _fill_in(name, shape, case, streams)
    keeps = case.layer.keeps_dtype(plan)
    return {name: _cast(made[name], name, case, keep=keeps and name == "x") for name in shapes}


def _make(
    name: str, source: Source, shape: Shape, ingredients: Ingredients, streams: Streams
) -> Made:
    if isinstance(source, Random):
        return Made(array=streams.draw(name, source, shape), source=source.text, stored="float64")
    if isinstance(source, Values):
        return Made(array=make_values(source), source=source.text, stored=source.dtype)
    opened = ingredients.opened[name]
    return Made(array=opened.load(), source=source.text, stored=opened.stored.dtype)


def _fill_in(name: str, shape: Shape, case: Case, streams: Streams) -> Made:
    if name == UPSTREAM:
        kind = "normal"
    else:
        kind = {tensor.name: tensor.left_out for tensor in case.layer.inputs}[name]
    source = Random(kind=kind, shape=shape, where="left out")
    return Made(
        array=streams.draw(name, source, shape), source=f"{kind} (default)", stored="float64"
    )


def _cast(made: Made, name: str, case: Case, *, keep: bool) -> Made:
    """Return the tensor as NCHW, in the precision of the computation."""
    dtype = case.settings.dtype
    array = to_inside(case.settings.layout, name, made.array)
    if dtype is not None or not keep:
        array = array.astype(dtype or "float64", copy=False)
    return Made(array=array, source=made.source, stored=made.stored)


def load_reference(
    ingredients: Ingredients, source: Source, name: str, shape: Shape
) -> tuple[NDArray[Any], str]:
    """Return the array that tensor `name`, of `shape`, is compared with, and its stored type."""
    with naming(f"expected {name}", source):
        if isinstance(source, Random):
            settings = ingredients.case.settings
            streams = Streams(settings.rng, settings.seed)
            made = source.zero_extend or source.shape or shape
            return streams.draw(name, source, made), "float64"
        if isinstance(source, Values):
            return make_values(source), "float64"
        opened = ingredients.references[source]
        return opened.load(), opened.stored.dtype


def needed_bytes(ingredients: Ingredients, plan: Plan, *, backward: bool) -> int:
    """Return a bound on the memory that a case takes: tensors, casts, results and workspace."""
    case = ingredients.case
    itemsize = 4 if case.settings.dtype == "float32" else 8
    shapes = dict(plan.inputs) | ({UPSTREAM: plan.upstream} if backward else {})
    loading = [tensor.stored.held_bytes for tensor in ingredients.opened.values()]
    # Drawn in float64, with a transient copy of the largest.
    drawn = [
        8 * math.prod(shape) for name, shape in shapes.items() if name not in ingredients.opened
    ]
    kept = itemsize * sum(math.prod(shape) for shape in shapes.values())
    results = 8 * sum(math.prod(shape) for shape in plan.outputs.values())
    if backward:
        results += itemsize * sum(math.prod(shape) for shape in plan.gradients.values())
    workspace = case.layer.workspace_bytes(plan, itemsize, backward)
    # A comparison holds a few float64 arrays of the size of what it compares.
    shapes_compared = [r.stored.shape for r in ingredients.references.values()]
    for assertion in (a for assertions in case.expect.values() for a in assertions):
        if isinstance(assertion.source, Random | Values):
            shapes_compared.append(_shape_of(assertion.source) or ())
    compared = [6 * 8 * math.prod(shape) for shape in shapes_compared]
    held = [reference.stored.held_bytes for reference in ingredients.references.values()]
    workspace += max(compared, default=0) + max(held, default=0)
    return sum(loading) + kept + 2 * max(drawn, default=0) + sum(drawn) + results + workspace
