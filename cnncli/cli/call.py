"""What a layer command or gradcheck was asked, as a case and as where its result goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.cases.assertions import Tolerance, parse_tolerance
from cnncli.cases.case import Case
from cnncli.cases.config import Entry, read_one
from cnncli.cases.flags import (
    expectations_from,
    flag_name,
    layer_entries,
    placed,
    tensors_from,
    unjudged_text,
)
from cnncli.cases.node import Node
from cnncli.cases.paths import is_folder
from cnncli.cli.pictures import Pictures
from cnncli.cli.threads import use_threads
from cnncli.cli.typed import command_line
from cnncli.errors import CnncliError, ConfigError, UsageError
from cnncli.layers.base import Layer
from cnncli.runs.files import refuse_unwritable, refuse_unwritable_folder
from cnncli.runs.memory import parse_size
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result

if TYPE_CHECKING:
    from cnncli.report.tables import Values

STDOUT = "-"
IN_JSON, IN_TABLE = 100, 600
"""Bytes that an element takes at most while it is printed, as JSON and in a table (measured)."""


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
        """Take the output flags out of a command's values.

        Raises UsageError where two collide, or nothing can be written where one says: that is known
        before anything is computed.
        """
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
        if output.out is not None and output.out != STDOUT:
            refuse_unwritable(_target(output.out)[0], "--out")
        if output.save is not None:
            refuse_unwritable_folder(Path(output.save), "--save")
        return output

    @property
    def shown_bytes(self) -> int:
        """What it takes to show an element of an output that is shown whole."""
        if not self.values or self.silent:
            return 0
        return IN_JSON if self.json else IN_TABLE

    @property
    def silent(self) -> bool:
        """Tell whether nothing is to be printed on standard output."""
        return self.quiet or self.out == STDOUT


def take_run_options(
    values: dict[str, Any], *, quiet: bool = False, shown_bytes: int = 0
) -> RunOptions:
    """Take the flags that bound a run out of a command's values, and set its threads."""
    from cnncli.report.progress import ProgressBar

    use_threads(values.pop("threads", None))
    size = values.pop("max_memory", None)
    return RunOptions(
        max_memory=None if size is None else parse_size(size),
        progress=None if quiet else ProgressBar(),
        explain=tuple(values.pop("explain", None) or ()),
        run_all=bool(values.get("run_all")),
        shown_bytes=shown_bytes,
    )


def refuse_unseen(output: Output, pictures: Pictures, explain: Sequence[str] = ()) -> None:
    """Raise UsageError for a flag that asks to see what no other flag lets be shown."""
    if pictures.report is not None or not (output.silent or output.json):
        return
    hiding = "--json" if output.json else "--quiet" if output.quiet else "--out -"
    asked = {
        "--plane": bool(pictures.plane),
        "--show": bool(pictures.show),
        "--values": bool(output.values) and not output.json,
        "--explain": bool(explain) and not output.json and output.save is None,
    }
    for flag, is_asked in asked.items():
        if is_asked:
            raise UsageError(f"has no use with {hiding}, which shows none of it", flag)


def imply_backward(layer: Layer, values: dict[str, Any], options: RunOptions) -> None:
    """Turn the backward pass on where an element of a gradient is to be explained."""
    if values["backward"] is None and options.explain:
        from cnncli.runs.explaining import wants_gradient

        if wants_gradient(options.explain, layer):
            values["backward"] = True


@dataclass(frozen=True)
class Call:
    """The case that a command is about: flags over config."""

    entry: Entry
    tolerance: Tolerance
    """What flags give."""
    unjudged: str | None
    """What is said of results that lie beside the tensors and that nothing judges."""


