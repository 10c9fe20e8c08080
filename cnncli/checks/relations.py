"""How two arrays that differ belong together all the same: axes exchanged, flipped, scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from cnncli.cases.sizes import shape_text
from cnncli.layers.base import Array

MAX_AXES = 5
SAMPLE = 64
LAYOUTS: dict[tuple[int, ...], str] = {
    (0, 2, 3, 1): ": A would be NHWC where B is NCHW",
    (0, 3, 1, 2): ": A would be NCHW where B is NHWC",
    (0, 1, 3, 2): ": H and W exchanged",
    (2, 3, 1, 0): ": filters as TensorFlow keeps them, (KH, KW, C, F)",
    (3, 2, 0, 1): ": B's filters are as TensorFlow keeps them, (KH, KW, C, F)",
}

Matches = Callable[[Array, Array], bool]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Something done to B that makes it A, within the tolerance."""

    kind: str
    """axes, flip, shape, factor or offset."""
    text: str


def find_relations(a: Array, b: Array, matches: Matches) -> list[Relation]:
    """Return what makes b (any shape) match a; nothing for constant arrays, which match anyhow.

    `matches` judges two arrays of one shape. Candidates are tried on a few elements first, so that
    a look at large arrays costs little more than one pass a true relation.
    """
    if b.size < 2 or a.size != b.size or a.ndim > MAX_AXES or b.ndim > MAX_AXES:
        return []
    if (b == b.reshape(-1)[0]).all():
        return []
    found = []
    for kind, text, candidate in _candidates(a, b):
        if _sample_matches(a, candidate, matches) and matches(a, candidate):
            found.append(Relation(kind=kind, text=text))
    return found


def _candidates(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    for order in permutations(range(b.ndim)):
        if order != tuple(range(b.ndim)) and b.transpose(order).shape == a.shape:
            text = f"A is B with its axes in the order {', '.join(map(str, order))}"
            text += LAYOUTS.get(order, "")
            yield "axes", text, b.transpose(order)
    if a.shape != b.shape:
        text = f"A holds B's numbers in the same order, as {shape_text(a.shape)}"
        yield "shape", text, b.reshape(a.shape)
        return
    long = [axis for axis, size in enumerate(b.shape) if size > 1]
    for count in range(1, len(long) + 1):
        for axes in combinations(long, count):
            plural = "axes" if count > 1 else "axis"
            text = f"A is B flipped along {plural} {', '.join(map(str, axes))}"
            yield "flip", text, np.flip(b, axes)
    with np.errstate(all="ignore"):
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        place = int(np.argmax(np.where(np.isfinite(wide_b), np.abs(wide_b), -1)))
        factor = wide_a.reshape(-1)[place] / wide_b.reshape(-1)[place]
        if np.isfinite(factor) and factor != 0:
            yield "factor", f"A is B times {factor:.6g}", wide_b * factor
        offset = wide_a.reshape(-1)[place] - wide_b.reshape(-1)[place]
        if np.isfinite(offset):
            yield "offset", f"A is B plus {offset:.6g}", wide_b + offset


def _sample_matches(a: Array, b: Array, matches: Matches) -> bool:
    """Judge some elements spread over both; `b` may be a view that nothing was copied for."""
    flat = np.linspace(0, a.size - 1, min(SAMPLE, a.size)).astype(np.int64)
    places = np.unravel_index(flat, a.shape)
    return matches(a[places], b[places])
