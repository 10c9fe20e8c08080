"""`cnncli bench [PATH...]`: how fast, against the machine's limit and against others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.flags import Flag, GroupedCommand, switch_flag, text_flag, with_flags
from cnncli.cli.layerflags import OUTPUT
from cnncli.cli.threads import parse_threads
from cnncli.errors import UsageError
from cnncli.numerals import number_of, short, whole_of

if TYPE_CHECKING:
    from cnncli.cases.case import Case
    from cnncli.implementations.library import Direction
    from cnncli.runs.bench import BenchOptions

TIMING = "Timing"
WORKLOAD = "What is timed"
DTYPES = ("float64", "float32")
MOST_ROUNDS = 1_000_000


def bench_flags() -> list[Flag]:
    """Return the flags of `bench`."""
    return [
        text_flag("match", "Time the cases whose name holds TEXT.", WORKLOAD, "TEXT"),
        text_flag(
            "direction",
            "A pass, both one by one, or a step: both in one call. [default: both]",
            WORKLOAD,
            "[forward|backward|both|step]",
        ),
        text_flag(
            "dtype",
            "float64, float32 or both. [default: both; with PATH: the case's own]",
            WORKLOAD,
            "[float64|float32|both]",
        ),
        switch_flag("startup", "Time whole processes in place of layers.", WORKLOAD),
        text_flag(
            "against",
            "Time torch, keras, onnx, loops or tensordot too; repeatable.",
            TIMING,
            "NAME",
            many=True,
        ),
        text_flag(
            "threads", "Threads of every contender; 1,2 times both. [default: 1]", TIMING, "N"
        ),
        text_flag("repeat", "Rounds in which each contender has a turn. [default: 7]", TIMING, "K"),
        text_flag("min_time", "Seconds of calls in a turn, at least. [default: 0.02]", TIMING, "S"),
        switch_flag("json", "Print a line of JSON a row, then one a mean.", OUTPUT),
        switch_flag("quiet", "Keep progress and notes off standard error.", OUTPUT),
    ]


def add_bench_command(app: typer.Typer, panel: str) -> None:
    """Add `bench`."""
    import inspect

    command = with_flags(bench_flags(), _bench, "bench")
    paths = Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...]",
            help="Config files, folders of them, or FILE::NAME; left out: known networks' layers.",
        ),
    ]
    first = inspect.Parameter(
        "paths", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=paths
    )
    flags = inspect.signature(command)
    command.__signature__ = flags.replace(parameters=[first, *flags.parameters.values()])  # type: ignore[attr-defined]  # what inspect.signature reads
    help = "Time layers against the machine's limit and other libraries."
    app.command("bench", cls=GroupedCommand, help=help, rich_help_panel=panel)(command)


def _bench(values: dict[str, Any]) -> None:
    repeat = _whole(values["repeat"], 7, "--repeat")
    if values["startup"]:
        _time_startup(values, repeat)
        return
    from cnncli.runs.bench import BenchOptions, judge_contenders

    threads = (values["threads"] or "1").split(",")
    options = BenchOptions(
        directions=_directions(values["direction"]),
        threads=tuple(dict.fromkeys(parse_threads(text) for text in threads)),
        against=judge_contenders(values["against"] or []),
        repeat=repeat,
        min_time=_seconds(values["min_time"], 0.02, "--min-time"),
    )
    _time_layers(_cases(values), options, json=bool(values["json"]), quiet=bool(values["quiet"]))


def _time_layers(cases: list[Case], options: BenchOptions, *, json: bool, quiet: bool) -> None:
    from cnncli.runs.bench import bench, mean_record, means, row_record
    from cnncli.runs.blas import warnings

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    def on_blas(blas: str) -> None:
        say(f"BLAS: {blas}")
        for warning in warnings(blas, os.environ):
            print(f"warning: {warning}", file=sys.stderr, flush=True)

    rows = []
    for row in bench(cases, options, on_blas):
        rows.append(row)
        plural = "s" if row.threads > 1 else ""
        say(f"{row.name}, {row.direction}, {row.dtype}, {row.threads} thread{plural}: done")
        if json:
            _print_json(row_record(row))
    found = means(rows)
    if json:
        for mean in found:
            _print_json(mean_record(mean))
        return
    from cnncli.report.bench import show_rows
    from cnncli.report.console import make_console

    show_rows(make_console(), rows, found)


def _time_startup(values: dict[str, Any], repeat: int) -> None:
    from cnncli.runs.startup import startup

    names = ("paths", "match", "direction", "dtype", "against", "threads", "min_time")
    for name in names:
        if values[name]:
            flag = "PATH" if name == "paths" else f"--{name.replace('_', '-')}"
            raise UsageError("does not apply to --startup, which times whole processes", flag)
    rows = list(startup(repeat))
    if values["json"]:
        for row in rows:
            _print_json(row.record())
        return
    from cnncli.report.bench import show_startup
    from cnncli.report.console import make_console

    show_startup(make_console(), rows)


def _cases(values: dict[str, Any]) -> list[Case]:
    """Return the cases to time; raise CnncliError at the place of any fault."""
    from cnncli.runs.bench import with_dtype
    from cnncli.runs.benchcases import table_cases

    match = values["match"]
    if values["paths"]:
        from cnncli.cases.selection import Selection

        if "-" in values["paths"]:
            raise UsageError("reads cases from files alone, not from standard input", "PATH")
        chosen = [entry.build() for entry in Selection(values["paths"], match)]
        dtypes: Iterable[str | None] = [None]
        if values["dtype"] is not None:
            dtypes = _choice(values["dtype"], DTYPES, "--dtype")
        return [with_dtype(case, dtype) for dtype in dtypes for case in chosen]
    known = [c for d in _choice(values["dtype"], DTYPES, "--dtype") for c in table_cases(d)]
    cases = [case for case in known if match is None or match in case.name]
    if not cases:
        names = ", ".join(dict.fromkeys(case.name for case in known))
        raise UsageError(f"no case's name holds {match!r}; there are {names}", "--match")
    return cases


def _directions(text: str | None) -> tuple[Direction, ...]:
    from cnncli.implementations.library import DIRECTIONS

    if text is None or text == "both":
        return ("forward", "backward")
    for direction in DIRECTIONS:
        if text == direction:
            return (direction,)
    raise UsageError(f"must be {', '.join(DIRECTIONS)} or both, not {text!r}", "--direction")


def _choice(text: str | None, known: tuple[str, ...], place: str) -> tuple[str, ...]:
    if text is None or text == "both":
        return known
    if text not in known:
        raise UsageError(f"must be {', '.join(known)} or both, not {text!r}", place)
    return (text,)


def _whole(text: str | None, default: int, place: str) -> int:
    if text is None:
        return default
    number = whole_of(text)
    if number is None or not 1 <= number <= MOST_ROUNDS:
        raise UsageError(
            f"must be a whole number from 1 to {MOST_ROUNDS}, not {short(text)}", place
        )
    return number


def _seconds(text: str | None, default: float, place: str) -> float:
    seconds = default if text is None else number_of(text)
    if seconds is None or not 0 <= seconds <= 3600:
        raise UsageError(f"must be seconds from 0 to 3600, not {short(text)}", place)
    return seconds


def _print_json(record: dict[str, Any]) -> None:
    print(json.dumps(record, allow_nan=False), flush=True)
