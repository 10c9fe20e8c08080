"""Values set by a dotted key, `params.stride`: what a sweep and `--set` do to a case."""

from __future__ import annotations

from collections.abc import Mapping

from cnncli.cases.node import Node, from_data, nearest
from cnncli.errors import CnncliError, UsageError
from cnncli.numerals import short


def set_value(entries: Mapping[str, Node], dotted: str, value: Node) -> dict[str, Node]:
    """Return the entries of a case with one value set; raise ConfigError where no mapping is.

    Mappings on the way are made where there are none; `gradcheck: true` counts as an empty one.
    """
    head, _, rest = dotted.partition(".")
    changed = dict(entries)
    if not rest:
        changed[head] = value
        return changed
    below = entries.get(head)
    inside: dict[str, Node] = {}
    if below is not None and below.value is not True:
        inside = below.mapping(f"{head}, in which {dotted} is to be set,")
    place = value if below is None else below
    changed[head] = Node(
        set_value(inside, rest, value), place.where, place.key_where, base=place.base
    )
    return changed


def unknown_key(dotted: str, known: tuple[str, ...], mappings: tuple[str, ...]) -> str | None:
    """Return what is wrong with a dotted key, or None: it must begin with a key of a case."""
    head, _, rest = dotted.partition(".")
    if head not in known:
        hint = nearest(head, known) or f"; a key begins with one of {', '.join(known)}"
        return f"{dotted!r} is no key of a case{hint}: write params.stride, tensors.x, seed"
    if head in mappings and not all(dotted.split(".")):
        return f"{dotted!r} has an empty part"
    if rest and head not in mappings:
        return f"{dotted!r}: {head} is a single value, with no {rest!r} in it"
    if not rest and head in mappings and head != "gradcheck":
        return f"{dotted!r} is a whole mapping: name one value of it, such as {head}.NAME"
    return None


def read_setting(text: str, known: tuple[str, ...], mappings: tuple[str, ...]) -> tuple[str, Node]:
    """Return the key and value of `--set KEY=VALUE`, the value as YAML; raise UsageError."""
    from cnncli.cases.yamltext import read_yaml

    key, equals, written = text.partition("=")
    if not equals or not key:
        raise UsageError(f"must be KEY=VALUE, such as params.stride=2, not {text!r}", "--set")
    if written != written.encode(errors="replace").decode():
        raise UsageError(f"{key}: must be text of UTF-8, not {short(written)}", "--set")
    fault = unknown_key(key, known, mappings)
    if fault is not None:
        raise UsageError(fault, "--set")
    try:
        value = read_yaml(written, "--set")
    except CnncliError as error:
        raise UsageError(f"{key}: {error.message}", "--set") from None
    return key, from_data(value.data(), f"--set {key}")
