"""`cnncli run PATH...`: many cases, from config files and folders of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cnncli.cli.completion import complete_config, when_asked
from cnncli.cli.flags import Flag, GroupedCommand, switch_flag, text_flag, with_flags
from cnncli.cli.layerflags import OUTPUT, against_flag, memory_flag

SELECTION = "Selection"
RUNNING = "Running"
PEOPLE = "Submissions (with --against FILE.py, FILE.ipynb, a folder or a glob of them)"
NOT_WITH_LIST = (
    *("jobs", "timeout", "scheduler", "fail_fast", "results", "resume", "junit", "save", "values"),
    "quiet",
)


def run_flags() -> list[Flag]:
    """Return the flags of `run`."""
    return [
        text_flag("match", "Run the cases whose name holds TEXT.", SELECTION, "TEXT"),
        switch_flag("list", "Show what would run, and all errors; run nothing.", SELECTION),
        switch_flag("fail_fast", "Stop after the first case that is not well.", SELECTION),
        text_flag("shard", "Run the K-th of N parts of the cases.", SELECTION, "K/N"),
        text_flag(
            "set",
            "Set a value in every case, such as params.stride=2; repeatable.",
            SELECTION,
            "KEY=VALUE",
            many=True,
        ),
        switch_flag("gradcheck", "Check the gradients of every case.", SELECTION),
        against_flag(),
        text_flag("jobs", "Processes to run cases in. [default: 1]", RUNNING, "N"),
        text_flag(
            "timeout", "End a case that takes longer; the others run on.", RUNNING, "SECONDS"
        ),
        text_flag(
            "scheduler",
            "Run the cases on a Dask cluster, such as tcp://host:8786 (needs cnncli[dask]).",
            RUNNING,
            "ADDRESS",
        ),
        memory_flag(),
        text_flag("results", "Write a line of JSON a case, as each ends.", OUTPUT, "FILE.jsonl"),
        switch_flag("resume", "Skip the cases that --results holds already.", OUTPUT),
        text_flag("junit", "Write JUnit XML, for CI servers.", OUTPUT, "FILE.xml"),
        text_flag(
            "save", "Write every tensor as DIR/CASE/NAME.npy, and result.json.", OUTPUT, "DIR"
        ),
        text_flag(
            "expect", "What --save wrote: every tensor in DIR/CASE must be equal.", OUTPUT, "DIR"
        ),
        switch_flag("values", "Put the elements of outputs into the JSON.", OUTPUT),
        switch_flag("json", "Print a line of JSON a case in place of tables.", OUTPUT),
        switch_flag("quiet", "Print nothing but errors.", OUTPUT),
        switch_flag(
            "run_all", "Carry out all of people's files, not their definitions alone.", PEOPLE
        ),
        switch_flag("shrink", "Find the smallest geometry that shows each fault.", PEOPLE),
        text_flag("csv", "Write a row a submission.", PEOPLE, "FILE"),
        text_flag(
            "gradescope", "Write Gradescope's results.json (one submission).", PEOPLE, "FILE"
        ),
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
    from cnncli.cli.batch import run_command
    from cnncli.errors import UsageError

    if values["list"]:
        for name in NOT_WITH_LIST:
            if values[name] not in (None, False):
                raise UsageError(
                    "does not apply to --list, which runs nothing", f"--{name.replace('_', '-')}"
                )
    raise typer.Exit(run_command(values))
