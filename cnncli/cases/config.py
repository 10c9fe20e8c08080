"""Config files to the entries they hold: one entry a case, merged over the file's defaults."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli.cases.assertions import Tolerance
from cnncli.cases.case import CASE_KEYS, MERGED_KEYS, Case, build_case
from cnncli.cases.nearby import near_path
from cnncli.cases.node import Node, nearest, refuse_unknown
from cnncli.cases.yamltext import (
    MAX_BYTES,
    looks_like_json_lines,
    read_json_lines,
    read_text,
    read_yaml,
)
from cnncli.errors import CnncliError, ConfigError, UsageError

STDIN = "-"
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One case as its file writes it, or the error that stands in its place."""

    name: str
    file: str | None
    where: str
    entries: dict[str, Node]
    error: CnncliError | None = None

    @property
    def reproduce(self) -> str:
        """The command that runs this case alone; empty where its text came from a pipe."""
        if self.file is None or self.file == STDIN:
            return ""
        return "cnncli run " + shlex.quote(f"{self.file}::{self.name}")

    def with_flags(self, flags: Mapping[str, Node]) -> Entry:
        """Return this entry with flags, as the entries of a case, on top.

        What flags expect of a tensor is judged beside what the entry expects of it.
        """
        entries = merge(self.entries, flags)
        below, above = self.entries.get("expect"), flags.get("expect")
        if below is not None and above is not None:
            written = below.mapping("expect")
            both = {
                name: _together(written[name], node) if name in written else node
                for name, node in above.mapping("expect").items()
            }
            entries["expect"] = Node(written | both, above.where, above.key_where)
        return replace(self, entries=entries)

    def build(self, overrides: Tolerance | None = None, reproduce: str | None = None) -> Case:
        """Return the case; raise CnncliError at the place of any fault."""
        if self.error is not None:
            raise self.error
        return build_case(
            self.entries,
            name=self.name,
            file=self.file,
            where=self.where,
            reproduce=self.reproduce if reproduce is None else reproduce,
            overrides=overrides,
        )


def merge(defaults: Mapping[str, Node], case: Mapping[str, Node]) -> dict[str, Node]:
    """Return a case's entries over defaults: the mappings of a case merge by key, in order."""
    merged = dict(defaults)
    for key, node in case.items():
        below = merged.get(key)
        if key in MERGED_KEYS and below is not None:
            entries = below.mapping(key) | node.mapping(key)
            merged[key] = Node(entries, node.where, node.key_where)
        else:
            merged[key] = node
    return merged


def _together(below: Node, above: Node) -> Node:
    """Return the assertions of two nodes about one tensor, each a mapping or a list of those."""
    if below.value == []:
        return below  # a fault, told at its own place
    lists = [node.value if isinstance(node.value, list) else [node] for node in (below, above)]
    return Node([*lists[0], *lists[1]], below.where, below.key_where)


def find_configs(paths: list[str]) -> list[str]:
    """Return the config files that paths and folders mean, each once, folders in sorted order.

    `-` stands for standard input; `FILE::NAME` is kept as it is. Raises UsageError for a path
    that is not there.
    """
    found: dict[str, None] = {}
    for text in paths:
        path = Path(text)
        if text == STDIN or "::" in text or path.is_file():
            found[text] = None
        elif path.is_dir():
            inside = [p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file()]
            if not inside:
                raise UsageError(f"folder {text} holds no config ({' or '.join(SUFFIXES)})")
            found.update((str(p), None) for p in sorted(inside))
        elif path.exists():
            found[text] = None  # a named pipe, or another thing that can be read once
        else:
            raise UsageError(f"there is no file or folder {text}{near_path(text)}")
    unique: dict[object, str] = {}
    for text in found:
        unique.setdefault(text if text == STDIN or "::" in text else Path(text).resolve(), text)
    return list(unique.values())


def split_selector(text: str) -> tuple[str, str | None]:
    """Return the file and the case's name of `FILE::NAME`, or the file and None."""
    file, separator, name = text.partition("::")
    return (file, name) if separator else (text, None)


