"""Numbers and shapes as tables show them."""

from __future__ import annotations

from typing import Any

from cnncli.layers.base import shape_text


def number_text(value: float | int | None, *, full: bool) -> str:
    """Return a number in five digits, or with `full` in all that it has."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return repr(value) if full else f"{value:.5g}"


def apart_texts(got: float, expected: float, *, full: bool) -> tuple[str, str]:
    """Return two numbers in five digits, or in as many as it takes to see that they differ."""
    texts = number_text(got, full=full), number_text(expected, full=full)
    digits = 6
    while texts[0] == texts[1] and got != expected and digits < 18:
        texts = f"{got:.{digits}g}", f"{expected:.{digits}g}"
        digits += 1
    return texts


def error_text(value: float | None) -> str:
    """Return an error in three digits, which is all that anybody reads of it."""
    return "" if value is None else f"{value:.3g}"


def index_text(name: str, index: tuple[int, ...]) -> str:
    """Return an element's name, such as y[0,1,2,3]."""
    return f"{name}[{','.join(map(str, index))}]" if index else name


def value_text(value: Any, *, full: bool) -> str:
    """Return what an assertion compared: a number, or a shape as 2x3x4."""
    if isinstance(value, list | tuple):
        return shape_text(tuple(value))
    return number_text(value, full=full)
