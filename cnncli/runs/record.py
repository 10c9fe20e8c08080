"""A result as plain data: the keys of a result's JSON, and the text of it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from cnncli.runs.result import FORMAT, Result, TensorResult

if TYPE_CHECKING:
    from numpy.typing import NDArray


def record(result: Result, *, values: bool = False) -> dict[str, Any]:
    """Return a result as JSON data; a key that does not apply is absent.

    With `values`, every output and gradient carries its elements.
    """
    data: dict[str, Any] = {"format": FORMAT, "name": result.name, "file": result.file}
    data |= {"layer": result.layer, "status": result.status, "convention": result.convention}
    data |= {"layout": result.layout, "params": result.params}
    if result.tensors:
        data["tensors"] = {name: _tensor(t, values) for name, t in result.tensors.items()}
    if result.tensors or result.checks:
        data["checks"] = [check.record() for check in result.checks]
    if result.explanations:
        from cnncli.runs.explaining import explanation_record

        data["explanations"] = [explanation_record(one) for one in result.explanations]
    if result.error is not None:
        data["error"] = _present(message=result.error.message, where=result.error.where)
    data["seconds"] = round(result.seconds, 6)
    data["reproduce"] = result.reproduce or None
    return {key: _plain(value) for key, value in data.items() if value is not None}


def record_text(result: Result, *, values: bool = False) -> str:
    """Return a result as one line of strict JSON, in ASCII, which every stream can show."""
    return json.dumps(record(result, values=values), allow_nan=False)


def _present(**entries: Any) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _tensor(tensor: TensorResult, values: bool) -> dict[str, Any]:
    data = _present(
        role=tensor.role,
        source=tensor.source,
        shape=list(tensor.array.shape),
        dtype=tensor.dtype,
        stored_dtype=tensor.stored if tensor.stored != tensor.dtype else None,
        min=tensor.min,
        max=tensor.max,
        mean=tensor.mean,
        std=tensor.std,
        sum=tensor.sum,
        nonfinite=tensor.nonfinite,
    )
    if values and tensor.role != "input":
        data["values"] = _elements(tensor.array)
    return data


def _elements(array: NDArray[Any]) -> Any:
    return _plain(array.tolist())


def plain(value: Any) -> Any:
    """Return data that strict JSON can hold."""
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return data that strict JSON can hold: numbers that are not finite become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