def read_entries(text: str) -> list[Entry]:
    """Return the entries of one config file, `FILE::NAME` or `-`.

    A fault of the whole file is one entry that carries the error; a name that the file does not
    hold raises UsageError.
    """
    file, wanted = split_selector(text)
    try:
        entries = list(_read_file(file))
    except CnncliError as error:
        stem = Path(file).stem if file != STDIN else "stdin"
        place = error.at(file).where or file
        return [Entry(name=wanted or stem, file=file, where=place, entries={}, error=error)]
    if wanted is None:
        return entries
    chosen = [entry for entry in entries if entry.name == wanted]
    if not chosen:
        names = [entry.name for entry in entries]
        hint = nearest(wanted, names) or f"; it holds {', '.join(names[:10])}"
        raise UsageError(f"{file} holds no case named {wanted!r}{hint}")
    return chosen


def read_one(text: str) -> Entry:
    """Return the one entry of `FILE` or `FILE::NAME`; raise UsageError where there are several."""
    entries = read_entries(text)
    if len(entries) > 1:
        names = ", ".join(entry.name for entry in entries[:10])
        raise UsageError(f"{text} holds {len(entries)} cases: choose one as {text}::NAME ({names})")
    return entries[0]


def _read_file(file: str) -> Iterator[Entry]:
    if file == STDIN:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        base, stem = None, "stdin"
    else:
        path = Path(file)
        base, stem = path.parent, path.stem
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file) from None
    text = read_text(raw, file)
    if file == STDIN and looks_like_json_lines(text):
        nodes = list(read_json_lines(text, file))
        yield from _name_all({}, nodes, file=file, stem=stem)
        return
    root = read_yaml(text, file, base)
    entries = root.mapping("a config")
    if "cases" in entries:
        refuse_unknown(entries, ("defaults", "cases"), "a config with cases")
        defaults = entries["defaults"].mapping("defaults") if "defaults" in entries else {}
        refuse_unknown(defaults, [k for k in CASE_KEYS if k != "name"], "defaults")
        nodes = entries["cases"].sequence("cases")
        if not nodes:
            raise entries["cases"].fail("cases is an empty list")
        yield from _name_all(defaults, nodes, file=file, stem=stem)
    else:
        if "defaults" in entries:
            raise ConfigError("defaults goes with cases", entries["defaults"].key_where)
        yield _entry({}, root, name=stem, file=file)


def _name_all(
    defaults: dict[str, Node], nodes: list[Node], *, file: str, stem: str
) -> Iterator[Entry]:
    seen: dict[str, str] = {}
    for number, node in enumerate(nodes, 1):
        entry = _entry(defaults, node, name=f"{stem}#{number}", file=file)
        if entry.name in seen and entry.error is None:
            place = entry.entries["name"].where if "name" in entry.entries else entry.where
            first = seen[entry.name].removeprefix(f"{file}:")
            error = ConfigError(f"name {entry.name!r} stands twice (first at {first})", place)
            entry = replace(entry, error=error)
        seen.setdefault(entry.name, entry.where)
        yield entry


def _entry(defaults: dict[str, Node], node: Node, *, name: str, file: str) -> Entry:
    try:
        written = node.mapping("a case")
        refuse_unknown(written, CASE_KEYS, "a case")
        if "name" in written:
            name = _read_name(written["name"])
        entries, error = merge(defaults, written), None
    except CnncliError as fault:
        entries, error = {}, fault
    return Entry(name=name, file=file, where=node.where, entries=entries, error=error)


def _read_name(node: Node) -> str:
    name = node.string("name")
    parts = name.split("/")
    if not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise node.fail(
            f"a name is also a folder's under --save: printable text whose parts between "
            f"slashes are not empty, . or .., not {name!r}"
        )
    if len(name) > 200:
        raise node.fail(f"a name may have at most 200 characters, but this has {len(name)}")
    return name
