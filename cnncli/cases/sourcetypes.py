"""Where a tensor can come from: one small frozen class for each way, touching no file.

Making one raises TensorError, without a place, where its own parts do not fit each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cnncli.cases.node import nearest
from cnncli.cases.sizes import Shape, extended, shape_text
from cnncli.errors import TensorError
from cnncli.floats import FLOATS

KINDS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "normal": {"loc": 0.0, "scale": 1.0},
        "uniform": {"low": 0.0, "high": 1.0},
        "integers": {"low": -4.0, "high": 4.0},
        "distinct": {},
        "ones": {},
        "zeros": {},
        "arange": {},
    }
)
"""The kinds of made-up tensors, each with its options and what they are when left out."""

RAW_SIZES = MappingProxyType(
    {**{kind.name: kind.bytes for kind in FLOATS.values()}, "int8": 1, "uint8": 1, "int32": 4}
)
"""The types of numbers in a raw file, with the bytes that one of them takes."""

_LARGEST_INTEGER = 2.0**53
"""Up to here float64 holds every whole number."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one tensor comes from; `where` is the place that says so."""

    where: str
    zero_extend: Shape | None = None

    @property
    def text(self) -> str:
        """How the source is shown in a result."""
        if self.zero_extend is None:
            return self.written_text()
        return f"{self.written_text()},zero_extend={shape_text(self.zero_extend)}"

    def written_text(self) -> str:
        """Return the source without its zero_extend, as text."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Random(Source):
    """Numbers made here; a shape of None follows from the other tensors."""

    kind: str
    shape: Shape | None = None
    options: tuple[tuple[str, float], ...] = ()
    """The options that were given, sorted by name."""

    def __post_init__(self) -> None:
        """Judge the options, and zero_extend against the shape."""
        _check_options(self.kind, dict(self.options))
        if self.shape is not None:
            extended(self.shape, self.zero_extend)
        elif self.zero_extend is not None:
            raise TensorError(
                "zero_extend needs the shape before it: what is left out is the shape of both"
            )

    def option(self, name: str) -> float:
        """Return an option's value, given or not."""
        return dict(self.options).get(name, KINDS[self.kind][name])

    def written_text(self) -> str:
        """Return `kind:shape,option=value`."""
        head = self.kind if self.shape is None else f"{self.kind}:{shape_text(self.shape)}"
        return ",".join([head, *(f"{name}={_number(value)}" for name, value in self.options)])


@dataclass(frozen=True, kw_only=True)
class NpyFile(Source):
    """A .npy file."""

    path: Path
    written: str

    def written_text(self) -> str:
        """Return the path as the user wrote it."""
        return self.written


@dataclass(frozen=True, kw_only=True)
class NpzEntry(Source):
    """One array of a .npz file; a key of None was not given, which opening it complains of."""

    path: Path
    written: str
    key: str | None

    def written_text(self) -> str:
        """Return `path:key`, the path as the user wrote it."""
        return self.written if self.key is None else f"{self.written}:{self.key}"


@dataclass(frozen=True, kw_only=True)
class RawFile(Source):
    """A file of little-endian numbers and nothing else."""

    path: Path
    written: str
    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        """Judge zero_extend against the shape."""
        extended(self.shape, self.zero_extend)

    def written_text(self) -> str:
        """Return `path:dtype:shape`, the path as the user wrote it."""
        return f"{self.written}:{self.dtype}:{shape_text(self.shape)}"


@dataclass(frozen=True, kw_only=True)
class StandardInput(Source):
    """A .npy on standard input."""

    def written_text(self) -> str:
        """Return `-`."""
        return "-"


@dataclass(frozen=True, kw_only=True)
class Values(Source):
    """Numbers written out, in row-major order; whole ones alone make int64."""

    numbers: tuple[int | float, ...]
    shape: Shape
    dtype: Literal["int64", "float64"]

    def __post_init__(self) -> None:
        """Judge zero_extend against the shape."""
        extended(self.shape, self.zero_extend)

    def written_text(self) -> str:
        """Return `values`."""
        return "values"


FileSource = NpyFile | NpzEntry | RawFile | StandardInput
"""The sources that are read, and so have a header or a length to judge first."""


def _check_options(kind: str, given: dict[str, float]) -> None:
    """Raise TensorError for an option that the kind has not, or a value that it cannot take."""
    known = KINDS[kind]
    for name, value in given.items():
        if name not in known:
            takes = f"takes {' and '.join(known)}" if known else "takes no options"
            raise TensorError(f"{kind} has no option {name!r}{nearest(name, known)}; it {takes}")
        if not math.isfinite(value):
            raise TensorError(f"{name} must be a finite number, but is {value}")
    values = {**known, **given}
    if kind == "normal":
        _check_normal(values["loc"], values["scale"])
    elif kind in ("uniform", "integers"):
        _check_range(values["low"], values["high"], whole=kind == "integers")


def _check_normal(loc: float, scale: float) -> None:
    if scale < 0:
        raise TensorError(f"scale must be at least 0, but is {_number(scale)}")
    # No draw is 100 standard deviations away.
    if not math.isfinite(abs(loc) + 100 * scale):
        raise TensorError("loc and scale are so large that draws would overflow float64")


def _check_range(low: float, high: float, whole: bool) -> None:
    shown = f"low is {_number(low)} and high is {_number(high)}"
    if whole:
        if max(abs(low), abs(high)) > _LARGEST_INTEGER or low != int(low) or high != int(high):
            raise TensorError(f"low and high must be whole and at most 2**53, but {shown}")
        if low > high:
            raise TensorError(f"low must not be above high, but {shown}")
    else:
        if not low < high:
            raise TensorError(f"low must be below high, but {shown}")
        if not math.isfinite(high - low):
            raise TensorError(f"low and high are too far apart for float64, {shown}")


def _number(value: float) -> str:
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else repr(value)
