"""Timings as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.report.style import Column, make_table, print_table, words
from cnncli.runs.bench import Mean, Row, Timing
from cnncli.runs.memory import size_text
from cnncli.runs.startup import StartupRow

if TYPE_CHECKING:
    from rich.console import Console


def show_rows(console: Console, rows: Sequence[Row], found: Sequence[Mean]) -> None:
    """Print a row a timing, then the geometric means and what could not be timed."""
    others = [other.name for other in rows[0].others]
    table = make_table(
        *map(words, ("case", "direction", "dtype")),
        *_figures("threads", "median", "best", "rate", "of limit", "memory"),
        *_figures(*(text for name in others for text in (name, f"/ {name}"))),
    )
    for row in rows:
        against = [text for other in row.others for text in _against_texts(row, other)]
        table.add_row(
            *(row.name, row.direction, row.dtype, str(row.threads)),
            *(time_text(row.ours.median), time_text(min(row.ours.samples)), _rate_text(row)),
            *(f"{row.share:.2f}", "" if row.memory is None else size_text(max(0, row.memory))),
            *against,
        )
    print_table(console, table)
    table = make_table(
        *map(words, ("geometric mean", "direction", "dtype")),
        *_figures("threads", "rows", "of limit", *(f"/ {name}" for name in others)),
    )
    for mean in found:
        table.add_row(
            *(mean.group, mean.direction, mean.dtype, str(mean.threads)),
            *(str(mean.rows), f"{mean.share:.2f}"),
            *(_mean_text(mean, name) for name in others),
        )
    print_table(console, table)
    timings = [(row, other) for row in rows for other in row.others]
    notes = {f"{r.name}, {r.dtype}: {o.note}" for r, o in timings if o.note}
    notes |= {f"- {r.name}, {r.direction}, {r.dtype}: {o.reason}" for r, o in timings if o.reason}
    for note in sorted(notes):
        console.print(note, soft_wrap=True)


def show_startup(console: Console, rows: Sequence[StartupRow]) -> None:
    """Print a row a race of whole processes."""
    figures = _figures("median", "best", "its median", "ratio")
    table = make_table(words("whole process"), words("beside"), *figures)
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


def _figures(*headers: str) -> list[Column]:
    """Return columns of figures, whose headers may be folded where many contenders are timed."""
    return [Column(header, wraps=True, right=True) for header in headers]
