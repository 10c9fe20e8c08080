"""Numeric gradients: how y moves when elements of an input do.

Elements that share no output are moved together (`Layer.sharing`), and each one's effect is read
off its own outputs. Whatever else moved is a leak: the layer does not depend on its input as it
says, and no gradient found this way can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from cnncli.floats import FLOAT64
from cnncli.layers.base import Array, Layer, Plan, Problem
from cnncli.layers.sharing import Link

COMPLEX_STEP = 1e-20
CURVED_STEP = 1e-4  # of the argument's own deviation: where truncation and rounding meet for bn
SEEN = 2.0**-20  # of a number's size: a step that leaves it 32 bits of a difference
ADDED = ("b", "beta")  # inputs that y takes as they are, whatever the size of the rest
CHUNK_BYTES = 4 << 20
LEAK_TRIALS = 8
Progress = Callable[[str, int, int], None]
"""Told the tensor, the evaluations made and those there will be."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How to differentiate: `central` or `complex-step`, and how far to step."""

    name: str
    step: float


@dataclass(frozen=True, kw_only=True)
class NumericGradient:
    """The numeric derivative of sum(dy*y) by every element of one input, and how it was found.

    Arrays have the input's shape and hold NaN where an element was not asked for. `terms` is the
    sum of the absolute terms of each, `rounding` a bound on the error that rounding leaves in it.
    """

    values: Array
    terms: Array
    rounding: Array
    method: Method
    evaluations: int
    leak: str | None = None
    """Which output moved that should not have."""


def choose_method(
    problem: Problem, name: str, asked: str, step: float | None, gap: float, y_size: float = 0.0
) -> Method:
    """Return the method asked for, `auto` being the most accurate one for this layer and input.

    `gap` bounds the step where y has kinks (max pooling): no winner changes within it. `y_size` is
    the largest |y|, where it is known.
    """
    layer, plan, values = problem.layer, problem.plan, problem.tensors[name]
    linear, kinked = layer.linear_in(plan, name), math.isfinite(gap) or _has_kinks(plan)
    if asked == "auto":
        asked = "central" if linear or kinked else "complex-step"
    with np.errstate(all="ignore"):
        largest = float(np.abs(values).max(initial=0.0))
        # Where y turns: bn's is straight within its sigma, sqrt(var + eps).
        bend = math.hypot(float(np.std(values)), math.sqrt(plan.params.get("eps", 0.0)))
    if asked == "complex-step":
        is_ordinary = linear or kinked or not 0 < bend < math.inf or 1e-50 < bend < 1e50
        chosen = COMPLEX_STEP * (1.0 if is_ordinary else _power(bend))
    elif kinked:
        chosen = min(max(1.0, SEEN * _power(largest)), gap)
    elif linear:
        # Exact whatever its size; the argument's size, and y's of what is added, keep y from
        # drowning it.
        chosen = max(1.0, _power(largest), SEEN * _power(y_size if name in ADDED else 0.0))
    else:
        deviation = float(np.std(values))
        chosen = CURVED_STEP * (deviation if deviation > 0 else 1.0)
    return Method(name=asked, step=step or chosen)


def _power(size: float) -> float:
    """Return the power of two at or above a size, 1 for none: far enough from overflow to add."""
    if not 0 < size < math.inf:
        return 1.0
    return 2.0 ** min(1000, math.ceil(math.log2(size)))


def _has_kinks(plan: Plan) -> bool:
    return plan.params.get("mode") == "max"


