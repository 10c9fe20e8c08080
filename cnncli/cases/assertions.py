"""The assertions of `expect`: what a config or `--expect` says a tensor must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from cnncli.cases.node import Node, refuse_unknown
from cnncli.cases.sources import Source, parse_source
from cnncli.numerals import number_of

Index: TypeAlias = tuple[int | slice, ...]

STATISTICS = ("sum", "mean", "std", "min", "max")
CHANNEL_STATISTICS = ("channel_mean", "channel_std")
KINDS = ("shape", "npy", "values", "at", *STATISTICS, *CHANNEL_STATISTICS, "sum_squared_error")
TOLERANCES = ("rtol", "atol", "equal_nan", "tolerance")

_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far from expected is still right; None leaves it to the stored types."""

    rtol: float | None = None
    atol: float | None = None
    equal_nan: bool | None = None
    derived: bool = False
    """Each element's own rounding bound, in place of rtol and atol."""

    def over(self, other: Tolerance) -> Tolerance:
        """Return this tolerance, with `other` where this says nothing."""
        return Tolerance(
            rtol=other.rtol if self.rtol is None else self.rtol,
            atol=other.atol if self.atol is None else self.atol,
            equal_nan=other.equal_nan if self.equal_nan is None else self.equal_nan,
            derived=self.derived or (other.derived and self.rtol is None and self.atol is None),
        )


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """One thing that must hold of one tensor; which fields are set depends on `kind`."""

    kind: str
    where: str
    tolerance: Tolerance = Tolerance()
    shape: tuple[int, ...] = ()
    source: Source | None = None
    index: Index = ()
    number: float = 0.0
    """The statistic's value, or what the sum of squared errors must stay below."""

    @property
    def is_whole(self) -> bool:
        """Tell whether it gives the whole tensor, every element of it."""
        return self.kind in ("npy", "values") and not self.index


def parse_expectations(node: Node, tensor: str) -> list[Assertion]:
    """Return what `expect` says of one tensor: a mapping of assertions or a list of those."""
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        raise node.fail(f"expect of {tensor} is an empty list, which checks nothing")
    return [found for item in items for found in _parse_mapping(item, tensor)]


def parse_index(node: Node) -> Index:
    """Return the index that `at` writes: whole numbers and "start:stop" texts."""
    return tuple(_parse_step(item) for item in node.sequence("at"))


def _parse_step(item: Node) -> int | slice:
    if isinstance(item.value, int) and not isinstance(item.value, bool):
        return item.value
    match = _SLICE.match(item.value) if isinstance(item.value, str) else None
    if match is None:
        raise item.fail(f'at takes whole numbers and "start:stop", not {item.kind()}')
    start, stop = (None if part is None else int(part) for part in match.groups())
    return slice(start, stop)


def _parse_mapping(node: Node, tensor: str) -> list[Assertion]:
    entries = node.mapping(f"an expectation of {tensor}")
    refuse_unknown(entries, (*KINDS, *TOLERANCES), f"the expectation of {tensor}")
    tolerance = parse_tolerance(entries)
    kinds = [key for key in entries if key not in TOLERANCES]
    if "at" in kinds:
        if "values" not in kinds:
            raise entries["at"].fail("at goes with values: what stands there")
        kinds.remove("at")
    if not kinds:
        raise node.fail(f"this expectation of {tensor} checks nothing; known: {', '.join(KINDS)}")
    found = [_parse_one(kind, entries, tensor, tolerance) for kind in kinds]
    if tolerance.derived and not all(one.is_whole for one in found):
        raise entries["tolerance"].fail(
            "tolerance derived is for a whole tensor: npy, or values without at"
        )
    return found


def parse_tolerance(entries: dict[str, Node]) -> Tolerance:
    """Return the tolerance that a mapping's rtol, atol, equal_nan and tolerance give."""
    derived = "tolerance" in entries
    if derived:
        _judge_derived(entries["tolerance"])
        for key in ("rtol", "atol"):
            if key in entries:
                raise entries[key].fail(f"{key} does not apply beside tolerance derived")
    return Tolerance(
        rtol=entries["rtol"].number("rtol", 0.0, finite=True) if "rtol" in entries else None,
        atol=entries["atol"].number("atol", 0.0, finite=True) if "atol" in entries else None,
        equal_nan=entries["equal_nan"].boolean("equal_nan") if "equal_nan" in entries else None,
        derived=derived,
    )


def _judge_derived(node: Node) -> None:
    number = number_of(str(node.value))
    if number is None:
        node.choice("tolerance", ("derived",))
        return
    hint = " for no tolerance" if number == 0 else ""
    raise node.fail(
        f"tolerance is derived or left out; a number goes to rtol or atol: "
        f"--rtol {node.value}{hint} (in a file, rtol: {node.value})"
    )


def _parse_one(
    kind: str,
    entries: dict[str, Node],
    tensor: str,
    tolerance: Tolerance,
) -> Assertion:
    node = entries[kind]
    if kind == "shape":
        sizes = tuple(item.integer("a size", 0) for item in node.sequence("shape"))
        return Assertion(kind=kind, where=node.where, shape=sizes)
    if kind in STATISTICS:
        number = node.number(kind)
        return Assertion(kind=kind, where=node.where, tolerance=tolerance, number=number)
    if kind == "sum_squared_error":
        parts = node.mapping(kind)
        refuse_unknown(parts, ("npy", "below"), kind)
        for key in ("npy", "below"):
            if key not in parts:
                raise node.fail(f"{kind} needs npy, a file, and below, a number; {key} is missing")
        return Assertion(
            kind=kind,
            where=node.where,
            source=_source(parts["npy"], tensor),
            number=parts["below"].number("below", 0.0, finite=True),
        )
    if kind == "npy":
        source = _source(node, tensor)
        return Assertion(kind=kind, where=node.where, tolerance=tolerance, source=source)
    # What is left is a list of numbers: values, or a statistic of every channel.
    source = _source(Node({"values": node}, node.where, base=node.base), tensor)
    index = parse_index(entries["at"]) if kind == "values" and "at" in entries else ()
    return Assertion(kind=kind, where=node.where, tolerance=tolerance, source=source, index=index)


def _source(node: Node, tensor: str) -> Source:
    source = parse_source(node, tensor, node.base)
    if source is None:
        raise node.fail(f"expect of {tensor} needs a tensor to compare with, not none")
    return source
