"""Plain data that remembers where it was written.

A config file, a line of JSON and a command-line flag all become a tree of `Node`s; everything
after that reads the one tree, so that a message can always name its place.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cnncli.errors import ConfigError
from cnncli.numerals import number_of, short, whole_of

Scalar: TypeAlias = str | int | float | bool | None
Data: TypeAlias = "Scalar | list[Data] | dict[str, Data]"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, the place of the value and, within a mapping, the place of its key."""

    value: Scalar | list[Node] | dict[str, Node]
    where: str
    key_where: str = ""
    text: str | None = None
    """The scalar as it was written, where that can differ from `str(value)`."""
    base: Path | None = None
    """The folder that a relative path is relative to; None is the working folder."""

    def fail(self, message: str) -> ConfigError:
        """Return the error that says `message` at this value's place."""
        return ConfigError(message, self.where)

    def mapping(self, what: str) -> dict[str, Node]:
        """Return the entries; raise ConfigError where this is not a mapping."""
        if not isinstance(self.value, dict):
            raise self.fail(f"{what} must be a mapping of keys to values, not {self.kind()}")
        return self.value

    def sequence(self, what: str) -> list[Node]:
        """Return the items; raise ConfigError where this is not a list."""
        if not isinstance(self.value, list):
            raise self.fail(f"{what} must be a list, not {self.kind()}")
        return self.value

    def string(self, what: str) -> str:
        """Return the text; raise ConfigError where this is not text."""
        if not isinstance(self.value, str):
            raise self.fail(f"{what} must be text, not {self.kind()}")
        return self.value

    def boolean(self, what: str) -> bool:
        """Return the truth value; raise ConfigError where this is not true or false."""
        if not isinstance(self.value, bool):
            raise self.fail(f"{what} must be true or false, not {self.kind()}")
        return self.value

    def integer(self, what: str, minimum: int | None = None) -> int:
        """Return the whole number (text of one is taken); raise ConfigError otherwise."""
        value = self.value
        if isinstance(value, str):
            value = whole_of(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(f"{what} must be a whole number, not {self.kind()}")
        if minimum is not None and value < minimum:
            raise self.fail(f"{what} must be at least {minimum}, but is {value}")
        return value

    def number(self, what: str, minimum: float | None = None, *, finite: bool = False) -> float:
        """Return the number (text of one is taken); raise ConfigError otherwise."""
        value = self.value
        if isinstance(value, str):
            value = number_of(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(f"{what} must be a number, not {self.kind()}")
        try:
            value = float(value)
        except OverflowError:
            raise self.fail(f"{what} is too large for a number: {self.kind()}") from None
        if minimum is not None and not value >= minimum:
            raise self.fail(f"{what} must be at least {minimum:g}, but is {value:g}")
        if finite and not math.isfinite(value):
            raise self.fail(f"{what} must be finite, but is {value:g}")
        return value

    def choice(self, what: str, known: Iterable[str]) -> str:
        """Return the text, one of `known`; raise ConfigError with the nearest otherwise."""
        choices = list(known)
        if self.value not in choices:
            hint = nearest(self.value, choices) if isinstance(self.value, str) else ""
            raise self.fail(f"{what} must be one of {', '.join(choices)}, not {self.kind()}{hint}")
        return str(self.value)

    def kind(self) -> str:
        """Say what this value is, in a few words for a message."""
        value = self.value
        if isinstance(value, dict):
            return "a mapping"
        if isinstance(value, list):
            return "a list"
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return "true" if value else "false"
        return short(value)

    def data(self) -> Data:
        """Return the plain data without its places."""
        if isinstance(self.value, dict):
            return {key: node.data() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value


def from_data(data: object, where: str) -> Node:
    """Return plain data as a tree whose every value stands at `where`."""
    if isinstance(data, Mapping):
        return Node({str(k): from_data(v, where) for k, v in data.items()}, where, where)
    if isinstance(data, list | tuple):
        return Node([from_data(item, where) for item in data], where, where)
    if data is None or isinstance(data, str | int | float | bool):
        return Node(data, where, where)
    raise AssertionError(f"not plain data: {data!r}")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ` (did you mean X?)` for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]}?)" if close else ""


def refuse_unknown(entries: Mapping[str, Node], known: Iterable[str], what: str) -> None:
    """Raise ConfigError, with the nearest known key, at the first key that is not known."""
    names = list(known)
    for key, node in entries.items():
        if key not in names:
            hint = nearest(key, names) or f"; known: {', '.join(names)}"
            raise ConfigError(f"unknown key {key!r} in {what}{hint}", node.key_where or node.where)
