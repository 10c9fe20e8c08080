"""How a layer declares a parameter, once: the flag, the YAML key, the schema and the README derive.

A parameter's kind reads one value from plain data (text of a flag, or what YAML gave) and knows
how to name itself in help and in a JSON Schema. Values stay as written until a plan resolves them
for a spatial rank.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cnncli.errors import ConfigError
from cnncli.numerals import number_of, short, whole_of

Ints: TypeAlias = tuple[int, ...]
Pairs: TypeAlias = tuple[tuple[int, int], ...]
PaddingValue: TypeAlias = "int | Ints | Pairs | str"

CONVENTIONS = ("torch", "onnx", "keras")

_MAX_SIZE = 2**31 - 1
"""No axis of a tensor that fits a machine is larger; sums of such numbers stay exact."""


@dataclass(frozen=True)
class Kind:
    """What values a parameter takes."""

    metavar: str = "TEXT"

    def parse(self, data: object) -> object:
        """Return the value that `data` means; raise ConfigError where it means none."""
        raise NotImplementedError

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        raise NotImplementedError


def parameter(
    kind: Kind,
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    shown_default: str | None = None,
    short: str | None = None,
    conventions: Mapping[str, Any] | None = None,
) -> Any:
    """Declare one parameter of a layer as a dataclass field.

    `conventions` holds the defaults of the conventions that differ from `default`.
    A `default` of None stands for a value that follows from the rest; `shown_default` says how.
    """
    metadata = {
        "kind": kind,
        "help": help,
        "short": short,
        "shown_default": shown_default,
        "conventions": dict(conventions or {}),
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One declared parameter, as everything that derives from it sees it."""

    name: str
    kind: Kind
    help: str
    default: Any
    required: bool
    short: str | None
    shown_default: str | None
    conventions: dict[str, Any]

    @property
    def flag(self) -> str:
        """The long option, such as `--output-padding`."""
        return "--" + self.name.replace("_", "-")

    def default_for(self, convention: str) -> Any:
        """Return the default under a convention."""
        return self.conventions.get(convention, self.default)

    def default_text(self) -> str:
        """Return the default as help and README show it, with conventions that differ."""
        if self.required:
            return "required"
        text = self.shown_default or show(self.default)
        others = [f"{name}: {show(value)}" for name, value in self.conventions.items()]
        return "; ".join([text, *others])


def parameters(declaration: type) -> list[Parameter]:
    """Return a layer's parameters in the order of their declaration."""
    return [
        Parameter(
            name=field.name,
            default=None if field.default is dataclasses.MISSING else field.default,
            required=field.default is dataclasses.MISSING,
            **field.metadata,
        )
        for field in dataclasses.fields(declaration)
    ]