def layer_call(layer: Layer, values: dict[str, Any], *, quiet: bool = False, **more: Node) -> Call:
    """Take a layer's case out of a command's values.

    `more` are further entries of the case, such as gradcheck's. What a folder of expected tensors
    lacks is said, unless `quiet`. Raises CnncliError.
    """
    config, tensors = values.pop("config"), values.pop("tensors")
    expect = values.pop("expect") or []
    keys = ("rtol", "atol", "equal_nan", "tolerance")
    tolerance = parse_tolerance(placed({key: values.pop(key, None) for key in keys}))
    calls, run_all = values.pop("call", None), values.pop("run_all", None)
    entries = layer_entries(layer, values)
    if calls:
        entries["call"] = _calls(calls)
    if tensors is not None:
        below = Node(tensors_from(tensors, layer), "--tensors")
        above = entries["tensors"].mapping("tensors") if "tensors" in entries else {}
        entries["tensors"] = Node(below.mapping("tensors") | above, "the command line")
    if expect:
        entries["expect"] = Node(expectations_from(expect, layer), "--expect")
    entries |= more
    if config is None:
        base = Entry(name=layer.name, file=None, where="the command line", entries={})
    else:
        base = read_one(config)
    if base.error is not None:
        raise base.error
    written = base.entries.get("layer")
    if written is not None and written.value != layer.name:
        raise ConfigError(
            f"this case is of layer {written.value}, but the command is {layer.name}", written.where
        )
    options = base.entries.get("gradcheck")
    if "gradcheck" in entries and options is not None and isinstance(options.value, dict):
        given = entries["gradcheck"].mapping("gradcheck")
        entries["gradcheck"] = Node(options.value | given, options.where)
    flags = {"layer": Node(layer.name, base.where), **entries}
    entry = _judging(base.with_flags(flags), tolerance, calls, run_all)
    if not quiet:
        _tell_not_handed_in(base, flags, expect)
    unjudged = None
    if tensors is not None:
        expected = entry.entries["expect"].mapping("expect") if "expect" in entry.entries else {}
        unjudged = unjudged_text(tensors, layer, expected)
    return Call(entry, tolerance, unjudged)


def _tell_not_handed_in(base: Entry, flags: Mapping[str, Node], expect: Sequence[str]) -> None:
    """Say what a folder of expected tensors lacks: what is not there is not judged."""
    from cnncli.cases.handedin import not_handed_in
    from cnncli.report.visible import say

    folders = [text for text in expect if is_folder(Path(text))]
    if not folders:
        return
    kept = {key: node for key, node in flags.items() if key not in ("expect", "convention")}
    try:
        case = base.with_flags(kept).build()
    except CnncliError:
        return  # told when the case itself is built
    for folder in folders:
        names = not_handed_in(case, folder)
        if names:
            say(f"note: not handed in, so not judged: {', '.join(names)} (--expect {folder})")


def _calls(texts: Sequence[str]) -> Node:
    """Return `--call "dx, dw=backward(dy, x, w)"`, repeated, as a case's `call`."""
    calls = {}
    for text in texts:
        names, separator, call = text.partition("=")
        if not separator or "(" in names.replace("pad(", ""):
            raise UsageError(f'must be as in "y=conv(x, w, stride)", not {text!r}', "--call")
        calls[names.strip()] = Node(call.strip(), "--call", "--call")
    return Node(calls, "--call", "--call")


def _judging(
    entry: Entry, tolerance: Tolerance, calls: Sequence[str] | None, run_all: bool | None
) -> Entry:
    """Return the entry; raise UsageError for a flag on how it is judged that has nothing to judge.

    That is a tolerance where nothing is judged, and what is of people's files where none is named.
    """
    if tolerance != Tolerance() and entry.entries.keys().isdisjoint(
        ("expect", "gradcheck", "against")
    ):
        given = [f.name for f in fields(tolerance) if getattr(tolerance, f.name) is not None]
        flag = flag_name("tolerance" if given[0] == "derived" else given[0])
        raise UsageError("does not apply where nothing is expected", flag)
    flags = {"--call": bool(calls), "--run-all": bool(run_all)}
    for flag in (flag for flag, is_given in flags.items() if is_given):
        if not _names_files(entry):
            raise UsageError("goes with --against FILE.py or a folder, whose functions run", flag)
    return entry


def _names_files(entry: Entry) -> bool:
    """Tell whether people's files are among what a case is judged against."""
    from cnncli.cases.against import parse_against
    from cnncli.implementations.names import names_files

    if "against" not in entry.entries:
        return False
    named = parse_against(entry.entries["against"])
    return any(names_files(asked.text, asked.base) for asked in named)


