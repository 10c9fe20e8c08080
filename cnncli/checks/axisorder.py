"""A check in the order of axes of who reads it: made of NCHW arrays, told as the layout has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from cnncli.cases.layout import shape_inside, shape_outside
from cnncli.checks.check import Check
from cnncli.checks.shapes import axes_advice
from cnncli.layers.base import Shape, shape_text

Turn: TypeAlias = Callable[[str, Shape], Shape]
"""From a tensor's name and its shape (or index) in one order to the same in another."""

_ELEMENT = re.compile(r"\b(\w+)\[(\d+(?:,\d+)*)\]")
_EXAMPLE = re.compile(r"--(\w+) normal:(\d+(?:x\d+)*)")


def outside(check: Check, layout: str, rank: int) -> Check:
    """Return a check of NCHW arrays with its places, shapes and texts as the layout has them.

    `rank` is its tensor's; what has another number of axes is in no layout, and stays.
    """
    return check if layout == "nchw" else _turned(check, partial(shape_outside, layout), rank)


def inside(check: Check, layout: str, rank: int) -> Check:
    """Return a check of arrays in the layout's order with its places and shapes as NCHW."""
    return check if layout == "nchw" else _turned(check, partial(shape_inside, layout), rank)


def _turned(check: Check, turn: Turn, rank: int) -> Check:
    changes: dict[str, Any] = {
        "note": check.note and _text(check.note, turn),
        "sits": check.sits and [_text(each, turn) for each in check.sits],
    }
    found = check.comparison
    if found is not None and found.worst is not None and len(found.worst.index) == rank:
        worst = replace(found.worst, index=turn(check.tensor, found.worst.index))
        changes["comparison"] = replace(found, worst=worst)
    check = replace(check, **changes)
    if not isinstance(check.got, list) or not isinstance(check.expected, list):
        return check
    shapes = tuple(check.got), tuple(check.expected)
    new = tuple(turn(check.tensor, shape) if len(shape) == rank else shape for shape in shapes)
    renamed = _renamed(shapes, new)
    return replace(check, got=list(new[0]), expected=list(new[1]), **_shape_texts(check, renamed))


def _text(text: str, turn: Turn) -> str:
    """Return a text with the elements that it names, and the sources that it offers, turned."""

    def element(found: re.Match[str]) -> str:
        index = turn(found[1], tuple(map(int, found[2].split(","))))
        return f"{found[1]}[{','.join(map(str, index))}]"

    def example(found: re.Match[str]) -> str:
        shape = turn(found[1], tuple(map(int, found[2].split("x"))))
        return f"--{found[1]} normal:{shape_text(shape)}"

    return _EXAMPLE.sub(example, _ELEMENT.sub(element, text))


def _renamed(shapes: tuple[Shape, ...], turned: tuple[Shape, ...]) -> dict[str, str]:
    """Return what texts on two shapes say of them, and what they say of the turned ones."""
    renamed: dict[str, str] = {}
    for old, new in zip(shapes, turned, strict=True):
        renamed |= {shape_text(old): shape_text(new), str(old): str(new)}
    for got, right in ((0, 1), (1, 0)):
        advice = axes_advice(shapes[got], shapes[right])
        if advice is not None:
            renamed[advice] = axes_advice(turned[got], turned[right]) or advice
    return renamed


def _shape_texts(check: Check, renamed: dict[str, str]) -> dict[str, Any]:
    """Return note and diagnosis with shapes renamed; what follows a note's `;` names no shape."""
    words = re.compile("|".join(sorted(map(re.escape, renamed), key=len, reverse=True)))

    def rename(text: str) -> str:
        return words.sub(lambda found: renamed[found[0]], text)

    note, semicolon, more = (check.note or "").partition(";")
    rows = [
        {**row, **{key: rename(row[key]) for key in ("cause", "look") if key in row}}
        for row in check.diagnosis or ()
    ]
    return {"note": rename(note) + semicolon + more or None, "diagnosis": rows or None}