def show(value: object) -> str:
    """Return a parameter's value as a flag would be written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ",".join(
            ":".join(map(str, item)) if isinstance(item, tuple | list) else str(item)
            for item in value
        )
    return str(value)


def _whole(data: object, minimum: int | None = None, maximum: int = _MAX_SIZE) -> int:
    value = whole_of(data) if isinstance(data, str) else data
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"must be whole, but {_quote(data)} is not")
    if minimum is not None and value < minimum:
        raise ConfigError(f"must be at least {minimum}, but is {_quote(value)}")
    if value > maximum:
        raise ConfigError(f"must be at most {maximum}, but is {_quote(value)}")
    if value < -maximum:
        raise ConfigError(f"must be at least {-maximum}, but is {_quote(value)}")
    return value


def _quote(data: object) -> str:
    return "nothing" if data is None else short(data)


@dataclass(frozen=True)
class PerAxis(Kind):
    """A whole number for every spatial axis, or one an axis: `2` or `2,3`."""

    metavar: str = "N[,N...]"
    minimum: int = 1
    words: tuple[str, ...] = ()

    def parse(self, data: object) -> int | Ints | str:
        """Return one number, a tuple of them, or one of the words."""
        if isinstance(data, str):
            if data in self.words:
                return data
            if re.fullmatch(r"[0-9]+(x[0-9]+)+", data):
                raise ConfigError(f"has one number an axis: write {data.replace('x', ',')}")
            if "," not in data:
                return _whole(data, self.minimum)
            data = data.split(",")
        if isinstance(data, list):
            if not data:
                raise ConfigError("must be one number or one an axis, but is an empty list")
            return tuple(_whole(item, self.minimum) for item in data)
        return _whole(data, self.minimum)

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        whole = {"type": "integer", "minimum": self.minimum}
        text = r"^[0-9]+(,[0-9]+)*$"
        if self.words:
            text = rf"^([0-9]+(,[0-9]+)*|{'|'.join(self.words)})$"
        return {
            "anyOf": [
                whole,
                {"type": "array", "items": whole, "minItems": 1, "maxItems": 3},
                {"type": "string", "pattern": text},
            ]
        }


@dataclass(frozen=True)
class Padding(Kind):
    """Padding: `1`, `1,2`, `0:1,2:1` (before:after, an axis each), or a word."""

    metavar: str = "PAD"
    crops: bool = False
    words: tuple[str, ...] = ("same", "same-lower", "valid")

    def parse(self, data: object) -> PaddingValue:
        """Return one number, one an axis, a pair an axis, or one of the words."""
        if isinstance(data, str):
            if data in self.words:
                return data
            data = [part.split(":") if ":" in part else part for part in data.strip().split(",")]
            if len(data) == 1 and isinstance(data[0], str):
                data = data[0]
        if not isinstance(data, list):
            return self._one(data)
        if not data:
            raise ConfigError("must be one number or one an axis, but is an empty list")
        nested = [isinstance(item, list) for item in data]
        if not any(nested):
            return tuple(self._one(item) for item in data)
        if not all(nested):
            raise ConfigError("mixes single numbers with before:after pairs; write all as pairs")
        return tuple(self._pair(item) for item in data)

    def _one(self, data: object) -> int:
        if isinstance(data, str) and whole_of(data) is None:
            words = f", or one of {', '.join(self.words)}" if self.words else ""
            raise ConfigError(
                f"must be whole numbers such as 1, 1,2 or 0:1,2:1{words}, not {_quote(data)}"
            )
        if self.crops:
            return _whole(data)
        try:
            return _whole(data, 0)
        except ConfigError as error:
            if isinstance(data, int | str) and str(data).strip().startswith("-"):
                error.message += " (only `pad` crops)"
            raise

    def _pair(self, item: Any) -> tuple[int, int]:
        if len(item) != 2:
            raise ConfigError(f"a pair is before:after, two numbers, but this has {len(item)}")
        return (self._one(item[0]), self._one(item[1]))

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        whole: dict[str, object] = {"type": "integer"}
        if not self.crops:
            whole["minimum"] = 0
        pair = {"type": "array", "items": whole, "minItems": 2, "maxItems": 2}
        return {
            "anyOf": [
                whole,
                {"type": "array", "items": whole, "minItems": 1, "maxItems": 3},
                {"type": "array", "items": pair, "minItems": 1, "maxItems": 3},
                {"type": "string"},
            ]
        }


@dataclass(frozen=True)
class Whole(Kind):
    """One whole number."""

    metavar: str = "N"
    minimum: int = 1
    maximum: int = _MAX_SIZE

    def parse(self, data: object) -> int:
        """Return the number."""
        return _whole(data, self.minimum, self.maximum)

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Real(Kind):
    """One finite or infinite number."""

    metavar: str = "X"
    minimum: float | None = None
    maximum: float | None = None

    def parse(self, data: object) -> float:
        """Return the number as a float."""
        written = number_of(data) if isinstance(data, str) else data
        if isinstance(written, bool) or not isinstance(written, int | float):
            raise ConfigError(f"must be a number, not {_quote(data)}")
        try:
            value = float(written)
        except OverflowError:
            raise ConfigError("is too large for a number") from None
        if self.minimum is not None and not value >= self.minimum:
            raise ConfigError(f"must be at least {self.minimum:g}, but is {value:g}")
        if self.maximum is not None and not value <= self.maximum:
            raise ConfigError(f"must be at most {self.maximum:g}, but is {value:g}")
        return value

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return {"type": "number", **{key: v for key, v in bounds.items() if v is not None}}


@dataclass(frozen=True)
class Switch(Kind):
    """True or false; on the command line `--name` and `--no-name`."""

    metavar: str = ""
    negative: str | None = None
    """The flag that means false, where it is not `--no-name`."""

    def parse(self, data: object) -> bool:
        """Return the truth value."""
        if not isinstance(data, bool):
            raise ConfigError(f"must be true or false, not {_quote(data)}")
        return data

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words; `aliases` are other names for them."""

    metavar: str = ""
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    def parse(self, data: object) -> str:
        """Return the word, aliases resolved."""
        known = dict(self.aliases) | {choice: choice for choice in self.choices}
        if not isinstance(data, str) or data not in known:
            raise ConfigError(f"must be one of {', '.join(self.choices)}, not {_quote(data)}")
        return known[data]

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        return {"enum": [*self.choices, *(alias for alias, _ in self.aliases)]}
