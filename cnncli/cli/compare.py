"""`cnncli compare A [B]`: describe an array, or judge one by another."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from cnncli.cli.completion import complete_source, when_asked
from cnncli.cli.flags import Flag, GroupedCommand, switch_flag, text_flag, with_flags
from cnncli.cli.layerflags import COMPUTATION, JUDGING, OUTPUT, memory_flag
from cnncli.cli.pictures import WORST, picture_flags

SOURCE = "any tensor source: FILE.npy, FILE.npz:KEY, FILE.bin:DTYPE:SHAPE, kind:shape, -"


def compare_flags() -> list[Flag]:
    """Return the flags of `compare`."""
    defaults = "[default: by the less precise stored type]"
    return [
        text_flag("rtol", f"Relative tolerance, of B. {defaults}", JUDGING, "X"),
        text_flag("atol", f"Absolute tolerance. {defaults}", JUDGING, "X"),
        switch_flag("equal_nan", "A NaN equals a NaN.", JUDGING),
        text_flag(
            "tensor",
            "The tensor of a case whose numbers normal, uniform, ... make. [default: y]",
            COMPUTATION,
            "NAME",
        ),
        text_flag("seed", "Seed of made-up numbers. [default: 0]", COMPUTATION, "N"),
        memory_flag(),
        *picture_flags(WORST),
        switch_flag("json", "Print JSON in place of tables.", OUTPUT),
        switch_flag("quiet", "Print nothing but errors.", OUTPUT),
    ]


def add_compare_command(app: typer.Typer, panel: str) -> None:
    """Add `compare`."""
    command = with_flags(compare_flags(), _compare, "compare")
    signature = inspect.signature(command)
    arguments = [
        inspect.Parameter(
            "a",
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[
                str,
                typer.Argument(
                    metavar="A",
                    help=f"An array: {SOURCE}.",
                    autocompletion=when_asked(complete_source),
                ),
            ],
        ),
        inspect.Parameter(
            "b",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Argument(
                    metavar="[B]",
                    help="What A must equal.",
                    autocompletion=when_asked(complete_source),
                ),
            ],
        ),
    ]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect.signature reads
        parameters=[*arguments, *signature.parameters.values()]
    )
    help = "Describe an array, or judge one by another."
    app.command("compare", cls=GroupedCommand, help=help, rich_help_panel=panel)(command)


def _compare(values: dict[str, Any]) -> None:
    from cnncli.cases.assertions import parse_tolerance
    from cnncli.cases.flags import placed
    from cnncli.cli.call import Output, refuse_unseen, take_run_options
    from cnncli.cli.pictures import take_pictures
    from cnncli.cli.status import STATUSES
    from cnncli.cli.typed import command_line
    from cnncli.errors import UsageError
    from cnncli.layers.parameters import Whole
    from cnncli.runs.comparing import CompareOptions, compare_sources

    pictures = take_pictures(values)
    output = Output.take(values)
    refuse_unseen(output, pictures)
    judging = ("rtol", "atol", "equal_nan")
    if values["b"] is None:
        for name in judging:
            if values[name] is not None:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} judges A by B, and no B is given", flag)
    seed = values["seed"]
    _refuse_without_draws(values)
    options = CompareOptions(
        tolerance=parse_tolerance(placed({name: values[name] for name in judging})),
        max_memory=take_run_options(values).max_memory,
        seed=0 if seed is None else _seed(Whole(minimum=0), seed),
        tensor=values["tensor"] or "y",
    )
    texts = {"A": values["a"]} | ({"B": values["b"]} if values["b"] is not None else {})
    compared = compare_sources(texts, options, command_line())
    shown = pictures.show if pictures.show is not None else values["b"] is None

    def view(console: Any) -> None:
        from cnncli.report.compared import show_compared

        show_compared(console, compared, pictures=shown, plane=pictures.plane)

    arrays = {one.name: one.array for one in compared.arrays}
    pictures.judge_plane(arrays, {name: array.shape for name, array in arrays.items()})
    pictures.save(view)
    if output.json:
        import json

        from cnncli.runs.comparing import compared_record

        print(json.dumps(compared_record(compared), allow_nan=False))
    elif not output.quiet:
        from cnncli.report.console import make_console

        view(make_console())
    raise typer.Exit(STATUSES[compared.status])


def _refuse_without_draws(values: dict[str, Any]) -> None:
    """Raise UsageError for a flag on made-up numbers where A and B are files."""
    from cnncli.cases.node import Node
    from cnncli.cases.sources import Random, parse_source
    from cnncli.errors import UsageError

    asked = [name for name in ("seed", "tensor") if values[name] is not None]
    texts = [text for text in (values["a"], values["b"]) if text is not None]
    if asked and not any(isinstance(parse_source(Node(t, "A"), "A", None), Random) for t in texts):
        raise UsageError(
            f"is for numbers that are made up (normal, uniform, ...), not {' and '.join(texts)}",
            f"--{asked[0]}",
        )


def _seed(kind: Any, text: str) -> int:
    from cnncli.errors import CnncliError

    try:
        return int(kind.parse(text))
    except CnncliError as error:
        raise error.at("--seed") from None
