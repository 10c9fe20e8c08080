"""Results as tables. A view computes nothing: all it shows stands in the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cnncli.checks.check import Check
from cnncli.layers.base import shape_text
from cnncli.layers.parameters import show
from cnncli.report.numbers import error_text, index_text, number_text
from cnncli.report.style import STYLES, make_table, make_text, numbers, print_table, words
from cnncli.report.wording import check_name, check_text, counts_text, worst_text
from cnncli.runs.result import Result, TensorResult

SMALL = 200
"""An output of no more elements is shown whole."""

LINES = 100
"""How many lines of an array are printed at a time."""

Values = Literal["auto", "all", "none"]


def show_result(
    console: Console, result: Result, values: Values, plane: tuple[int, ...] | None = None
) -> None:
    """Print one case whole: what it is, its tensors, their values, its checks, how it ended.

    With a `plane` (of a sample and a channel; empty: the first), heat maps take the values' place.
    """
    print_table(console, _case_table(result))
    if result.tensors:
        print_table(console, _tensor_table(console, result))
        if plane is not None:
            from cnncli.report.planes import show_planes

            show_planes(console, result, plane)
            values = "none" if values == "auto" else values
        for tensor in result.tensors.values():
            _show_values(console, tensor, values)
    if result.explanations:
        from cnncli.report.explain import show_explanation

        for explanation in result.explanations:
            show_explanation(console, explanation)
    if result.checks:
        show_checks(console, result.checks)
    _say(console, ending(result, full=not console.is_terminal), result.status)


def show_results(
    console: Console, results: Sequence[Result], covers: Mapping[str, str] | None = None
) -> None:
    """Print many cases: a row each, and for those that are not well what is wrong.

    `covers` says of each case by its name what it is there for.
    """
    more = ("accuracy", words("covers")) if covers else (numbers("seconds"),)
    table = make_table(words("case"), "layer", "y", numbers("checks"), "status", *more)
    for result in results:
        y = result.tensors.get("y")
        judged = [check for check in result.checks if check.verdict != "skipped"]
        passed = sum(not check.fails_case for check in judged)
        table.add_row(
            make_text(result.label),
            result.layer or "",
            shape_text(y.shape) if y else "",
            f"{passed}/{len(judged)}" if judged else "",
            make_text(result.status, STYLES[result.status]),
            *(
                (_accuracy_text(result), make_text(covers.get(result.name, "")))
                if covers
                else (f"{result.seconds:.3f}",)
            ),
        )
    print_table(console, table)
    for result in results:
        wrong = [check for check in result.checks if check.fails_case]
        if wrong:
            full = not console.is_terminal
            _say(console, f"{result.label}: {ending(result, full=full)}", result.status)
            show_checks(console, wrong)
    _say(console, summary(results), _worst_status(results))


def _accuracy_text(result: Result) -> str:
    """Return the largest distance of a gradient of ours from the numeric one, whole-array."""
    errors = [
        check.comparison.norm_rel_error
        for check in result.checks
        if check.subject == "ours" and check.comparison is not None and not check.identity
    ]
    return error_text(max(errors, default=None))


def check_table(console: Console, checks: Sequence[Check]) -> Table:
    """Return a table of checks: what was judged, how far off it was, where it is worst."""
    full = not console.is_terminal
    errors = numbers("max abs"), numbers("max rel")
    table = make_table("check", "tensor", *errors, words("worst"), "verdict")
    for check in checks:
        found = check.comparison
        table.add_row(
            make_text(check_name(check)),
            check.tensor,
            error_text(None if found is None else found.max_abs_error),
            error_text(None if found is None else found.max_rel_error),
            make_text(worst_text(check, full)),
            make_text(check.verdict, STYLES[check.verdict]),
        )
    return table


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print checks: comparisons, then gradients, then what is known of those that failed."""
    from cnncli.report.gradients import gradcheck_table, show_diagnosis, show_worst

    gradients = [check for check in checks if check.check == "gradcheck"]
    others = [check for check in checks if check.check != "gradcheck"]
    if others:
        print_table(console, check_table(console, others))
        for line in squares_text(others):
            console.print(make_text(line, "dim"))
    if gradients:
        print_table(console, gradcheck_table(console, gradients))
        show_worst(console, gradients)
    show_diagnosis(console, checks)


