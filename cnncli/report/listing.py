"""What `run --list` prints: a line a case that would run, nothing of it run."""

from __future__ import annotations

import json
from typing import Any

from cnncli.layers.base import shape_text
from cnncli.report.visible import one_line
from cnncli.runs.memory import size_text
from cnncli.runs.one import PlannedCase

HEADER = f"{'layer':5} {'x':14} {'w':12} {'y':14} {'operations':>10} {'memory':>10}  case"


def plan_line(label: str, planned: PlannedCase, operations: int) -> str:
    """Return layer, shapes, arithmetic, memory and name of a case on one line."""
    inputs = planned.plan.inputs
    w = shape_text(inputs["w"]) if "w" in inputs else ""
    x, y = shape_text(inputs["x"]), shape_text(planned.plan.upstream)
    return (
        f"{planned.layer:5} {x:14} {w:12} {y:14} {count_text(operations):>10} "
        f"{size_text(planned.needed_bytes):>10}  {one_line(label)}"
    )


def plan_record(name: str, file: str | None, planned: PlannedCase, operations: int) -> str:
    """Return the same as one line of JSON, the numbers in full."""
    plan = planned.plan
    data: dict[str, Any] = {"name": name, "file": file, "layer": planned.layer}
    if file is None:
        del data["file"]
    data |= {
        "params": plan.params,
        "shapes": plan.inputs | plan.outputs,
        "operations": operations,
        "bytes": planned.needed_bytes,
    }
    return json.dumps(data)


def count_text(count: int) -> str:
    """Return a count as a person reads it: 1.25 G."""
    amount, units = float(count), ("", "k", "M", "G", "T", "P")
    for unit in units:
        if amount < 1000 or unit == units[-1]:
            return f"{count}" if not unit else f"{amount:.3g} {unit}"
        amount /= 1000
    raise AssertionError
