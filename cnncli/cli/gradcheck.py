"""`cnncli gradcheck pad|conv|pool|bn`: prove a layer's gradients, or another program's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cnncli.cli.flags import GroupedCommand, GroupedGroup, with_flags
from cnncli.cli.layerflags import gradcheck_flags
from cnncli.layers.base import Layer
from cnncli.layers.table import LAYERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnncli.cases.assertions import Tolerance
    from cnncli.cases.case import Case
    from cnncli.cases.config import Entry
    from cnncli.runs.one import RunOptions
    from cnncli.runs.result import Result


def gradcheck_app() -> typer.Typer:
    """Return the group of commands, one a layer."""
    app = typer.Typer(
        cls=GroupedGroup, no_args_is_help=True, rich_markup_mode=None, add_completion=False
    )
    for layer in LAYERS.values():
        _add(app, layer)
    return app


def _add(app: typer.Typer, layer: Layer) -> None:
    def body(values: dict[str, Any]) -> None:
        _run_gradcheck(layer, values)

    text = f"Check the gradients of {layer.name}; without tensors, of built-in probes."
    app.command(layer.name, cls=GroupedCommand, help=text)(
        with_flags(gradcheck_flags(layer), body, layer.name)
    )


def _run_gradcheck(layer: Layer, values: dict[str, Any]) -> None:
    from dataclasses import replace

    from cnncli.cases.case import GradcheckOptions
    from cnncli.cases.flags import placed
    from cnncli.cases.node import Node
    from cnncli.cases.probes import PROBES, probe_entries
    from cnncli.cli.call import Output, build, deliver, layer_entry, save_config, take_run_options
    from cnncli.cli.conventions import per_convention
    from cnncli.cli.pictures import take_pictures
    from cnncli.cli.status import exit_status
    from cnncli.errors import UsageError
    from cnncli.layers.parameters import parameters
    from cnncli.report.visible import say
    from cnncli.runs.one import run_case

    output = Output.take(values)
    options = take_run_options(values, quiet=output.quiet)
    pictures = take_pictures(values)
    config = values.pop("save_config")
    names = [declared.name for declared in parameters(GradcheckOptions)]
    given = {name: values.get(name) for name in names}
    for name in set(names) - {"rtol", "atol"}:
        del values[name]
    check = Node(placed(given), "the command line")
    entry, tolerance = layer_entry(layer, values, gradcheck=check)
    entries, covers = [entry], None
    if entry.file is None and "tensors" not in entry.entries:
        if output.out is not None:
            raise UsageError("writes one y, but the probes are several cases", "--out")
        entries = probe_entries(layer, entry.entries)
        covers = {f"{layer.name}-{probe.name}": probe.covers for probe in PROBES[layer.name]}
    entries = [one for entry in entries for one in per_convention(entry)]
    if options.explain and len(entries) > 1:
        raise UsageError(
            f"{len(entries)} cases run; choose one by giving its tensors, such as "
            "--x normal:2x3x6x5, and one convention",
            "--explain",
        )
    options = replace(options, keep_references=bool(pictures.show))
    if covers is None:
        made: list[tuple[Entry, Case]] = [(entry, build(entry, tolerance)) for entry in entries]
        skipped: dict[str, Result] = {}
    else:
        made, skipped = _possible(entries, tolerance, options)
        for name, result in skipped.items():
            if not output.quiet:
                say(f"note: {name} is skipped: {result.error}")
    found = {entry.name: run_case(case, options) for entry, case in made}
    results = [(found | skipped)[entry.name] for entry in entries]
    save_config(config, made)
    deliver(results, output, "none", covers, pictures)
    raise typer.Exit(exit_status(results))


def _possible(
    entries: Sequence[Entry], tolerance: Tolerance, options: RunOptions
) -> tuple[list[tuple[Entry, Case]], dict[str, Result]]:
    """Return the probes that the given parameters allow, and by name why the others are skipped.

    Raises the first probe's CnncliError where none is left.
    """
    from cnncli.cli.call import build, command_line
    from cnncli.errors import ConfigError, GeometryError
    from cnncli.runs.one import plan_case
    from cnncli.runs.result import Fault, Result

    made, skipped, errors = [], {}, []
    for entry in entries:
        try:
            case = build(entry, tolerance)
            plan_case(case, options)
        except (ConfigError, GeometryError) as error:
            errors.append(error)
            skipped[entry.name] = Result(
                name=entry.name,
                status="skipped",
                error=Fault(message=error.message, where=error.where),
                reproduce=command_line(),
            )
        else:
            made.append((entry, case))
    if not made:
        raise errors[0]
    return made, skipped
