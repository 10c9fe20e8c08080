"""Text of other people (code, messages, names) as a terminal may have it: it can only be read.

A raw escape would let a file paint over the screen of whoever judges it, and a bidi override show
a line in another order than it has.
"""

from __future__ import annotations

import re
import sys

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 but newline and tab, DEL, and what overrides the direction of text."""


def visible(text: str) -> str:
    r"""Return text with its control characters as visible escapes, such as \x1b."""
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """Return text with whatever cannot be printed as visible escapes, line ends too."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(text: str) -> None:
    """Print a line on standard error, whatever that can encode."""
    encoding = sys.stderr.encoding or "utf-8"
    shown = visible(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=sys.stderr, flush=True)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
