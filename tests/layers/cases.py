"""Cases for the layers' tests, run on the command's own path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnncli.cases.config import Entry
from cnncli.cases.node import from_data
from cnncli.runs.one import PlannedCase, plan_case, run_case
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result

OPTIONS = RunOptions(max_memory=1 << 30)


def entry(layer: str, params: Mapping[str, Any], tensors: Mapping[str, Any], **more: Any) -> Entry:
    data = {"layer": layer, "params": dict(params), "tensors": dict(tensors), **more}
    written = from_data(data, "the test").mapping("a case")
    return Entry(name="test", file=None, where="the test", entries=written)


def run(layer: str, params: Mapping[str, Any], tensors: Mapping[str, Any], **more: Any) -> Result:
    return run_case(entry(layer, params, tensors, **more).build(), OPTIONS)


def plan(layer: str, params: Mapping[str, Any], tensors: Mapping[str, Any]) -> PlannedCase:
    return plan_case(entry(layer, params, tensors).build(), OPTIONS)


def sized(kind: str, *sizes: int) -> str:
    return f"{kind}:{'x'.join(map(str, sizes))}"
