"""What a layer command or gradcheck was asked, as a case and as where its result goes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.cases.assertions import Tolerance, parse_tolerance
from cnncli.cases.case import Case
from cnncli.cases.config import Entry, read_one
from cnncli.cases.flags import expectations_from, layer_entries, placed, tensors_from
from cnncli.cases.node import Node
from cnncli.cli.threads import use_threads
from cnncli.errors import ConfigError, UsageError
from cnncli.layers.base import Layer
from cnncli.runs.memory import parse_size
from cnncli.runs.one import RunOptions
from cnncli.runs.result import Result

STDOUT = "-"


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a result goes."""

    json: bool
    quiet: bool
    values: bool | None
    out: str | None = None
    save: str | None = None

    @classmethod
    def take(cls, values: dict[str, Any]) -> Output:
        """Take the output flags out of a command's values; raise UsageError where two collide."""
        output = cls(
            json=bool(values.pop("json", None)),
            quiet=bool(values.pop("quiet", None)),
            values=values.pop("values", None),
            out=values.pop("out", None),
            save=values.pop("save", None),
        )
        if output.out == STDOUT and output.json:
            raise UsageError("--json and --out - both want standard output")
        if output.quiet and output.json:
            raise UsageError("--json prints, --quiet forbids it")
        return output

    @property
    def silent(self) -> bool:
        """Tell whether nothing is to be printed on standard output."""
        return self.quiet or self.out == STDOUT


def take_run_options(values: dict[str, Any]) -> RunOptions:
    """Take the flags that bound a run out of a command's values, and set its threads."""
    use_threads(values.pop("threads", None))
    size = values.pop("max_memory", None)
    return RunOptions(max_memory=None if size is None else parse_size(size))


def layer_entry(layer: Layer, values: dict[str, Any], **more: Node) -> tuple[Entry, Tolerance]:
    """Return a command's case, flags over config, and the tolerance that flags give.

    `more` are further entries of the case, such as gradcheck's. Raises CnncliError.
    """
    config, tensors = values.pop("config"), values.pop("tensors")
    expect = values.pop("expect") or []
    keys = ("rtol", "atol", "equal_nan")
    tolerance = parse_tolerance(placed({key: values.pop(key) for key in keys}))
    entries = layer_entries(layer, values)
    if tensors is not None:
        below = Node(tensors_from(tensors, layer), "--tensors")
        above = entries["tensors"].mapping("tensors") if "tensors" in entries else {}
        entries["tensors"] = Node(below.mapping("tensors") | above, "the command line")
    if expect:
        entries["expect"] = Node(expectations_from(expect, layer), "--expect")
    entries |= more
    if config is None:
        base = Entry(name=layer.name, file=None, where="the command line", entries={})
        return base.with_flags(
            {"layer": Node(layer.name, "the command line"), **entries}
        ), tolerance
    base = read_one(config)
    if base.error is not None:
        raise base.error
    written = base.entries.get("layer")
    if written is not None and written.value != layer.name:
        raise ConfigError(
            f"this case is of layer {written.value}, but the command is {layer.name}", written.where
        )
    return base.with_flags({"layer": Node(layer.name, base.where), **entries}), tolerance


def command_line() -> str:
    """Return this call as it can be pasted into a shell."""
    return shlex.join(["cnncli", *sys.argv[1:]])


def build(entry: Entry, tolerance: Tolerance) -> Case:
    """Return the case of a command; its reproduce line is the command itself."""
    return entry.build(tolerance, reproduce=command_line())


def deliver(results: Sequence[Result], output: Output) -> None:
    """Write what was asked for: files first, then JSON or tables on standard output."""
    if output.out is not None:
        _write_y(results[0], output.out)
    if output.save is not None:
        _save(results, Path(output.save))
    if output.json:
        from cnncli.runs.record import record_text

        for result in results:
            print(record_text(result, values=bool(output.values)))
    elif not output.silent:
        from cnncli.report.console import make_console
        from cnncli.report.tables import show_result, show_results

        console = make_console()
        if len(results) == 1:
            shown = {None: "auto", True: "all", False: "none"}[output.values]
            show_result(console, results[0], shown)  # type: ignore[arg-type]  # one of three words
        else:
            show_results(console, results)


def _write_y(result: Result, out: str) -> None:
    from cnncli.runs.files import whole_file, write_array

    y = result.tensors["y"].array
    if out == STDOUT:
        write_array(sys.stdout.buffer, y)
        sys.stdout.buffer.flush()
    else:
        with whole_file(Path(out), "--out") as stream:
            write_array(stream, y)


def _save(results: Sequence[Result], folder: Path) -> None:
    from cnncli.runs.files import save_result

    if len(results) == 1:
        save_result(results[0], folder)
    else:
        for result in results:
            save_result(result, folder / result.name)
