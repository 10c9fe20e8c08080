"""Numbers written out in a config, `[[1, 2], [3, 4]]`, as one rectangular tensor."""

from __future__ import annotations

from cnncli.cases.node import Node
from cnncli.cases.sizes import MAX_AXES, Shape
from cnncli.cases.sourcetypes import Values
from cnncli.errors import ConfigError

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""What our own JSON writes for these, so that values copied from a result read back."""


def read_values(node: Node, where: str, zero_extend: Shape | None = None) -> Values:
    """Return nested lists of numbers as a source.

    Whole numbers alone make int64, anything else float64. Raises ConfigError, at the place of the
    first value that does not fit: text, a truth value, a list of another length than its siblings.
    """
    numbers: list[int | float] = []
    shape: list[int] = []
    leaves: list[Node] = []
    _collect(node, 0, shape, leaves)
    for leaf in leaves:
        numbers.append(_number(leaf))
    if all(isinstance(number, int) for number in numbers):
        for number, leaf in zip(numbers, leaves, strict=True):
            if not -(2**63) <= number < 2**63:
                raise leaf.fail(f"{leaf.kind()} does not fit int64; write it with a decimal point")
        return Values(
            where=where,
            zero_extend=zero_extend,
            numbers=tuple(numbers),
            shape=tuple(shape),
            dtype="int64",
        )
    return Values(
        where=where,
        zero_extend=zero_extend,
        numbers=tuple(_float(n, leaf) for n, leaf in zip(numbers, leaves, strict=True)),
        shape=tuple(shape),
        dtype="float64",
    )


def _collect(node: Node, axis: int, shape: list[int], leaves: list[Node]) -> None:
    """Append the numbers below `node`, which stands on `axis`; `shape` grows on the first way down.

    `leaves` is empty until the first way down has ended, so it tells that way from the others.
    """
    if not isinstance(node.value, list):
        if axis != len(shape):
            raise node.fail(
                f"values must be rectangular: here is {node.kind()} where a list of "
                f"{shape[axis]} stands before it"
            )
        leaves.append(node)
        return
    if not node.value:
        raise node.fail("values must hold a number in every list, but this one is empty")
    if not leaves and axis == len(shape):
        if axis == MAX_AXES:
            raise node.fail(f"values may be nested at most {MAX_AXES} deep")
        shape.append(len(node.value))
    elif axis >= len(shape):
        raise node.fail("values must be rectangular: here is a list where a number stands before")
    elif len(node.value) != shape[axis]:
        raise node.fail(
            f"values must be rectangular: this list has {len(node.value)} items, "
            f"the one before it {shape[axis]}"
        )
    for item in node.value:
        _collect(item, axis + 1, shape, leaves)


def _number(leaf: Node) -> int | float:
    value = leaf.value
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise leaf.fail(f"values must be numbers, not {leaf.kind()}")
    return value


def _float(value: int | float, leaf: Node) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{leaf.kind()} does not fit float64", leaf.where) from None
