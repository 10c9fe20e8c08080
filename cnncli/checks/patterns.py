"""Where wrong elements sit: in some channels, at the border, in every second column.

Every finding is exact: it says "all are there", never "most"; so one stray error hides none of
the truth, it only makes the finding disappear.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from cnncli.layers.base import Array

AXES = {
    3: ("sample", "channel", "column"),
    4: ("sample", "channel", "row", "column"),
    5: ("sample", "channel", "layer", "row", "column"),
}
MAX_PERIOD = 8
MAX_CHECKER = 4


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One thing that is true of where all wrong elements are."""

    kind: str
    """everywhere, axis, period, border, inside or checkerboard."""
    text: str
    axis: int | None = None
    indices: list[int] | None = None
    """The indices of `axis` that hold wrong elements."""


def find_patterns(wrong: Array) -> list[Pattern]:
    """Return what is true of all places where `wrong`; nothing where none or one is."""
    count = int(wrong.sum())
    if not count or not wrong.ndim:
        return []
    if count == wrong.size:
        return [Pattern(kind="everywhere", text="every element is wrong")]
    found = [pattern for axis in range(wrong.ndim) if (pattern := _along(wrong, axis))]
    if wrong.ndim in AXES:
        found += _rings(wrong)
        found += _checkerboard(wrong)
    return found


def _along(wrong: Array, axis: int) -> Pattern | None:
    """Return which indices of one axis hold them all, where some hold none."""
    size = wrong.shape[axis]
    others = tuple(other for other in range(wrong.ndim) if other != axis)
    hits = [int(i) for i in np.flatnonzero(wrong.any(axis=others))]
    if len(hits) == size:
        return None
    word = AXES[wrong.ndim][axis] if wrong.ndim in AXES else f"axis {axis}, index"
    plural = word + "s" if wrong.ndim in AXES else f"axis {axis}, indices"
    for period in range(2, min(MAX_PERIOD, size // 2) + 1):
        if len(hits) > 1 and hits == list(range(hits[0] % period, size, period)):
            text = f"all in {plural} that leave {hits[0] % period} when divided by {period}"
            return Pattern(kind="period", text=text, axis=axis, indices=hits)
    if len(hits) == 1:
        last = " (the last)" if hits[0] == size - 1 else ""
        text = f"all in {word} {hits[0]}{last} of {size}"
    else:
        text = f"all in {plural} {_ranges(hits)} of {size}"
    return Pattern(kind="axis", text=text, axis=axis, indices=hits)


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers as `0, 2..4`, at most some of them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
    return ", ".join(texts) if len(texts) <= 8 else f"{', '.join(texts[:7])}, ..., {texts[-1]}"


def _rings(wrong: Array) -> list[Pattern]:
    """Return whether they all lie near the border of their planes, or all away from it."""
    spatial = wrong.shape[2:]
    distance = np.full(spatial, max(spatial))
    for axis, size in enumerate(spatial):
        steps = np.minimum(np.arange(size), np.arange(size)[::-1])
        line = [1] * len(spatial)
        line[axis] = size
        distance = np.minimum(distance, steps.reshape(line))
    where = wrong.any(axis=(0, 1))
    nearest, furthest = int(distance[where].min()), int(distance[where].max())
    deepest = int(distance.max())
    if furthest < deepest:
        rows = "the border" if furthest == 0 else f"the {furthest + 1} elements next to the border"
        return [Pattern(kind="border", text=f"all in {rows} of their planes")]
    if nearest > 0:
        return [Pattern(kind="inside", text=f"none within {nearest} of the border of a plane")]
    return []


def _checkerboard(wrong: Array) -> list[Pattern]:
    """Return the classes of positions, modulo a stride along every axis, that hold them all.

    Classes that are a product of one class an axis are a matter of the axes alone, and are told
    there.
    """
    spatial = wrong.shape[2:]
    if len(spatial) < 2:
        return []
    where = wrong.any(axis=(0, 1))
    places = np.argwhere(where)
    for stride in range(2, MAX_CHECKER + 1):
        if min(spatial) < 2 * stride:
            break
        classes = {tuple(int(i) for i in row) for row in np.unique(places % stride, axis=0)}
        separate = [sorted({one[axis] for one in classes}) for axis in range(len(spatial))]
        share = len(classes) / stride ** len(spatial)
        # At most half of all classes, and those at least half full: else chance would do.
        if share > 0.5 or len(places) < 0.5 * share * where.size:
            continue
        if len(classes) == len(list(product(*separate))):
            continue
        shown = ", ".join(str(one) for one in sorted(classes)[:6])
        text = f"a checkerboard: positions modulo {stride} are only {shown}"
        return [Pattern(kind="checkerboard", text=text)]
    return []
