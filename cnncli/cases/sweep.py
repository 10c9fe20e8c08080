"""`sweep`: one case written, many meant. A cartesian product over dotted keys, made one by one."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cnncli.cases.dotted import set_value, unknown_key
from cnncli.cases.node import Node
from cnncli.errors import ConfigError

MAX_CASES = 1_000_000
_LONGEST = 200
"""Bytes of the swept part of a name, which is a folder's name under --save."""


@dataclass(frozen=True)
class Sweep:
    """The values of every swept key, with the texts that stand for them in names."""

    axes: tuple[tuple[str, tuple[Node, ...], tuple[str, ...]], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept keys, dotted, as written."""
        return tuple(key for key, _, _ in self.axes)

    def __len__(self) -> int:
        return math.prod(len(values) for _, values, _ in self.axes)

    def names(self, base: str) -> Iterator[str]:
        """Yield the name of every case, the last key running fastest."""
        labels = [key.removeprefix("params.") for key in self.keys]
        for texts in itertools.product(*(texts for _, _, texts in self.axes)):
            pairs = zip(labels, texts, strict=True)
            swept = ",".join(f"{label}={text}" for label, text in pairs)
            yield f"{base}/{_shorten(swept)}"

    def cases(self, entries: Mapping[str, Node]) -> Iterator[dict[str, Node]]:
        """Yield the entries of every case, in the order of the names; raise ConfigError."""
        for values in itertools.product(*(values for _, values, _ in self.axes)):
            case = dict(entries)
            for key, value in zip(self.keys, values, strict=True):
                case = set_value(case, key, value)
            yield case


def read_sweep(node: Node, known: tuple[str, ...], mappings: tuple[str, ...]) -> Sweep:
    """Return what `sweep` writes; raise ConfigError at the place of any fault.

    `known` are the keys of a case that can be swept, `mappings` those of them that hold others.
    """
    axes = []
    written = node.mapping("sweep, keys to lists of values,")
    if not written:
        raise node.fail("sweep is empty: it maps keys to lists, such as params.stride: [1, 2]")
    for key, values in written.items():
        fault = unknown_key(key, known, mappings)
        if fault is not None:
            raise ConfigError(f"sweep: {fault}", values.key_where or values.where)
        items = values.sequence(f"sweep of {key}")
        if not items:
            raise values.fail(f"sweep of {key} is an empty list, which makes no case")
        axes.append((key, tuple(items), _texts(key, items)))
    _refuse_overlap(node, [key for key, _, _ in axes])
    _refuse_ambiguity(node, axes)
    sweep = Sweep(tuple(axes))
    if len(sweep) > MAX_CASES:
        raise node.fail(f"a sweep may make {MAX_CASES} cases, but this makes {len(sweep)}")
    return sweep


def _texts(key: str, items: list[Node]) -> tuple[str, ...]:
    texts: dict[str, Node] = {}
    for item in items:
        text = _escape(_text(item))
        if text in texts:
            raise item.fail(f"sweep of {key} holds {text} twice, so two cases would have one name")
        texts[text] = item
    return tuple(texts)


def _text(node: Node) -> str:
    if isinstance(node.value, str):
        return node.value
    if isinstance(node.value, float) and node.text:
        return node.text  # 1e-5 as it was written
    return json.dumps(node.data(), separators=(",", ":"), ensure_ascii=False)


def _escape(text: str) -> str:
    """Return text that can stand in a folder's name, different texts staying different."""
    return "".join(
        c
        if c.isprintable() and c not in "/%"
        else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))
        for c in text
    )


def _shorten(swept: str) -> str:
    if len(swept.encode()) <= _LONGEST:
        return swept
    digest = hashlib.sha256(swept.encode()).hexdigest()[:16]
    return f"{swept.encode()[:150].decode(errors='ignore')}~{digest}"


def _refuse_overlap(node: Node, keys: list[str]) -> None:
    for key, other in itertools.permutations(keys, 2):
        if other.startswith(f"{key}."):
            raise node.fail(f"sweep sets both {key} and {other}, which is a part of it")


def _refuse_ambiguity(
    node: Node, axes: list[tuple[str, tuple[Node, ...], tuple[str, ...]]]
) -> None:
    """Refuse a text that reads as if another key began in it: two cases could share a name."""
    labels = [key.removeprefix("params.") for key, _, _ in axes]
    if len(set(labels)) != len(labels):
        raise node.fail("two swept keys have one name once params. is left out")
    for key, _, texts in axes:
        for label, text in itertools.product(labels, texts):
            if f",{label}=" in text:
                raise node.fail(f"sweep of {key}: {text!r} holds ',{label}=', another swept key")
