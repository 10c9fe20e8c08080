"""Numbers as people write them: ASCII digits, one rule for flags, YAML and sources.

Python's own `int` and `float` read more than anybody means: `1_0` is 10 to them, and so are digits
of every script; and thousands of digits raise what no reader of a message understands.
"""

from __future__ import annotations

import re

LONGEST = 400
"""Characters of a number: float64 has numbers of 309 digits, and none needs more."""
_MOST_SHOWN = 60
_WHOLE = re.compile(r"[-+]?[0-9]+\Z")
_NUMBER = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?(?i:\.?inf(?:inity)?|\.?nan)\Z"
)


def whole_of(text: str) -> int | None:
    """Return the whole number that text writes, spaces around it left out; None for another."""
    text = text.strip()
    return int(text, 10) if len(text) <= LONGEST and _WHOLE.match(text) else None


def number_of(text: str) -> float | None:
    """Return the number that text writes, `inf` and `nan` (`.inf`, `.nan`) too; None for another.

    More digits than a whole number may have are taken: what counts of them is their size.
    """
    text = text.strip()
    if not _NUMBER.match(text):
        return None
    sign, word = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    return float(sign + (word[1:] if word[:2] in (".i", ".I", ".n", ".N") else word))


def short(text: object) -> str:
    """Return what a message shows of a value that is no number: as Python writes it, cut."""
    shown = repr(text)
    return shown if len(shown) <= _MOST_SHOWN else shown[: _MOST_SHOWN - 3] + "..."
