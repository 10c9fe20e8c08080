"""Results as tables. A view computes nothing: all it shows stands in the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cnncli.checks.check import Check
from cnncli.layers.base import shape_text
from cnncli.layers.parameters import show
from cnncli.report.numbers import error_text, index_text, number_text, value_text
from cnncli.runs.memory import size_text
from cnncli.runs.one import PlannedCase
from cnncli.runs.result import Result, TensorResult

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SMALL = 200
"""An output of no more elements is shown whole."""

NUMERIC = ("min", "mean", "max", "max abs", "max rel", "seconds", "checks")
FOLDING = ("", "case", "source", "worst")

Values = Literal["auto", "all", "none"]
STYLES = {
    "pass": "green",
    "passed": "green",
    "done": "green",
    "fail": "bold red",
    "failed": "bold red",
    "vacuous": "bold red",
    "kink": "yellow",
    "skipped": "yellow",
    "invalid": "bold red",
    "timeout": "bold red",
    "crashed": "bold red",
}


def show_result(console: Console, result: Result, values: Values) -> None:
    """Print one case whole: what it is, its tensors, their values, its checks, how it ended."""
    _print(console, _case_table(result))
    if result.tensors:
        _print(console, _tensor_table(console, result))
        for tensor in result.tensors.values():
            _show_values(console, tensor, values)
    if result.checks:
        _print(console, check_table(console, result.checks))
    _say(console, ending(result), result.status)


def show_results(console: Console, results: Sequence[Result]) -> None:
    """Print many cases: a row each, and for those that are not well what is wrong."""
    table = _table("case", "layer", "y", "checks", "seconds", "status")
    for result in results:
        y = result.tensors.get("y")
        passed = sum(not check.fails_case for check in result.checks)
        table.add_row(
            _text(label(result)),
            result.layer or "",
            shape_text(y.array.shape) if y else "",
            f"{passed}/{len(result.checks)}" if result.checks else "",
            f"{result.seconds:.3f}",
            _text(result.status, STYLES[result.status]),
        )
    _print(console, table)
    for result in results:
        wrong = [check for check in result.checks if check.fails_case]
        if wrong:
            _say(console, f"{label(result)}: {ending(result)}", result.status)
            _print(console, check_table(console, wrong))
    _say(console, summary(results), _worst_status(results))


def show_plans(console: Console, plans: Sequence[tuple[str | None, str, PlannedCase]]) -> None:
    """Print what cases would do: a row each with layer, shapes and memory."""
    table = _table("case", "layer", "x", "y", "memory")
    for file, name, planned in plans:
        table.add_row(
            _text(f"{file}::{name}" if file else name),
            planned.layer,
            shape_text(planned.plan.inputs["x"]),
            shape_text(planned.plan.upstream),
            size_text(planned.needed_bytes),
        )
    _print(console, table)
    plural = "s" if len(plans) != 1 else ""
    console.print(f"{len(plans)} case{plural} would run")


def label(result: Result) -> str:
    """Return how a case is named among others: FILE::NAME."""
    return f"{result.file}::{result.name}" if result.file else result.name


def check_table(console: Console, checks: Sequence[Check]) -> Table:
    """Return a table of checks: what was judged, how far off it was, where it is worst."""
    full = not console.is_terminal
    table = _table("check", "tensor", "max abs", "max rel", "worst", "verdict")
    for check in checks:
        table.add_row(
            _text(_check_name(check)),
            check.tensor,
            error_text(check.max_abs_error),
            error_text(check.max_rel_error),
            _text(_worst_text(check, full)),
            _text(check.verdict, STYLES[check.verdict]),
        )
    return table


def ending(result: Result) -> str:
    """Say in words how a case ended."""
    checks = result.checks
    counted = f"{len(checks)} check{'s' if len(checks) != 1 else ''}"
    if result.error is not None:
        return f"{result.status}: {result.error}"
    if result.status == "done":
        return "done: computed, nothing to check"
    if result.status == "passed":
        return f"passed: {counted}"
    wrong = [check for check in checks if check.fails_case]
    text = f"FAILED: {len(wrong)} of {counted}"
    first = wrong[0]
    reason = first.note or _worst_text(first, full=False)
    place = f" ({first.where})" if first.where else ""
    return f"{text}; {first.tensor} {_check_name(first)}{place}: {reason}"


def summary(results: Sequence[Result]) -> str:
    """Say in words how a batch ended, every status counted."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    checks = sum(len(result.checks) for result in results)
    order = ("passed", "done", "failed", "invalid", "timeout", "crashed", "skipped")
    counted = ", ".join(f"{counts[status]} {status}" for status in order if status in counts)
    plural = "s" if len(results) != 1 else ""
    return f"{len(results)} case{plural}: {counted or 'none'}; {checks} checks"


