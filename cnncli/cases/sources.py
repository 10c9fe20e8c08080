"""What a user writes for a tensor, as text or as a mapping, to a `Source`. Touches no file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cnncli.cases.node import Node, refuse_unknown
from cnncli.cases.sizes import Shape, read_shape_node
from cnncli.cases.sourcetext import kind_hint, path_of, source_from_text
from cnncli.cases.sourcetypes import (
    KINDS,
    RAW_SIZES,
    FileSource,
    NpyFile,
    NpzEntry,
    Random,
    RawFile,
    Source,
    StandardInput,
    Values,
)
from cnncli.cases.values import read_values
from cnncli.errors import CnncliError, TensorError

__all__ = [
    "KINDS",
    "RAW_SIZES",
    "FileSource",
    "NpyFile",
    "NpzEntry",
    "Random",
    "RawFile",
    "Source",
    "StandardInput",
    "Values",
    "flag_of",
    "kind_hint",
    "parse_source",
    "refuse_shared_standard_input",
]

_FORMS = {
    "npy": (),
    "npz": ("key",),
    "bin": ("dtype", "shape"),
    "random": ("shape",),
    "values": (),
}
"""The key that tells what a mapping is, and the keys that go with it."""


def parse_source(node: Node, name: str, folder: Path | None) -> Source | None:
    """Return where tensor `name` comes from, or None where `none` takes it away.

    `folder` is what a relative path is relative to (None: the working directory). Raises
    CnncliError, with the place, for anything that is not one of the contract's forms.
    """
    try:
        if node.value is None or node.value == "none":
            return None
        if isinstance(node.value, str):
            return source_from_text(node.value, node.where, folder)
        if isinstance(node.value, dict):
            return _from_mapping(node, node.value, folder)
        raise node.fail(
            f"give a source, as in 'normal:2x3x8x8', 'x.npy' or {{values: [[1, 2], [3, 4]]}}, "
            f"not {node.kind()}"
        )
    except CnncliError as error:
        # A flag of the tensor's own has said which tensor it is.
        named = "" if node.where == flag_of(name) else f"tensor {name}: "
        raise type(error)(f"{named}{error.message}", error.where or node.where) from None


def flag_of(name: str) -> str:
    """Return the flag that gives tensor `name`."""
    return "--" + name.replace("_", "-")


def refuse_shared_standard_input(sources: Mapping[str, Source | None]) -> None:
    """Raise TensorError where more than one tensor wants standard input."""
    wanting = [(name, s) for name, s in sources.items() if isinstance(s, StandardInput)]
    if len(wanting) > 1:
        (first, _), (second, source) = wanting[:2]
        raise TensorError(
            f"standard input holds one tensor only, but {first} and {second} are both to be read "
            "from it",
            source.where,
        )


def _from_mapping(node: Node, entries: dict[str, Node], folder: Path | None) -> Source:
    """Return the source that a mapping describes."""
    given = [form for form in _FORMS if form in entries]
    if not given:
        refuse_unknown(entries, (*_FORMS, "zero_extend"), "a tensor's source")
        raise node.fail(f"a source is a mapping with one of the keys {', '.join(_FORMS)}")
    if len(given) > 1:
        raise entries[given[1]].fail(f"give {given[0]} or {given[1]}, not both")
    form = given[0]
    zero_extend: Shape | None = None
    if "zero_extend" in entries:
        zero_extend = read_shape_node(entries["zero_extend"], "zero_extend")
    if form == "random":
        return _random(entries, zero_extend, node.where)
    refuse_unknown(entries, (form, *_FORMS[form], "zero_extend"), f"a source from {form}")
    if form == "values":
        return read_values(entries["values"], node.where, zero_extend)
    return _file(form, node, entries, zero_extend, folder)


def _random(entries: dict[str, Node], zero_extend: Shape | None, where: str) -> Random:
    kind = entries["random"].choice("random", KINDS)
    known = ("random", "shape", *KINDS[kind], "zero_extend")
    refuse_unknown(entries, known, f"a source of {kind}")
    shape = entries.get("shape")
    options = {key: entries[key].number(key) for key in KINDS[kind] if key in entries}
    return Random(
        where=where,
        zero_extend=zero_extend,
        kind=kind,
        shape=None if shape is None else read_shape_node(shape, "shape"),
        options=tuple(sorted(options.items())),
    )


def _file(
    form: str,
    node: Node,
    entries: dict[str, Node],
    zero_extend: Shape | None,
    folder: Path | None,
) -> Source:
    written = entries[form].string(form)
    where = node.where
    if written == "-":
        if form == "npy":
            return StandardInput(where=where, zero_extend=zero_extend)
        raise entries[form].fail(f"standard input (-) is read as a .npy only, not as {form}")
    path = path_of(written, folder)
    if form == "npy":
        return NpyFile(where=where, zero_extend=zero_extend, path=path, written=written)
    if form == "npz":
        key = entries["key"].string("key") if "key" in entries else None
        return NpzEntry(where=where, zero_extend=zero_extend, path=path, written=written, key=key)
    for needed in ("dtype", "shape"):
        if needed not in entries:
            raise node.fail(f"bin needs {needed} too: raw numbers do not tell what they are")
    return RawFile(
        where=where,
        zero_extend=zero_extend,
        path=path,
        written=written,
        dtype=entries["dtype"].choice("dtype", RAW_SIZES),
        shape=read_shape_node(entries["shape"], "shape"),
    )
