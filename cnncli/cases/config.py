"""Config files to the entries they hold: one entry a case, merged over the file's defaults."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli import __version__
from cnncli.cases.assertions import Tolerance
from cnncli.cases.case import CASE_KEYS, MERGED_KEYS, Case, build_case
from cnncli.cases.contents import contents_of
from cnncli.cases.dotted import read_setting, set_value
from cnncli.cases.nearby import near_path
from cnncli.cases.node import Node, nearest, refuse_unknown
from cnncli.cases.paths import files_below, what_is
from cnncli.errors import CnncliError, ConfigError, UsageError

if TYPE_CHECKING:
    from cnncli.cases.sweep import Sweep

STDIN = "-"
SUFFIXES = (".yaml", ".yml")
FILE_KEYS = tuple(dict.fromkeys((*CASE_KEYS, "sweep", "skip_invalid", "descriptor")))
"""What a file may write in a case: `sweep` makes several of one, `descriptor` is shorthand."""
SETTABLE_KEYS = tuple(k for k in FILE_KEYS if k not in ("name", "sweep", "skip_invalid"))
_MAPPINGS = (*MERGED_KEYS, "gradcheck")
_LONGEST_PIPED = 20_000
"""Characters of a case that came from a pipe, above which no command line can hold it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One case as its file writes it, or the error that stands in its place."""

    name: str
    file: str | None
    where: str
    entries: dict[str, Node]
    error: CnncliError | None = None
    skip_invalid: bool = False
    """An impossible combination is skipped with its reason, not an error."""
    swept: tuple[str, ...] = ()
    """The keys that a sweep gave this case its values of."""

    @property
    def label(self) -> str:
        """How a case is named among others: FILE::NAME."""
        return f"{self.file}::{self.name}" if self.file else self.name

    def key(self, **asked: object) -> str:
        """Return what a resumed run knows this case by: a hash of all that its result depends on.

        That is its data, the content of the files that it reads, the version, and what the command
        `asked` of it beside. A case that cannot be built reads nothing.
        """
        try:
            case = self.build()
            sources = [*case.sources.values(), *case.expected_sources]
        except CnncliError:
            sources = []
        parts = {
            "name": self.name,
            "file": self.file,
            "case": {key: node.data() for key, node in self.entries.items()},
            "files": contents_of(sources),
            "version": __version__,
            "skip_invalid": self.skip_invalid,
            **asked,
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    @property
    def reproduce(self) -> str:
        """The command that runs this case alone; empty where no command line can say it."""
        if self.file is None or (self.file == STDIN and self.error is not None):
            return ""
        if self.file == STDIN:
            written = {key: node.data() for key, node in self.entries.items() if key != "name"}
            data = {"name": self.name, **written}
            if self.skip_invalid:
                data["skip_invalid"] = True
            text = json.dumps(data)
            if len(text) > _LONGEST_PIPED:
                return ""
            return f"printf '%s\\n' {shlex.quote(text)} | cnncli run -"
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

    def with_settings(self, settings: Iterable[tuple[str, Node]]) -> Entry:
        """Return this entry with the values of `--set`; raise CnncliError where one cannot be."""
        entries = self.entries
        for key, value in settings:
            for swept in self.swept:
                if key == swept or key.startswith(f"{swept}.") or swept.startswith(f"{key}."):
                    raise UsageError(f"{self.name} sweeps over {swept}", f"--set {key}")
            entries = set_value(entries, key, value)
        return replace(self, entries=entries)

    def build(self, overrides: Tolerance | None = None, reproduce: str | None = None) -> Case:
        """Return the case; raise CnncliError at the place of any fault."""
        if self.error is not None:
            raise self.error
        entries: Mapping[str, Node] = self.entries
        if "descriptor" in entries:
            from cnncli.cases.descriptor import expand_descriptor

            entries = expand_descriptor(entries)
        return build_case(
            entries,
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
    that is not there, or a folder that cannot be read.
    """
    found: dict[str, None] = {}
    for text in paths:
        path = Path(text)
        if text == STDIN or "::" in text or (kind := what_is(path)) == "file":
            found[text] = None
        elif kind == "folder":
            inside = [p for p in files_below(path) if p.suffix in SUFFIXES]
            if not inside:
                raise UsageError(f"folder {text} holds no config ({' or '.join(SUFFIXES)})")
            found.update((str(p), None) for p in sorted(inside))
        elif kind == "other":
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


