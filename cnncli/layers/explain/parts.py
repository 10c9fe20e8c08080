"""What an explanation is made of.

The terms are found one element at a time from the definition of the layer, never by way of the
kernels, so that an explanation that adds up is evidence for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnncli.layers.base import Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Index = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of a tensor, or with an empty index a number that has a name."""

    name: str
    index: Index
    value: float

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        if not self.index:
            return {"name": self.name, "value": self.value}
        return {"tensor": self.name, "index": list(self.index), "value": self.value}


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One factor of every term: T elements of a tensor, or one named number T times."""

    name: str
    indices: NDArray[Any]
    """(T, axes of the tensor)."""
    values: NDArray[Any]
    """(T,), float64."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """T products of the same kind."""

    label: str
    factors: tuple[Factor, ...]

    @property
    def products(self) -> NDArray[Any]:
        """The products (T,), in float64."""
        import numpy as np

        product = np.ones(len(self.factors[0].values))
        with np.errstate(all="ignore"):
            for factor in self.factors:
                product = product * factor.values
        return product

    def __len__(self) -> int:
        return len(self.factors[0].values)

    def row(self, number: int) -> Iterator[Element]:
        """Yield the factors of one product."""
        for factor in self.factors:
            index = tuple(int(i) for i in factor.indices[number])
            yield Element(name=factor.name, index=index, value=float(factor.values[number]))

    def record(self) -> dict[str, Any]:
        """Return them as plain data, every product with its factors."""
        products = self.products
        return {
            "label": self.label,
            "products": [
                {
                    "factors": [one.record() for one in self.row(number)],
                    "product": float(products[number]),
                }
                for number in range(len(self))
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where an element's terms are read: a range of each axis, (start, stop, step)."""

    name: str
    ranges: tuple[tuple[int, int, int], ...]

    def record(self) -> dict[str, Any]:
        """Return it as plain data, ranges as Python's slices are written."""
        ranges = [
            f"{start}:{stop}" if step == 1 else f"{start}:{stop}:{step}"
            for start, stop, step in self.ranges
        ]
        return {"tensor": self.name, "ranges": ranges}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One element of one tensor: the element is the sum of the products of all `terms`."""

    tensor: str
    index: Index
    element: float
    formula: str
    terms: tuple[Terms, ...]
    reads: tuple[Region, ...] = ()
    padding: int = 0
    """Positions of its window that fall on padding, over all channels."""
    aside: tuple[Terms, ...] = ()
    """What is no part of the sum, but belongs to the picture: candidates that lost."""
    facts: dict[str, float] = field(default_factory=dict)
    winner: Element | None = None
    runner_up: Element | None = None
    note: str | None = None

    @property
    def sum(self) -> float:
        """The sum of all products, rounded once (Shewchuk 1997); NaN or infinite as floats are."""
        import numpy as np

        values = np.concatenate([terms.products for terms in self.terms] or [np.zeros(0)])
        if not np.isfinite(values).all():
            with np.errstate(all="ignore"):
                return float(values.sum())
        try:
            return math.fsum(values.tolist())
        except OverflowError:
            return float("inf")

    def record(self) -> dict[str, Any]:
        """Return it as plain data, every product in it; a key that is empty is absent."""
        data = {
            "tensor": self.tensor,
            "index": list(self.index),
            "element": self.element,
            "formula": self.formula,
            "reads": [one.record() for one in self.reads],
            "padding": self.padding,
            "facts": self.facts,
            "winner": None if self.winner is None else self.winner.record(),
            "runner_up": None if self.runner_up is None else self.runner_up.record(),
            "terms": [terms.record() for terms in self.terms],
            "aside": [terms.record() for terms in self.aside],
            "sum": self.sum,
            "note": self.note,
        }
        empty: tuple[Any, ...] = (None, {}, [])
        return {key: value for key, value in data.items() if value not in empty}


def grid(
    ranges: Sequence[Sequence[int]], pairs: Sequence[Sequence[tuple[int, int]]] = ()
) -> NDArray[Any]:
    """Return every combination of one item of each axis, int64 (columns, T).

    An axis of `ranges` gives one column, an axis of `pairs`, such as [(k, i), ...], two.
    """
    import numpy as np

    axes = [np.array(axis, np.int64).reshape(len(axis), 1) for axis in ranges]
    axes += [np.array(axis, np.int64).reshape(len(axis), 2) for axis in pairs]
    places = np.indices([len(axis) for axis in axes]).reshape(len(axes), -1)
    return np.concatenate([axis[place].T for axis, place in zip(axes, places, strict=True)])


def take(name: str, tensors: Tensors, columns: Sequence[Any], count: int) -> Factor:
    """Return elements of a tensor as a factor: a column of indices an axis, or one number."""
    import numpy as np

    indices = np.stack([np.broadcast_to(np.asarray(column), (count,)) for column in columns], 1)
    values = tensors[name][tuple(indices.T)].astype(np.float64)
    return Factor(name=name, indices=indices, values=values)


def number(name: str, value: Any, count: int = 1) -> Factor:
    """Return a named number (or one for each term) as a factor."""
    import numpy as np

    values = np.broadcast_to(np.asarray(value, np.float64), (count,))
    return Factor(name=name, indices=np.zeros((count, 0), np.int64), values=values)


def region(factor: Factor) -> Region | None:
    """Return the least box, with steps, that holds a factor's elements; None without any."""
    import numpy as np

    if not len(factor.values):
        return None
    ranges = []
    for column in factor.indices.T:
        values = np.unique(column)
        steps = np.unique(np.diff(values))
        step = int(np.gcd.reduce(steps)) if len(steps) else 1
        ranges.append((int(values[0]), int(values[-1]) + 1, step))
    return Region(name=factor.name, ranges=tuple(ranges))


def regions(*factors: Factor) -> tuple[Region, ...]:
    """Return the regions of factors that have any element."""
    return tuple(found for factor in factors if (found := region(factor)) is not None)