def numeric_gradient(
    problem: Problem,
    name: str,
    method: Method,
    *,
    elements: Sequence[int] | None = None,
    structure: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> NumericGradient:
    """Return d sum(dy*y) / d `name`, for all elements or some flat ones.

    The problem's tensors are float64 and hold every input and dy. The difference is taken of y,
    element by element, before it is weighed with dy and summed, so that no large sum cancels.
    Without `structure` every element is moved alone and all of y is looked at.
    """
    links = problem.layer.sharing(problem.plan, name) if structure else None
    if links is None:
        return _one_by_one(problem, name, method, elements, progress)
    shape, dy = problem.plan.inputs[name], problem.tensors["dy"]
    wanted = _wanted_groups(links, shape, elements)
    probe = _Probe(problem, name, method)
    size, found = math.prod(shape), np.zeros((3, math.prod(shape) + 1))
    leak, done = None, 0
    for groups in _chunks(wanted, max(size, dy.size), method):
        masks = _moved(links, groups)
        slope, noise = probe.slopes(masks)
        owner = _owners(links, groups, shape, dy.shape)
        leak = leak or _leak(slope, owner == size, probe.scale)
        flat = owner.reshape(-1)
        slope *= dy
        weighed = slope.reshape(-1)
        found[0] += np.bincount(flat, weighed, size + 1)
        found[1] += np.bincount(flat, np.abs(weighed), size + 1)
        if noise:
            sizes = np.broadcast_to(np.abs(dy) * noise, owner.shape).reshape(-1)
            found[2] += np.bincount(flat, sizes, size + 1)
        done += len(groups)
        if progress is not None:
            progress(name, done * probe.each, len(wanted) * probe.each)
    leak = leak or _try_halves(links, wanted, probe, shape, dy.shape, seed)
    values, terms, rounding = (row[:-1].reshape(shape) for row in found)
    values *= probe.correction()
    if elements is not None:
        outside = np.ones(size, bool)
        outside[np.asarray(elements, np.int64)] = False
        for array in (values, terms, rounding):
            array[outside.reshape(shape)] = np.nan
    return NumericGradient(
        values=values,
        terms=terms,
        rounding=rounding,
        method=method,
        evaluations=probe.evaluations,
        leak=leak,
    )


class _Probe:
    """Evaluates the layer with some elements of one input moved."""

    def __init__(
        self, problem: Problem, name: str, method: Method, *, plainly: bool = False
    ) -> None:
        layer, plan = problem.layer, problem.plan
        self.name, self.method = name, method
        # Plainly: a forward pass of the case's own shapes for every evaluation.
        self.outputs_for = (
            partial(Layer.outputs_for, layer, plan) if plainly else partial(layer.outputs_for, plan)
        )
        self.tensors = {key: array for key, array in problem.tensors.items() if key in plan.inputs}
        self.base = problem.tensors[name]
        self.evaluations = 0
        self.each = 1 if method.name == "complex-step" else 2
        self.moves_only = layer.keeps_dtype(plan)  # y's elements are x's own: differences are exact
        self.scale = 0.0  # of y's slope, to tell a leak from rounding

    def slopes(self, masks: Array) -> tuple[Array, float]:
        """Return y's slope where the elements in each mask (M, *S) move, and its noise: (M, *y)."""
        step, many = self.method.step, len(masks)
        self.evaluations += self.each * many
        if self.method.name == "complex-step":
            values = self.base + 1j * (step * masks)
            y = self.outputs_for(self.tensors, self.name, values)
            # What is not finite has no slope, though its imaginary part may be a number.
            slope, noise = np.where(np.isfinite(y.real), y.imag / step, np.nan), 0.0
        else:
            moved = step * masks
            values = np.empty((2 * many, *masks.shape[1:]))
            np.add(self.base, moved, out=values[:many])
            np.subtract(self.base, moved, out=values[many:])
            y = self.outputs_for(self.tensors, self.name, values)
            slope = y[:many] - y[many:]
            slope /= 2 * step
            largest = 0.0 if self.moves_only else float(np.abs(y).max(initial=0.0))
            noise = 4 * FLOAT64.eps * largest / step
        self.scale = max(self.scale, float(np.abs(slope).max(initial=0.0)))
        return slope, noise

    def correction(self) -> Array | float:
        """Return the step asked for over the one taken: base + step is rounded."""
        if self.method.name == "complex-step":
            return 1.0
        step = self.method.step
        taken = (self.base + step) - (self.base - step)
        with np.errstate(all="ignore"):
            return np.asarray(2 * step / taken)


def _one_by_one(
    problem: Problem,
    name: str,
    method: Method,
    elements: Sequence[int] | None,
    progress: Progress | None,
) -> NumericGradient:
    shape, dy = problem.plan.inputs[name], problem.tensors["dy"]
    probe = _Probe(problem, name, method, plainly=True)
    found = np.full((3, math.prod(shape)), np.nan)
    chosen = range(math.prod(shape)) if elements is None else elements
    for number, element in enumerate(chosen):
        mask = np.zeros((1, *shape))
        mask.reshape(-1)[element] = 1
        slope, noise = probe.slopes(mask)
        weighed = slope[0] * dy
        found[:, element] = weighed.sum(), np.abs(weighed).sum(), noise * np.abs(dy).sum()
        if progress is not None:
            progress(name, (number + 1) * probe.each, len(chosen) * probe.each)
    values, terms, rounding = (row.reshape(shape) for row in found)
    values *= probe.correction()
    return NumericGradient(
        values=values,
        terms=terms,
        rounding=rounding,
        method=method,
        evaluations=probe.evaluations,
    )


def _wanted_groups(
    links: tuple[Link, ...], shape: tuple[int, ...], elements: Sequence[int] | None
) -> Array:
    """Return the groups to move, one row of colours each: all, or those of some elements."""
    if elements is None:
        return np.array(list(product(*(range(link.colours) for link in links))), np.int64)
    places = np.unravel_index(np.asarray(elements, np.int64), shape)
    rows = [link.colour_of[place] for link, place in zip(links, places, strict=True)]
    return np.unique(np.stack(rows, axis=1), axis=0)


def _chunks(groups: Array, size: int, method: Method) -> Iterator[Array]:
    each = size * (16 if method.name == "complex-step" else 32)
    many = max(1, CHUNK_BYTES // max(1, each))
    for start in range(0, len(groups), many):
        yield groups[start : start + many]


def _moved(links: tuple[Link, ...], groups: Array) -> Array:
    """Return which elements each group moves: 0 or 1, (M, *S)."""
    rank, masks = len(links), np.ones((len(groups), *[1] * len(links)))
    for axis, link in enumerate(links):
        mine = link.colour_of[None] == groups[:, axis, None]
        masks = masks * mine.reshape(len(groups), *(-1 if a == axis else 1 for a in range(rank)))
    return masks


def _owners(
    links: tuple[Link, ...], groups: Array, shape: tuple[int, ...], output: tuple[int, ...]
) -> Array:
    """Return the flat element that each output depends on, the input's size for none: (M, *y)."""
    rank, many = len(output), len(groups)
    flat = np.zeros((many, *[1] * rank), np.int64)
    none = np.zeros((many, *[1] * rank), bool)
    for axis, link in enumerate(links):
        owner = link.owner[groups[:, axis]]  # (M, output size) or (M, 1)
        line = [many, *(-1 if a == link.output_axis else 1 for a in range(rank))]
        placed = owner.reshape(line)
        flat = flat + placed * math.prod(shape[axis + 1 :])
        none = none | (placed < 0)
    return np.broadcast_to(np.where(none, math.prod(shape), flat), (many, *output))


def _leak(slope: Array, nobody: Array, scale: float) -> str | None:
    """Return the first output that moved though nothing that it depends on did."""
    moved = nobody & (np.abs(slope) > 64 * FLOAT64.eps * scale)
    if not moved.any():
        return None
    place = np.unravel_index(int(moved.argmax()), moved.shape)[1:]
    index = ",".join(str(int(i)) for i in place)
    return f"y[{index}] moved, though no element that it should depend on did"


def _try_halves(
    links: tuple[Link, ...],
    groups: Array,
    probe: _Probe,
    shape: tuple[int, ...],
    output: tuple[int, ...],
    seed: int,
) -> str | None:
    """Move a random half of some groups: the outputs of the other half must stay.

    Where every output has an element that moves, nothing is outside and only this can see a leak.
    """
    stream = np.random.default_rng([seed, *b"halves"])
    some = groups[stream.permutation(len(groups))[:LEAK_TRIALS]]
    for chunk in _chunks(some, max(math.prod(shape), math.prod(output)), probe.method):
        masks = _moved(links, chunk)
        halves = masks * (stream.random(masks.shape) < 0.5)
        slope, _ = probe.slopes(halves)
        owner = _owners(links, chunk, shape, output)
        moving = np.concatenate([halves.reshape(len(chunk), -1), np.zeros((len(chunk), 1))], axis=1)
        still = np.take_along_axis(moving, owner.reshape(len(chunk), -1), axis=1) == 0
        leak = _leak(slope, still.reshape(slope.shape), probe.scale)
        if leak is not None:
            return leak
    return None


def along_random_direction(
    problem: Problem, name: str, method: Method, seed: int
) -> tuple[float, float]:
    """Return the derivative along a random direction, and the sum of its absolute terms.

    It tells, at one evaluation, whether the whole gradient is zero.
    """
    stream = np.random.default_rng([seed, *b"direction"])
    direction = stream.uniform(-1, 1, (1, *problem.plan.inputs[name]))
    slope, _ = _Probe(problem, name, method).slopes(direction)
    terms = slope[0] * problem.tensors["dy"]
    return float(terms.sum()), float(np.abs(terms).sum())
