"""The textbook loop nests: every layer written down as its definition, one element at a time.

Nothing is shared with the kernels, and no arithmetic is NumPy's. Slow, so cases are bounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats, one_by_one
from cnncli.layers.base import Plan, Shape, Tensors

MOST_STEPS = 30_000_000
"""About half a minute of loops; the kernels are there for more."""

Index = tuple[int, ...]
Grid = dict[Index, float]


class Loops:
    """Python loops over Python floats (which are float64)."""

    by_call = False

    @property
    def label(self) -> str:
        """Its name; it has no version of its own."""
        return "loops"

    @property
    def key(self) -> str:
        """Its version."""
        return self.label

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task."""
        return one_by_one(self._compute, tasks)

    def _compute(self, task: Task) -> Computed:
        """Return outputs and gradients; raise CannotExpressError where loops would take too long.

        Everything is float64, however the case computes; what is stored keeps its own precision.
        """
        steps = _steps(task.problem.plan)
        if steps > MOST_STEPS:
            raise CannotExpressError(
                f"{steps:,} steps of a Python loop would take minutes; at most {MOST_STEPS:,} run"
            )
        floats, dtype = as_floats(task)
        grids = {name: _grid(array) for name, array in floats.items()}
        shapes = task.problem.plan.outputs | (task.problem.plan.gradients if task.backward else {})
        found = {name: dict.fromkeys(_all(shape), 0.0) for name, shape in shapes.items()}
        _LOOPS[task.problem.layer.name](task.problem.plan, grids, found)
        arrays: Tensors = {}
        for name, shape in shapes.items():
            kind = np.int64 if name == "indices" else np.float64
            arrays[name] = np.array([found[name][at] for at in _all(shape)], kind).reshape(shape)
        return Computed(tensors=arrays, stored=dtype)


def _steps(plan: Plan) -> int:
    """Return about how many times the innermost loop runs."""
    window: Shape = plan.params.get("kernel", ())
    image = plan.upstream
    if plan.layer == "conv":
        window = plan.inputs["w"][1:]
        image = plan.inputs["x"] if plan.params["transposed"] else image
    return math.prod(image) * math.prod(window)


def _all(shape: Shape) -> Iterator[Index]:
    return itertools.product(*map(range, shape))


def _grid(array: Any) -> Grid:
    return dict(zip(_all(array.shape), map(float, array.ravel().tolist()), strict=True))


def _conv(plan: Plan, given: dict[str, Grid], found: dict[str, Grid]) -> None:
    """y[n,f,o] = b[f] + sum over c, k of x[n,c,o*s+k*d-p] w[f,c,k], and each term's derivatives.

    Transposed, x and y change places: y[n,f,i*s+k*d-p] gets x[n,c,i] w[c,f,k].
    """
    params = plan.params
    transposed = params["transposed"]
    images = plan.upstream[0]
    # `wide` is the side that windows slide over, `narrow` the side with one number a window.
    narrow, wide = plan.upstream, plan.inputs["x"]
    if transposed:
        narrow, wide = wide, narrow
    x, w, y = given["x"], given["w"], found["y"]
    dy = given.get("dy", {})
    rows, columns = plan.inputs["w"][:2]
    group = rows // params["groups"]
    for at in y:
        y[at] = given["b"][at[1],] if "b" in given else 0.0
        if "db" in found:
            found["db"][at[1],] += dy[at]
    for n, row, column in itertools.product(range(images), range(rows), range(columns)):
        other = row // group * columns + column
        for o in _all(narrow[2:]):
            for k in _all(plan.inputs["w"][2:]):
                place = _reads(params, o, k)
                if not _inside(place, wide[2:]):
                    continue
                small, large, tap = (n, row, *o), (n, other, *place), (row, column, *k)
                source, target = (small, large) if transposed else (large, small)
                y[target] += x[source] * w[tap]
                if "dx" in found:
                    found["dx"][source] += dy[target] * w[tap]
                    found["dw"][tap] += dy[target] * x[source]


def _reads(params: dict[str, Any], o: Index, k: Index) -> Index:
    """Return the place that offset k of window o reads."""
    axes = zip(o, k, params["stride"], params["dilation"], params["padding"], strict=True)
    return tuple(i * s + j * d - before for i, j, s, d, (before, _) in axes)


def _inside(place: Index, sizes: Shape) -> bool:
    return all(0 <= i < size for i, size in zip(place, sizes, strict=True))


