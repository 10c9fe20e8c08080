"""An explanation as text: the element, what it reads, its products and their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnncli.layers.explain.parts import Element, Explanation, Terms
from cnncli.report.numbers import index_text
from cnncli.report.style import make_table, make_text, print_table

if TYPE_CHECKING:
    from rich.console import Console

MOST = 40
LARGEST = 20


def show_explanation(console: Console, explanation: Explanation) -> None:
    """Print one explanation. Its numbers are exact: they are never cut short."""
    name = index_text(explanation.tensor, explanation.index)
    console.print(make_text(f"{name} = {explanation.element!r}", "bold"))
    console.print(make_text(explanation.formula))
    for region in explanation.reads:
        ranges = ",".join(
            str(start)
            if stop == start + 1
            else f"{start}:{stop}" + (f":{step}" if step != 1 else "")
            for start, stop, step in region.ranges
        )
        console.print(make_text(f"reads {region.name}[{ranges}]"))
    if explanation.padding:
        plural = "s" if explanation.padding != 1 else ""
        console.print(make_text(f"padding: {explanation.padding} position{plural}"))
    for label, value in explanation.facts.items():
        console.print(make_text(f"{label} = {_number(value)}"))
    for label, element in (("winner", explanation.winner), ("runner-up", explanation.runner_up)):
        if element is not None:
            console.print(make_text(f"{label}: {_name(element)} = {element.value!r}"))
    if explanation.note:
        console.print(make_text(explanation.note, "yellow"))
    console.print()
    for terms in (*explanation.terms, *explanation.aside):
        _show_terms(console, terms)
    total = explanation.sum
    gap = abs(total - explanation.element)
    same = "equal" if gap == 0 or total == explanation.element else f"off by {gap:.3g}"
    console.print(make_text(f"sum = {total!r}; {name} = {explanation.element!r}: {same}"))
    console.print()


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _name(element: Element) -> str:
    return index_text(element.name, element.index)


def _cells(terms: Terms, row: int, product: float) -> list[str]:
    cells = [str(row + 1)]
    for element in terms.row(row):
        cells += [_name(element)] if element.index else []
        cells.append(repr(element.value))
    return [*cells, repr(product)] if len(terms.factors) > 1 else cells


def _print_lines(console: Console, terms: Terms, rows: list[int]) -> None:
    """Print products on two lines each, names above numbers: whole numbers on a narrow terminal."""
    products = terms.products
    console.print(make_text(terms.label, "bold"))
    for row in rows:
        elements = list(terms.row(row))
        result = f" = {float(products[row])!r}" if len(elements) > 1 else ""
        console.print(make_text(f"{row + 1}  {' * '.join(_name(one) for one in elements)}"))
        console.print(make_text(f"   {' * '.join(repr(one.value) for one in elements)}{result}"))
    console.print()


def _show_terms(console: Console, terms: Terms) -> None:
    import numpy as np

    products = terms.products
    if not len(products):
        return
    rows = list(range(len(products)))
    if len(rows) > MOST:
        sizes = np.where(np.isnan(products), np.inf, np.abs(products))
        rows = [int(i) for i in np.argsort(-sizes, kind="stable")[:LARGEST]]
    cells = [_cells(terms, row, float(products[row])) for row in rows]
    headers = [terms.label]
    for factor in terms.factors:
        headers += [factor.name, ""] if factor.indices.shape[1] else [factor.name]
    headers += ["product"] if len(terms.factors) > 1 else []
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    if sum(widths) + len(widths) <= console.width:
        table = make_table(*headers)
        for row_cells in cells:
            table.add_row(*row_cells)
        print_table(console, table)
    else:
        _print_lines(console, terms, rows)
    if len(rows) < len(products):
        console.print(
            make_text(f"the {LARGEST} largest of {len(products)} {terms.label}; --json holds all")
        )
        console.print()