def squares_text(checks: Sequence[Check]) -> list[str]:
    """Say of each implementation how far it is in sum_squared_error, the notebook's own figure."""
    sums: dict[str, list[str]] = {}
    for check in checks:
        if check.check == "against" and check.comparison is not None:
            text = f"{check.tensor} {error_text(check.comparison.sum_squared_error)}"
            sums.setdefault(str(check.implementation), []).append(text)
    return [f"sum_squared_error of {name}: {', '.join(each)}" for name, each in sums.items()]


def ending(result: Result, *, full: bool = True) -> str:
    """Say in words how a case ended; numbers with all their digits, or rounded for eyes."""
    checks = [check for check in result.checks if check.verdict != "skipped"]
    skipped = len(result.checks) - len(checks)
    counted = f"{len(checks)} check{'s' if len(checks) != 1 else ''}"
    if result.error is not None:
        return f"{result.status}: {result.error}"
    if result.status == "done":
        return "done: computed, nothing to check"
    if result.status == "passed":
        return f"passed: {counted}" + (f", {skipped} skipped" if skipped else "")
    wrong = result.failing
    return f"FAILED: {len(wrong)} of {counted}; {check_text(wrong[0], full=full)}"


def summary(results: Sequence[Result]) -> str:
    """Say in words how many results ended, every status counted."""
    checks = sum(c.verdict != "skipped" for result in results for c in result.checks)
    return counts_text(Counter(result.status for result in results), checks)


def _worst_status(results: Sequence[Result]) -> str:
    order = ("crashed", "invalid", "timeout", "failed")
    found = {result.status for result in results}
    return next((status for status in order if status in found), "passed")


def _case_table(result: Result) -> Table:
    table = make_table(result.layer or "case", words(""))
    if result.label != result.layer:
        table.add_row("name", make_text(result.label))
    if result.convention is not None:
        table.add_row("convention", result.convention)
    if result.layout not in (None, "nchw"):
        table.add_row("layout", result.layout)
    for name, value in (result.params or {}).items():
        table.add_row(name, show(value))
    if "y" in result.tensors:
        table.add_row("output", shape_text(result.tensors["y"].shape))
    return table


def _tensor_table(console: Console, result: Result) -> Table:
    full = not console.is_terminal
    statistics = (numbers(name) for name in ("min", "mean", "max"))
    table = make_table("tensor", "role", "shape", "dtype", *statistics, words("source"))
    for tensor in result.tensors.values():
        stored = tensor.stored
        table.add_row(
            tensor.name,
            tensor.role,
            shape_text(tensor.shape),
            tensor.dtype if stored == tensor.dtype else f"{tensor.dtype} from {stored}",
            *(number_text(value, full=full) for value in (tensor.min, tensor.mean, tensor.max)),
            make_text(_source_text(tensor)),
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
    shape, array = shape_text(tensor.shape), tensor.outside
    if whole:
        console.print(f"{tensor.name} {shape}", style="bold")
        # Some lines at a time: what Rich takes grows with the square of a text's lines.
        lines = _array_text(console, array, whole=True, full=values == "all").split("\n")
        for start in range(0, len(lines), LINES):
            console.print(make_text("\n".join(lines[start : start + LINES])))
    else:
        console.print(f"{tensor.name} {shape} (corners; --values shows all)", style="bold")
        for plane in ((0, 0), tuple(size - 1 for size in array.shape[:2])):
            console.print(make_text(index_text(tensor.name, plane)))
            console.print(make_text(_array_text(console, array[plane], whole=False, full=False)))
    console.print()


def _array_text(console: Console, array: NDArray[Any], *, whole: bool, full: bool) -> str:
    full = full or not console.is_terminal
    return np.array2string(
        array,
        threshold=array.size if whole else 0,
        edgeitems=3,
        max_line_width=console.width if console.is_terminal else 100,
        precision=None if full else 6,
        floatmode="unique" if full else "maxprec",
    )


def _say(console: Console, text: str, status: str) -> None:
    console.print(make_text(text, STYLES[status]))
