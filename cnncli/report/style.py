"""The house's look: one table, text that is never markup, and the colours of verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnncli.report.visible import visible

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


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it may do.

    Where a terminal is narrow, it is the texts that are folded: a number in two lines misleads.
    """

    header: str
    wraps: bool = False
    right: bool = False


def words(header: str) -> Column:
    """Return a column of texts, which may be folded."""
    return Column(header, wraps=True)


def numbers(header: str) -> Column:
    """Return a column of numbers, right-justified and never folded."""
    return Column(header, right=True)


def make_table(*columns: str | Column) -> Table:
    """Return an empty table; a column that is a header alone stays in one line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        one = Column(column) if isinstance(column, str) else column
        table.add_column(
            make_text(one.header),
            justify="right" if one.right else "left",
            no_wrap=not one.wraps,
            overflow="fold",
        )
    return table


def make_text(text: str, style: str = "") -> Text:
    """Return text that is never read as markup, its control characters as visible escapes."""
    return Text(visible(text), style=style)


def print_table(console: Console, table: Table) -> None:
    """Print a table and an empty line."""
    console.print(table)
    console.print()
