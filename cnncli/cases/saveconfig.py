"""A call written down: its cases as a commented config that runs to the same results.

What is written comes from the typed case, so that a flag's text, a config's list and a default
under it all come out the same way; what the case does not know by type is written as it was read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cnncli.cases.assertions import CHANNEL_STATISTICS, STATISTICS, TOLERANCES, Assertion
from cnncli.cases.case import SETTING_KEYS, Case, GradcheckOptions, Settings
from cnncli.cases.config import Entry
from cnncli.cases.node import Node
from cnncli.cases.sources import NpyFile, NpzEntry, Random, RawFile, Source, StandardInput, Values
from cnncli.layers.parameters import Parameter, parameters

_TYPED = ("name", "layer", "params", "tensors", "expect", "gradcheck", *SETTING_KEYS)

Line = tuple[str, str, str]
"""A key, its value as YAML, and a comment; an empty key is a comment alone."""


def config_text(entries: Sequence[tuple[Entry, Case]], folder: Path, command: str) -> str:
    """Return the config of some cases, to stand in `folder`; `command` is what wrote it."""
    lines = [f"# {_printable(command)}", "# Run it again with: cnncli run THIS_FILE"]
    if len(entries) == 1:
        return "\n".join([*lines, *_case_lines(*entries[0], folder)]) + "\n"
    lines.append("cases:")
    for entry, case in entries:
        first, *rest = _case_lines(entry, case, folder)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return "\n".join(lines) + "\n"


def _case_lines(entry: Entry, case: Case, folder: Path) -> Iterator[str]:
    yield f"name: {_text(case.name)}"
    yield f"layer: {case.layer.name}  # {case.layer.summary}"
    yield from _settings_lines(entry, case)
    yield from _block("params", _params(case))
    helps = {tensor.name: tensor.help for tensor in case.layer.inputs}
    helps["dy"] = "Upstream gradient, of y's shape."
    sources = [
        (name, _flow(_source(source, folder)), helps[name]) for name, source in case.sources.items()
    ]
    yield from _block("tensors", sources)
    if case.expect:
        yield "expect:"
        for name, assertions in case.expect.items():
            yield f"  {name}:"
            for assertion in assertions:
                yield f"    - {_flow(_assertion(assertion, folder))}"
    if case.gradcheck is not None:
        yield from _gradcheck_lines(case.gradcheck)
    for key, node in entry.entries.items():
        if key not in _TYPED:
            yield f"{key}: {_flow(node.data())}"


def _settings_lines(entry: Entry, case: Case) -> Iterator[str]:
    for declared in parameters(Settings):
        if declared.name in entry.entries:
            value = _flow(getattr(case.settings, declared.name))
            yield f"{declared.name}: {value}  # {_help(declared)}"


def _params(case: Case) -> list[Line]:
    """Return the parameters that were given; the others are shown as comments."""
    lines = []
    for declared in parameters(case.layer.Params):
        if declared.name in case.given:
            value = _flow(getattr(case.params, declared.name))
            lines.append((declared.name, value, _help(declared)))
    for declared in parameters(case.layer.Params):
        if declared.name not in case.given:
            default = _printable(declared.default_text())
            lines.append(("", "", f"{declared.name}: {default}  # {_help(declared)}"))
    return lines


def _gradcheck_lines(options: GradcheckOptions) -> Iterator[str]:
    lines = [
        (declared.name, _flow(getattr(options, declared.name)), _help(declared))
        for declared in parameters(GradcheckOptions)
        if getattr(options, declared.name) != declared.default
    ]
    if lines:
        yield from _block("gradcheck", lines)
    else:
        yield "gradcheck: true  # Judge every gradient by a numeric one."


def _block(key: str, lines: Sequence[Line]) -> Iterator[str]:
    if any(name for name, _, _ in lines):
        yield f"{key}:"
    elif lines:
        yield f"{key}: {{}}"
    for name, value, comment in lines:
        yield f"  {name}: {value}  # {comment}" if name else f"  # {comment}"


def _help(declared: Parameter) -> str:
    """Return what a parameter is, without the ways to write it."""
    return _printable(declared.help.split(";")[0].split(": ")[0].rstrip("."))


def _source(source: Source, folder: Path) -> object:
    """Return a source as config data; a file's path relative to the config's folder."""
    data: dict[str, object]
    if isinstance(source, Random):
        return source.text
    if isinstance(source, StandardInput):
        data = {"npy": "-"}
    elif isinstance(source, Values):
        data = {"values": _nested(source)}
    elif isinstance(source, NpyFile):
        data = {"npy": _relative(source.path, folder)}
    elif isinstance(source, NpzEntry):
        data = {"npz": _relative(source.path, folder)}
        data |= {} if source.key is None else {"key": source.key}
    else:
        assert isinstance(source, RawFile)
        data = {"bin": _relative(source.path, folder), "dtype": source.dtype}
        data["shape"] = list(source.shape)
    if source.zero_extend is not None:
        data["zero_extend"] = list(source.zero_extend)
    return data


def _relative(path: Path, folder: Path) -> str:
    """Return a path as the config writes it; absolute where another drive leaves no other way."""
    # Folders are resolved, so that `..` means the same on the way back; the file's own name is not.
    real = os.path.join(os.path.realpath(path.parent), path.name)
    try:
        text = os.path.relpath(real, os.path.realpath(folder))
    except ValueError:
        return real
    return "./-" if text == "-" else text


def _nested(source: Values) -> object:
    """Return the numbers as nested lists; what is not finite as the words that JSON uses."""
    items: list[Any] = [
        number if math.isfinite(number) else _word(number) for number in source.numbers
    ]
    for size in reversed(source.shape):
        items = [items[start : start + size] for start in range(0, len(items), size)]
    return items[0]


def _word(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _assertion(assertion: Assertion, folder: Path) -> dict[str, object]:
    kind, source = assertion.kind, assertion.source
    data: dict[str, object]
    if kind == "shape":
        return {"shape": list(assertion.shape)}
    if kind in STATISTICS:
        data = {kind: assertion.number}
    elif kind == "sum_squared_error":
        assert source is not None
        return {kind: {"npy": _source(source, folder), "below": assertion.number}}
    elif kind == "values" or kind in CHANNEL_STATISTICS:
        assert isinstance(source, Values)
        data = {kind: _nested(source)}
        if assertion.index:
            data["at"] = [_step(step) for step in assertion.index]
    else:
        assert source is not None
        data = {kind: _source(source, folder)}
    given = assertion.tolerance
    tolerance = {"rtol": given.rtol, "atol": given.atol, "equal_nan": given.equal_nan}
    data |= {name: value for name, value in tolerance.items() if value is not None}
    if given.derived:
        data["tolerance"] = "derived"
    return data


def _step(step: int | slice) -> int | str:
    if isinstance(step, int):
        return step
    start, stop = ("" if part is None else str(part) for part in (step.start, step.stop))
    return f"{start}:{stop}"


def _flow(data: object) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(data, Node):
        data = data.data()
    if data is None:
        return "null"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, float):
        if math.isfinite(data):
            return repr(data)
        return ".nan" if math.isnan(data) else ".inf" if data > 0 else "-.inf"
    if isinstance(data, int):
        return str(data)
    if isinstance(data, dict):
        return "{" + ", ".join(f"{_text(str(k))}: {_flow(v)}" for k, v in data.items()) + "}"
    if isinstance(data, list | tuple):
        return "[" + ", ".join(_flow(item) for item in data) + "]"
    return _text(str(data))


_PLAIN = {field.name for field in fields(Settings)} | {
    *("npy", "npz", "key", "bin", "dtype", "shape", "values", "random", "zero_extend", "at"),
    *(*STATISTICS, *CHANNEL_STATISTICS, "sum_squared_error", "below", *TOLERANCES),
}
"""Words that need no quotes."""


def _text(text: str) -> str:
    return text if text in _PLAIN else '"' + _escaped(text, '"\\') + '"'


def _printable(text: str) -> str:
    return _escaped(text, "")


def _escaped(text: str, quoted: str) -> str:
    """Return text on one line: what is not printable, or in `quoted`, as YAML's escapes."""
    parts = []
    for character in text:
        code = ord(character)
        if character in quoted:
            parts.append("\\" + character)
        elif character.isprintable():
            parts.append(character)
        elif code < 0x100:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(parts)
