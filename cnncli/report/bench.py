"""Timings as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.runs.bench import Mean, Row, Timing
from cnncli.runs.memory import size_text
from cnncli.runs.startup import StartupRow

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def show_rows(console: Console, rows: Sequence[Row], found: Sequence[Mean]) -> None:
    """Print a row a timing, then the geometric means and what could not be timed."""
    others = [other.name for other in rows[0].others]
    table = _table(
        *("case", "direction", "dtype", "threads"),
        *("median", "best", "rate", "of limit", "memory"),
        *(text for name in others for text in (name, f"/ {name}")),
    )
    for row in rows:
        against = [text for other in row.others for text in _against_texts(row, other)]
        table.add_row(
            *(row.name, row.direction, row.dtype, str(row.threads)),
            *(time_text(row.ours.median), time_text(min(row.ours.samples)), _rate_text(row)),
            *(f"{row.share:.2f}", "" if row.memory is None else size_text(max(0, row.memory))),
            *against,
        )
    console.print(table)
    console.print()
    table = _table(
        *("geometric mean", "direction", "dtype", "threads", "rows", "of limit"),
        *(f"/ {name}" for name in others),
    )
    for mean in found:
        table.add_row(
            *(mean.group, mean.direction, mean.dtype, str(mean.threads)),
            *(str(mean.rows), f"{mean.share:.2f}"),
            *(_mean_text(mean, name) for name in others),
        )
    console.print(table)
    console.print()
    timings = [(row, other) for row in rows for other in row.others]
    notes = {f"{r.name}, {r.dtype}: {o.note}" for r, o in timings if o.note}
    notes |= {f"- {r.name}, {r.direction}, {r.dtype}: {o.reason}" for r, o in timings if o.reason}
    for note in sorted(notes):
        console.print(note, soft_wrap=True)


def show_startup(console: Console, rows: Sequence[StartupRow]) -> None:
    """Print a row a race of whole processes."""
    table = _table("whole process", "beside", "median", "best", "its median", "ratio")
    for row in rows:
        table.add_row(
            *(row.name, row.beside),
            *(time_text(statistics.median(row.ours)), time_text(min(row.ours))),
            *(time_text(statistics.median(row.theirs)), f"{row.ratio:.2f}"),
        )
    console.print(table)


def time_text(seconds: float) -> str:
    """Return a time as a person reads it: 12.3 ms."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _rate_text(row: Row) -> str:
    return f"{row.rate / 1e9:.3g} {'GFLOP/s' if row.plan.layer == 'conv' else 'GB/s'}"


def _against_texts(row: Row, other: Timing) -> tuple[str, str]:
    ratio = row.ratio(other)
    return ("-", "-") if ratio is None else (time_text(other.median), f"{ratio:.3g}")


def _mean_text(mean: Mean, name: str) -> str:
    if name not in mean.ratios:
        return "-"
    ratio, rows = mean.ratios[name]
    return f"{ratio:.3g}" if rows == mean.rows else f"{ratio:.3g} ({rows} rows)"


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    words = {"case", "direction", "dtype", "whole process", "beside", "geometric mean"}
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", overflow="fold")
    return table
