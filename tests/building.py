"""Cases and results from plain data, for tests that judge what a whole case gives."""

from __future__ import annotations

from typing import Any

from cnncli.cases.case import Case, build_case
from cnncli.cases.node import from_data
from cnncli.runs.one import RunOptions, run_case
from cnncli.runs.result import Result


def case_of(layer: str, params: dict[str, Any], tensors: dict[str, Any], **more: Any) -> Case:
    """Return the case that a config with these keys would hold."""
    data = {"layer": layer, "params": params, "tensors": tensors, **more}
    entries = from_data(data, "test").mapping("a case")
    return build_case(entries, name="test", file=None, where="test", reproduce="")


def result_of(layer: str, params: dict[str, Any], tensors: dict[str, Any], **more: Any) -> Result:
    """Return what that case gives."""
    return run_case(case_of(layer, params, tensors, **more), RunOptions())
