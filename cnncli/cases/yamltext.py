"""YAML text to a tree of nodes: plain data only, every value with its place, within bounds.

Built on PyYAML's events, so that nothing is composed or resolved before depth and aliases were
judged. Scalars follow YAML 1.2's core schema: `1e-5` is a number, `010` is 10, `no` is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cases.node import Node, Scalar, from_data
from cnncli.errors import ConfigError

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 16 << 20
MAX_DEPTH = 40
TOO_DEEP = f"a config may be nested at most {MAX_DEPTH} deep"
MAX_NODES = 2_000_000

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def resolve_scalar(text: str) -> Scalar:
    """Return what a plain scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        # Python refuses to read integers of thousands of digits; such a one is text here.
        return int(text, 10) if len(text) <= 400 else text
    if _OCTAL_OR_HEX.match(text):
        return int(text, 0) if len(text) <= 400 else text
    if _FLOAT.match(text):
        return float(text)
    return text


def read_text(raw: bytes, file: str) -> str:
    """Return the bytes of a config as text; raise ConfigError where they are not UTF-8."""
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            f"a config may have at most {MAX_BYTES} bytes, but this has at least {len(raw)}", file
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("this is not UTF-8 text", f"{file}:{line}") from None


def read_yaml(text: str, file: str, base: Path | None = None) -> Node:
    """Return the one document in `text`; raise ConfigError at the place of any fault.

    `base` is the folder that relative paths in it are relative to.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(file, base).build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        if "nesting depth" in str(error.problem):  # libyaml's own bound, from 0.2.6 on
            raise ConfigError(TOO_DEEP, place) from None
        problem = " ".join(part for part in (error.problem, error.context) if part)
        raise ConfigError(f"this is not YAML: {problem}", place) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {' '.join(str(error).split())}", file) from None


def read_json_lines(text: str, file: str) -> Iterator[Node]:
    """Yield one node a line of JSON; raise ConfigError naming the line of any fault."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            place = f"{file}:{number}"
            try:
                yield from_data(json.loads(line, object_pairs_hook=_unique_keys), place)
            except json.JSONDecodeError as error:
                raise ConfigError(
                    f"this is not JSON: {error.msg}", f"{place}:{error.colno}"
                ) from None
            except RecursionError:
                raise ConfigError("JSON is nested too deeply", place) from None
            except ValueError as error:  # a whole number of thousands of digits
                raise ConfigError(f"this is not JSON: {error}", place) from None
            except ConfigError as error:
                raise error.at(place) from None


def looks_like_json_lines(text: str) -> bool:
    """Tell whether the first line that is not blank is a whole JSON object."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries: dict[str, object] = {}
    for key, value in pairs:
        if key in entries:
            raise ConfigError(f"key {key!r} stands twice in one mapping")
        entries[key] = value
    return entries


class _Open:
    """A mapping or list that is still being read."""

    __slots__ = ("anchor", "entries", "items", "key", "where")

    def __init__(self, where: str, anchor: str | None, is_mapping: bool) -> None:
        self.where = where
        self.anchor = anchor
        self.entries: dict[str, Node] | None = {} if is_mapping else None
        self.items: list[Node] = []
        self.key: Node | None = None

    def close(self, base: Path | None) -> Node:
        value = self.items if self.entries is None else self.entries
        return Node(value, self.where, base=base)


class _Builder:
    """Turns events into nodes on a stack of its own, within the bounds."""

    def __init__(self, file: str, base: Path | None) -> None:
        self.file = file
        self.base = base
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.opened: dict[str, int] = {}
        self.nodes = 0
        self.root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node:
        import yaml

        documents = 0
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), event.anchor, self.nodes)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(event, isinstance(event, yaml.MappingStartEvent))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                closed = self.stack.pop()
                self._add(
                    closed.close(self.base), closed.anchor, self.opened.get(closed.anchor or "", 0)
                )
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ConfigError("a config is one YAML document", self._place(event))
        if self.root is None:
            raise ConfigError("this config is empty", self.file)
        return self.root

    def _place(self, event: yaml.Event) -> str:
        mark = event.start_mark
        assert mark is not None
        return f"{self.file}:{mark.line + 1}:{mark.column + 1}"

    def _count(self, nodes: int, place: str) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise ConfigError(
                f"a config may hold at most {MAX_NODES} values, aliases unfolded", place
            )

    def _refuse_tag(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise ConfigError(f"tags are not taken, only plain data: {tag}", self._place(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        place = self._place(event)
        self._refuse_tag(event)
        self._count(1, place)
        value: Scalar = resolve_scalar(event.value) if event.implicit[0] else event.value
        return Node(value, place, text=event.value, base=self.base)

    def _open(self, event: yaml.CollectionStartEvent, is_mapping: bool) -> None:
        place = self._place(event)
        self._refuse_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            raise ConfigError(TOO_DEEP, place)
        if event.anchor:
            self.opened[event.anchor] = self.nodes
            self.anchors.pop(event.anchor, None)
        self._count(1, place)
        self.stack.append(_Open(place, event.anchor, is_mapping))

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        if event.anchor not in self.anchors:
            raise ConfigError(
                f"alias *{event.anchor} has no complete value &{event.anchor} before it", place
            )
        node, size = self.anchors[event.anchor]
        self._count(size, place)
        self._add(node, None, 0)

    def _add(self, node: Node, anchor: str | None, nodes_before: int) -> None:
        if anchor:
            self.anchors[anchor] = (node, max(1, self.nodes - nodes_before))
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._key(node, parent)
        else:
            key = parent.key
            parent.key = None
            assert isinstance(key.text, str)
            parent.entries[key.text] = replace(node, key_where=key.where)

    def _key(self, node: Node, parent: _Open) -> Node:
        if node.text is None:
            raise ConfigError("a key must be plain text", node.where)
        assert parent.entries is not None
        if node.text in parent.entries:
            first = parent.entries[node.text].key_where.removeprefix(self.file + ":")
            raise ConfigError(f"key {node.text!r} stands twice (first at {first})", node.where)
        return node