def _worst_status(results: Sequence[Result]) -> str:
    order = ("crashed", "invalid", "timeout", "failed")
    found = {result.status for result in results}
    return next((status for status in order if status in found), "passed")


def _check_name(check: Check) -> str:
    if check.check == "expect":
        return f"expect {check.assertion}"
    return f"{check.check} {check.subject}"


def _worst_text(check: Check, full: bool) -> str:
    """Return the worst element and both its values, or the two things that differ."""
    if check.worst is not None:
        got = number_text(check.worst.got, full=full)
        expected = number_text(check.worst.expected, full=full)
        against = "expected" if check.check == "expect" else "numeric"
        many = f"; {check.mismatched} of {check.elements} wrong" if check.mismatched else ""
        return f"{_place_text(check, check.worst.index)} {got}, {against} {expected}{many}"
    text = f"{value_text(check.got, full=full)}, expected {value_text(check.expected, full=full)}"
    return f"{text} ({check.note})" if check.note else text


def _place_text(check: Check, index: tuple[int, ...]) -> str:
    if check.assertion in ("channel_mean", "channel_std"):
        return f"channel {index[0]}"
    return index_text(check.tensor, index)


def _case_table(result: Result) -> Table:
    table = _table(result.layer or "case", "")
    if label(result) != result.layer:
        table.add_row("name", _text(label(result)))
    for name, value in (result.params or {}).items():
        table.add_row(name, show(value))
    if "y" in result.tensors:
        table.add_row("output", shape_text(result.tensors["y"].array.shape))
    return table


def _tensor_table(console: Console, result: Result) -> Table:
    full = not console.is_terminal
    table = _table("tensor", "role", "shape", "dtype", "min", "mean", "max", "source")
    for tensor in result.tensors.values():
        stored = tensor.stored
        table.add_row(
            tensor.name,
            tensor.role,
            shape_text(tensor.array.shape),
            tensor.dtype if stored == tensor.dtype else f"{tensor.dtype} from {stored}",
            *(number_text(value, full=full) for value in (tensor.min, tensor.mean, tensor.max)),
            _text(_source_text(tensor)),
        )
    return table


def _source_text(tensor: TensorResult) -> str:
    if tensor.nonfinite:
        return f"{tensor.source or ''} {tensor.nonfinite} not finite".strip()
    return tensor.source or ""


def _show_values(console: Console, tensor: TensorResult, values: Values) -> None:
    whole = values == "all" or tensor.array.size <= SMALL
    if values == "none" or tensor.role == "input" or (tensor.role == "gradient" and not whole):
        return
    shape = shape_text(tensor.array.shape)
    if whole:
        console.print(f"{tensor.name} {shape}", style="bold")
        console.print(_text(_array_text(console, tensor.array, whole=True, full=values == "all")))
    else:
        console.print(f"{tensor.name} {shape} (corners; --values shows all)", style="bold")
        for plane in ((0, 0), tuple(size - 1 for size in tensor.array.shape[:2])):
            console.print(_text(index_text(tensor.name, plane)))
            console.print(_text(_array_text(console, tensor.array[plane], whole=False, full=False)))
    console.print()


def _array_text(console: Console, array: NDArray[Any], *, whole: bool, full: bool) -> str:
    import numpy as np

    full = full or not console.is_terminal
    return np.array2string(
        array,
        threshold=array.size if whole else 0,
        edgeitems=3,
        max_line_width=console.width if console.is_terminal else 100,
        precision=None if full else 6,
        floatmode="unique" if full else "maxprec",
    )


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        # Where a terminal is narrow, it is the texts that fold: a number in two lines misleads.
        table.add_column(
            column,
            justify="right" if column in NUMERIC else "left",
            no_wrap=column not in FOLDING,
            overflow="fold",
        )
    return table


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _say(console: Console, text: str, status: str) -> None:
    console.print(_text(text, STYLES[status]))


def _print(console: Console, table: Table) -> None:
    console.print(table)
    console.print()