def build(entry: Entry, tolerance: Tolerance) -> Case:
    """Return the case of a command; its reproduce line is the command itself."""
    return entry.build(tolerance, reproduce=command_line())


def deliver(
    results: Sequence[Result],
    output: Output,
    values: Values = "auto",
    covers: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
    unjudged: str | None = None,
) -> None:
    """Write what was asked for: files first, then JSON or tables on standard output.

    `values` is how much of the tensors a table shows where no flag says so; `covers` says of each
    built-in probe what it covers; `unjudged`, a call's own, is said last.
    """
    if output.values is not None:
        values = "all" if output.values else "none"

    def view(console: Any) -> None:
        show(console)
        if unjudged is not None:
            from cnncli.report.style import make_text

            console.print(make_text(unjudged, "yellow"))

    def show(console: Any) -> None:
        from cnncli.report.tables import show_result, show_results

        plane = pictures.plane if pictures is not None and pictures.show else None
        if len(results) > 1 and len({result.convention for result in results}) == len(results):
            from cnncli.report.sidebyside import show_conventions

            show_conventions(console, results)
        if len(results) == 1:
            if len(results[0].theirs) > 1:
                from cnncli.report.sidebyside import show_implementations

                show_implementations(console, results[0])
            show_result(console, results[0], values, plane)
            return
        if plane is not None:
            from cnncli.report.planes import show_planes

            for result in (one for one in results if one.tensors):
                show_planes(console, result, plane, headed=True)
        show_results(console, results, covers)

    if pictures is not None and pictures.show:
        from cnncli.report.planes import PLANES

        for result in (one for one in results if one.tensors):
            tensors = {n: t for n, t in result.tensors.items() if n in PLANES}
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
            pictures.judge_plane({n: t.array for n, t in tensors.items()}, shapes)
    if output.out is not None:
        if len(results) > 1:
            raise UsageError(f"one file cannot hold the y of {len(results)} results", "--out")
        _write_y(results[0], output.out)
    if output.save is not None:
        _save(results, Path(output.save))
    if pictures is not None:
        pictures.save(view)
    if output.json:
        from cnncli.runs.result import by_implementation

        for result in (part for whole in results for part in by_implementation(whole)):
            print(result.text(values=bool(output.values)))
        if unjudged is not None:
            from cnncli.report.visible import say

            say(f"note: {unjudged}")
    elif not output.silent:
        from cnncli.report.console import make_console

        view(make_console())


def take_config_path(values: dict[str, Any]) -> Path | None:
    """Take where this call is to be written as a config; raise UsageError where it cannot be."""
    text = values.pop("save_config")
    if text is None:
        return None
    refuse_unwritable(Path(text), "--save-config")
    return Path(text)


def save_config(path: Path | None, entries: Sequence[tuple[Entry, Case]]) -> None:
    """Write the cases of this call as a config, where one is wanted; raise UsageError."""
    if path is None:
        return
    from cnncli.cases.saveconfig import config_text
    from cnncli.runs.files import whole_file

    text = config_text(entries, path.parent, command_line())
    with whole_file(path, "--save-config") as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def _write_y(result: Result, out: str) -> None:
    from cnncli.runs.files import whole_file, write_array, write_raw

    y = result.tensors["y"].outside
    if out == STDOUT:
        write_array(sys.stdout.buffer, y)
        sys.stdout.buffer.flush()
    else:
        path, dtype = _target(out)
        with whole_file(path, "--out") as stream:
            if dtype is None:
                write_array(stream, y)
            else:
                write_raw(stream, y, dtype)


def _target(out: str) -> tuple[Path, str | None]:
    """Return the file of `--out` and the type of its raw numbers, None for .npy."""
    from cnncli.cases.sourcetext import raw_target

    try:
        raw = raw_target(out)
    except CnncliError as error:
        raise error.at("--out") from None
    return (Path(out), None) if raw is None else (Path(raw[0]), raw[1])


def _save(results: Sequence[Result], folder: Path) -> None:
    from cnncli.runs.files import save_result

    if len(results) == 1:
        save_result(results[0], folder)
    else:
        for result in (one for one in results if one.tensors):
            save_result(result, folder / result.name)