class Entries:
    """The entries of one config file, `FILE::NAME` or `-`, made anew at each iteration.

    A sweep of thousands is never held at once. A fault of the whole file is one entry that carries
    the error; a name that the file does not hold raises UsageError, here and not while iterating.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._file, self._wanted = split_selector(text)
        self._fault: Entry | None = None
        try:
            self._cases = _read_file(self._file)
        except CnncliError as error:
            stem = Path(self._file).stem if self._file != STDIN else "stdin"
            place = error.at(self._file).where or self._file
            name = self._wanted or stem
            self._fault = Entry(name=name, file=self._file, where=place, entries={}, error=error)
            return
        if self._wanted is not None and next(iter(self), None) is None:
            names = [entry.name for entry in self._cases.entries(None)]
            hint = nearest(self._wanted, names) or f"; it holds {', '.join(names[:10])}"
            raise UsageError(f"{self._file} holds no case named {self._wanted!r}{hint}")

    def __iter__(self) -> Iterator[Entry]:
        if self._fault is not None:
            yield self._fault
        else:
            yield from self._cases.entries(self._wanted)


def read_entries(text: str) -> list[Entry]:
    """Return the entries of one config file, `FILE::NAME` or `-`, as `Entries` makes them."""
    return list(Entries(text))


def read_settings(texts: Iterable[str]) -> list[tuple[str, Node]]:
    """Return the keys and values of `--set KEY=VALUE`; raise UsageError."""
    settings: dict[str, Node] = {}
    for text in texts:
        key, value = read_setting(text, SETTABLE_KEYS, _MAPPINGS)
        if key in settings:
            raise UsageError(f"{key} is set twice", "--set")
        settings[key] = value
    return list(settings.items())


def read_one(text: str) -> Entry:
    """Return the one entry of `FILE` or `FILE::NAME`; raise UsageError where there are several."""
    entries = read_entries(text)
    if len(entries) > 1:
        names = ", ".join(entry.name for entry in entries[:10])
        raise UsageError(f"{text} holds {len(entries)} cases: choose one as {text}::NAME ({names})")
    return entries[0]


@dataclass(frozen=True, kw_only=True)
class _Cases:
    """The cases of a file as written; a file without `cases` is one, named by its stem."""

    file: str
    stem: str
    defaults: dict[str, Node]
    nodes: list[Node]
    single: bool

    def entries(self, wanted: str | None) -> Iterator[Entry]:
        """Yield every entry, or those of one name."""
        seen: dict[str, str] = {}
        sweeps: dict[str, Sweep] = {}
        for number, node in enumerate(self.nodes, 1):
            name = self.stem if self.single else f"{self.stem}#{number}"
            entry = _entry(self.defaults, node, name=name, file=self.file)
            if entry.error is None:
                entry = self._judge_name(entry, seen, sweeps)
            seen.setdefault(entry.name, entry.where)
            if entry.error is None and "sweep" in entry.entries:
                yield from self._expand(entry, seen, sweeps, wanted)
            elif wanted is None or entry.name == wanted:
                yield entry

    def _judge_name(self, entry: Entry, seen: dict[str, str], sweeps: dict[str, Sweep]) -> Entry:
        first = seen.get(entry.name)
        for base, sweep in sweeps.items():
            if entry.name.startswith(f"{base}/") and entry.name in sweep.names(base):
                first = seen[base]
        if first is None:
            return entry
        place = entry.entries["name"].where if "name" in entry.entries else entry.where
        first = first.removeprefix(f"{self.file}:")
        error = ConfigError(f"name {entry.name!r} stands twice (first at {first})", place)
        return replace(entry, error=error)

    def _expand(
        self, entry: Entry, seen: dict[str, str], sweeps: dict[str, Sweep], wanted: str | None
    ) -> Iterator[Entry]:
        from cnncli.cases.sweep import read_sweep

        entries = dict(entry.entries)
        node = entries.pop("sweep")
        try:
            sweep = read_sweep(node, SETTABLE_KEYS, _MAPPINGS)
            next(sweep.cases(entries))  # where a key cannot be set, no case of them can be made
        except CnncliError as error:
            if wanted is None or wanted == entry.name or wanted.startswith(f"{entry.name}/"):
                yield replace(entry, error=error, name=wanted or entry.name)
            return
        sweeps[entry.name] = sweep
        if wanted is not None and not wanted.startswith(f"{entry.name}/"):
            return
        for name, case in zip(sweep.names(entry.name), sweep.cases(entries), strict=True):
            if wanted is not None and name != wanted:
                continue
            twice: CnncliError | None = None
            if name in seen:
                first = seen[name].removeprefix(f"{self.file}:")
                twice = ConfigError(f"name {name!r} stands twice (first at {first})", node.where)
            yield replace(entry, name=name, entries=case, error=twice, swept=sweep.keys)


def _read_file(file: str) -> _Cases:
    from cnncli.cases.yamltext import (
        MAX_BYTES,
        looks_like_json_lines,
        read_json_lines,
        read_text,
        read_yaml,
    )

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
        return _Cases(file=file, stem=stem, defaults={}, nodes=nodes, single=False)
    root = read_yaml(text, file, base)
    entries = root.mapping("a config")
    if "cases" not in entries:
        if "defaults" in entries:
            raise ConfigError("defaults goes with cases", entries["defaults"].key_where)
        return _Cases(file=file, stem=stem, defaults={}, nodes=[root], single=True)
    refuse_unknown(entries, ("defaults", "cases"), "a config with cases")
    defaults = entries["defaults"].mapping("defaults") if "defaults" in entries else {}
    refuse_unknown(defaults, [k for k in FILE_KEYS if k != "name"], "defaults")
    nodes = entries["cases"].sequence("cases")
    if not nodes:
        raise entries["cases"].fail("cases is an empty list")
    return _Cases(file=file, stem=stem, defaults=defaults, nodes=nodes, single=False)


def _entry(defaults: dict[str, Node], node: Node, *, name: str, file: str) -> Entry:
    skip = False
    try:
        written = node.mapping("a case")
        refuse_unknown(written, FILE_KEYS, "a case")
        if "name" in written:
            name = _read_name(written["name"])
        entries, error = merge(defaults, written), None
        if "skip_invalid" in entries:
            skip = entries.pop("skip_invalid").boolean("skip_invalid")
    except CnncliError as fault:
        entries, error = {}, fault
    return Entry(
        name=name, file=file, where=node.where, entries=entries, error=error, skip_invalid=skip
    )


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