def _pool(plan: Plan, given: dict[str, Grid], found: dict[str, Grid]) -> None:
    """Take the first maximum of each window in row-major order, or its mean."""
    params = plan.params
    x, dy = given["x"], given.get("dy", {})
    for at in _all(plan.upstream):
        n, c, *o = at
        places = [_reads(params, tuple(o), k) for k in _all(params["kernel"])]
        real = [(n, c, *place) for place in places if _inside(place, plan.spatial)]
        if params["mode"] == "max":
            winner = real[0]
            for place in real[1:]:
                if x[place] > x[winner] or (math.isnan(x[place]) and not math.isnan(x[winner])):
                    winner = place
            found["y"][at] = x[winner]
            flat = 0
            for i, size in zip(winner[2:], plan.spatial, strict=True):
                flat = flat * size + i
            found["indices"][at] = flat
            shares = {winner: 1.0}
        else:
            count = len(real)
            if params["count_include_pad"]:
                count = sum(_is_counted(place, plan) for place in places)
            found["y"][at] = sum(x[place] for place in real) / count
            shares = dict.fromkeys(real, 1.0 / count)
        if "dx" in found:
            for place, share in shares.items():
                found["dx"][place] += dy[at] * share


def _is_counted(place: Index, plan: Plan) -> bool:
    """Tell whether a place is real or padding, and not beyond both (the overhang of ceil mode)."""
    axes = zip(place, plan.spatial, plan.params["padding"], strict=True)
    return all(-before <= i < size + after for i, size, (before, after) in axes)


def _batch_norm(plan: Plan, given: dict[str, Grid], found: dict[str, Grid]) -> None:
    """Normalise a channel at a time; backward one operation of the graph after another."""
    params, x = plan.params, given["x"]
    for c in range(plan.inputs["x"][1]):
        places = [at for at in x if at[1] == c]
        m = len(places)
        if params["training"]:
            mean = math.fsum(x[at] for at in places) / m
            var = math.fsum((x[at] - mean) ** 2 for at in places) / m
        else:
            mean, var = given["running_mean"][c,], given["running_var"][c,]
        sigma = math.sqrt(var + params["eps"])
        gamma, beta = given["gamma"][c,], given["beta"][c,]
        for at in places:
            found["y"][at] = gamma * _ratio(x[at] - mean, sigma) + beta
        if "momentum" in params:
            new = params["momentum"]
            if params["momentum_weighs"] == "old":
                new = 1 - new
            fresh = var * m / (m - 1) if params["running_variance"] == "unbiased" else var
            for name, value in (("running_mean", mean), ("running_var", fresh)):
                found[f"new_{name}"][c,] = (1 - new) * given[name][c,] + new * value
        if "dx" not in found:
            continue
        dy = given["dy"]
        hat = {at: _ratio(x[at] - mean, sigma) for at in places}
        found["dgamma"][c,] = math.fsum(dy[at] * hat[at] for at in places)
        found["dbeta"][c,] = math.fsum(dy[at] for at in places)
        dhat = {at: dy[at] * gamma for at in places}
        for at in places:
            found["dx"][at] = _ratio(dhat[at], sigma)
        if params["training"]:
            dvar = -0.5 * _ratio(math.fsum(dhat[at] * hat[at] for at in places), sigma**2)
            dmean = -_ratio(math.fsum(dhat.values()), sigma)
            for at in places:
                found["dx"][at] += dvar * 2 * (x[at] - mean) / m + dmean / m


def _ratio(value: float, by: float) -> float:
    """Divide as arrays do: by zero gives NaN or an infinity, not an exception."""
    if by:
        return value / by
    return math.nan if value == 0 or math.isnan(value) else math.copysign(math.inf, value)


def _pad(plan: Plan, given: dict[str, Grid], found: dict[str, Grid]) -> None:
    """Look up where every element of y comes from, an axis at a time."""
    params, dy = plan.params, given.get("dy", {})
    for at in _all(plan.upstream):
        place = [
            _source(i, size, pair, params["mode"])
            for i, size, pair in zip(at[2:], plan.spatial, params["padding"], strict=True)
        ]
        if any(i is None for i in place):
            found["y"][at] = params["value"]
            continue
        source = (*at[:2], *(i for i in place if i is not None))
        found["y"][at] = given["x"][source]
        if "dx" in found:
            found["dx"][source] += dy[at]


def _source(i: int, size: int, pair: tuple[int, int], mode: str) -> int | None:
    """Return the row of x that row i of y shows; None for the constant."""
    first, last = max(0, -pair[0]), size - 1 - max(0, -pair[1])
    i -= pair[0]
    if first <= i <= last:
        return i
    if mode == "constant":
        return None
    if mode == "replicate":
        return first if i < first else last
    if mode == "circular":
        return first + (i - first) % (last - first + 1)
    mirror = 2 * first - i if i < first else 2 * last - i
    if mode == "reflect":
        return mirror
    return mirror - 1 if i < first else mirror + 1


_LOOPS: dict[str, Callable[[Plan, dict[str, Grid], dict[str, Grid]], None]] = {
    "pad": _pad,
    "conv": _conv,
    "pool": _pool,
    "bn": _batch_norm,
}
