"""`compare`: one array described, or one judged by another."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from cnncli.cases.assertions import Tolerance
from cnncli.cases.draws import Streams
from cnncli.cases.lonetensor import PLACE, LoneTensor, open_lone_tensors
from cnncli.checks.difference import Difference, differ, difference_bytes
from cnncli.checks.statistics import Statistics, statistics_bytes, take_statistics
from cnncli.errors import CnncliError, MemoryBoundError
from cnncli.floats import default_tolerance
from cnncli.runs.memory import judge_memory
from cnncli.runs.result import Status, strict

FORMAT = "cnncli.compare/1"


@dataclass(frozen=True, kw_only=True)
class Described:
    """One array of a comparison."""

    name: str
    source: str
    stored: str
    order: str | None
    array: NDArray[Any]
    statistics: Statistics


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a comparison gave; `difference` is there where two arrays were given."""

    status: Status
    arrays: list[Described]
    difference: Difference | None
    seconds: float
    reproduce: str


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How two arrays are judged, and what made-up numbers are."""

    tolerance: Tolerance = field(default_factory=Tolerance)
    max_memory: int | None = None
    seed: int = 0
    rng: str = "pcg64"
    tensor: str = "y"
    """The tensor of a case that made-up numbers are those of."""


def compare_sources(texts: dict[str, str], options: CompareOptions, reproduce: str) -> Compared:
    """Return what is told of the tensors that the texts, by name, stand for.

    Raises CnncliError, at its place, where one cannot be read or there is not enough memory.
    """
    started = time.perf_counter()
    try:
        with ExitStack() as stack:
            lone = open_lone_tensors(texts, stack)
            judge_memory(_needed_bytes(lone), options.max_memory)
            streams = Streams(options.rng, options.seed)
            arrays = [_describe(tensor, streams, options.tensor) for tensor in lone]
    except CnncliError as error:
        raise error.at(PLACE) from None
    except MemoryError:
        raise MemoryBoundError("this needs more memory than there is", PLACE) from None
    difference, status = None, "done"
    if len(arrays) == 2:
        difference = _differ(arrays[0], arrays[1], options.tolerance)
        status = "passed" if difference.passes else "failed"
    return Compared(
        status=status,  # type: ignore[arg-type]  # one of the three above
        arrays=arrays,
        difference=difference,
        seconds=time.perf_counter() - started,
        reproduce=reproduce,
    )


def _differ(a: Described, b: Described, given: Tolerance) -> Difference:
    rtol, atol = default_tolerance(a.stored, b.stored)
    if given.rtol is not None or given.atol is not None:
        # Who writes one of the two means it: the other is then zero unless written too.
        rtol, atol = given.rtol or 0.0, given.atol or 0.0
    return differ(
        a.array,
        b.array,
        (a.stored, b.stored),
        rtol=rtol,
        atol=atol,
        equal_nan=bool(given.equal_nan),
    )


def _describe(tensor: LoneTensor, streams: Streams, stream_name: str) -> Described:
    array = tensor.load(streams, stream_name)
    return Described(
        name=tensor.name,
        source=tensor.source.text,
        stored=tensor.dtype,
        order=tensor.order,
        array=array,
        statistics=take_statistics(array, tensor.dtype),
    )


def _needed_bytes(lone: list[LoneTensor]) -> int:
    """Return a bound: both arrays, and the more of describing one and comparing two."""
    elements = max(math.prod(tensor.shape) for tensor in lone)
    working = statistics_bytes(elements)
    if len(lone) == 2:
        whole = any("int" in tensor.dtype for tensor in lone)
        working = max(working, difference_bytes(elements, whole))
    return sum(tensor.held_bytes for tensor in lone) + working


def compared_record(compared: Compared) -> dict[str, Any]:
    """Return a comparison as strict JSON data; a key that does not apply is absent."""
    data: dict[str, Any] = {"format": FORMAT, "status": compared.status, "tensors": {}}
    for one in compared.arrays:
        data["tensors"][one.name] = {
            "source": one.source,
            "shape": list(one.array.shape),
            "dtype": one.stored,
            "order": one.order,
            **asdict(one.statistics),
            "nonfinite": one.statistics.nonfinite,
        }
    if compared.difference is not None:
        data["difference"] = _difference_record(compared.difference)
    data |= {"seconds": round(compared.seconds, 6), "reproduce": compared.reproduce or None}
    return strict(_without_none(data))  # type: ignore[no-any-return]


def _difference_record(difference: Difference) -> dict[str, Any]:
    data, found = asdict(replace(difference, comparison=None)), difference.comparison
    figures = {} if found is None else found.figures()
    if found is not None and found.worst is not None:
        figures["worst"] = asdict(found.worst)
    shapes = data.pop("shapes")
    data["verdict"] = "pass" if difference.passes else "fail"
    if shapes[0] != shapes[1]:
        data |= {"reason": "wrong shape", "got": list(shapes[0]), "expected": list(shapes[1])}
    return {"verdict": data.pop("verdict"), **data, **figures}


def _without_none(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_none(item) for key, item in data.items() if item is not None}
    if isinstance(data, list | tuple):
        return [_without_none(item) for item in data]
    return data
