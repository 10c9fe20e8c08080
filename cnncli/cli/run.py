"""`cnncli run PATH...`: many cases, from config files and folders of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cnncli.cli.completion import complete_config, when_asked
from cnncli.cli.flags import Flag, GroupedCommand, switch_flag, text_flag, with_flags
from cnncli.cli.layerflags import COMPUTATION, OUTPUT, against_flag, memory_flag
from cnncli.cli.submissions import run_submissions, submission_flags, takes_submissions
from cnncli.cli.threads import threads_flag

SELECTION = "Selection"


def run_flags() -> list[Flag]:
    """Return the flags of `run`."""
    return [
        text_flag("match", "Run the cases whose name holds TEXT.", SELECTION, "TEXT"),
        switch_flag("list", "Show what would run, and all errors; run nothing.", SELECTION),
        switch_flag("fail_fast", "Stop after the first case that is not well.", SELECTION),
        against_flag(),
        memory_flag(),
        threads_flag(COMPUTATION),
        text_flag("results", "Write a line of JSON a case, as each ends.", OUTPUT, "FILE.jsonl"),
        text_flag(
            "save", "Write every tensor as DIR/CASE/NAME.npy, and result.json.", OUTPUT, "DIR"
        ),
        text_flag(
            "expect", "What --save wrote: every tensor in DIR/CASE must be equal.", OUTPUT, "DIR"
        ),
        switch_flag("values", "Put the elements of outputs into the JSON.", OUTPUT),
        switch_flag("json", "Print a line of JSON a case in place of tables.", OUTPUT),
        switch_flag("quiet", "Print nothing but errors.", OUTPUT),
        *submission_flags(),
    ]


def add_run_command(app: typer.Typer, panel: str) -> None:
    """Add `run`."""
    command = with_flags(run_flags(), _run, "run")
    paths = Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Config files, folders of them, FILE::NAME, or - for standard input.",
            autocompletion=when_asked(complete_config),
        ),
    ]
    command.__signature__ = _with_first(command, "paths", paths)  # type: ignore[attr-defined]  # what inspect.signature reads
    help = "Run the cases of config files and folders."
    app.command("run", cls=GroupedCommand, help=help, rich_help_panel=panel)(command)


def _with_first(command: Any, name: str, annotation: Any) -> Any:
    import inspect

    first = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    signature = inspect.signature(command)
    return signature.replace(parameters=[first, *signature.parameters.values()])


def _run(values: dict[str, Any]) -> None:
    from cnncli.cli.batch import BatchOutput, list_cases, run_batch, select
    from cnncli.cli.call import take_run_options

    options = take_run_options(values)
    entries = select(values["paths"], values["match"])
    if values["list"]:
        raise typer.Exit(list_cases(entries, options))
    if takes_submissions(values):
        raise typer.Exit(run_submissions(entries, options, values))
    output = BatchOutput(
        json=bool(values["json"]),
        quiet=bool(values["quiet"]),
        values=bool(values["values"]),
        results=values["results"],
        save=values["save"],
        expect=values["expect"],
        against=values["against"],
    )
    raise typer.Exit(run_batch(entries, options, output, fail_fast=bool(values["fail_fast"])))
