"""`cnncli gradcheck pad|conv|pool|bn`: prove a layer's gradients, or another program's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cnncli.cli.flags import GroupedCommand, GroupedGroup, with_flags
from cnncli.cli.layerflags import gradcheck_flags
from cnncli.layers.base import Layer, Plan
from cnncli.layers.table import LAYERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnncli.cases.assertions import Tolerance
    from cnncli.cases.case import Case
    from cnncli.cases.config import Entry
    from cnncli.cli.call import Output
    from cnncli.runs.options import RunOptions
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
    from cnncli.cli.call import (
        Output,
        build,
        deliver,
        layer_call,
        refuse_unseen,
        save_config,
        take_config_path,
        take_run_options,
    )
    from cnncli.cli.conventions import per_convention
    from cnncli.cli.pictures import take_pictures
    from cnncli.cli.status import exit_of
    from cnncli.errors import UsageError
    from cnncli.layers.parameters import parameters
    from cnncli.report.visible import say
    from cnncli.runs.one import run_case

    output = Output.take(values)
    options = take_run_options(values, quiet=output.quiet, shown_bytes=output.shown_bytes)
    pictures = take_pictures(values)
    refuse_unseen(output, pictures, options.explain)
    config = take_config_path(values)
    names = [declared.name for declared in parameters(GradcheckOptions)]
    given = {name: values.get(name) for name in names}
    for name in set(names) - {"rtol", "atol"}:
        del values[name]
    check = Node(placed(given), "the command line")
    call = layer_call(layer, values, quiet=output.quiet, gradcheck=check)
    entry, tolerance = call.entry, call.tolerance
    entries, covers = [entry], None
    by_flag: set[str] = set()
    if entry.file is None and "tensors" not in entry.entries:
        _judge_probes(entry, output)
        written = entry.entries.get("params")
        by_flag = set() if written is None else set(written.mapping("params"))
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
        made, skipped = _possible(entries, tolerance, options, by_flag)
        for name, result in skipped.items():
            if not output.quiet:
                say(f"note: {name} is skipped: {result.error}")
    for _, case in made:
        _judge_calls(case)
    found = {entry.name: run_case(case, options) for entry, case in made}
    results = [(found | skipped)[entry.name] for entry in entries]
    save_config(config, made)
    deliver(results, output, "none", covers, pictures, call.unjudged)
    raise typer.Exit(exit_of(result.status for result in results))


def _judge_calls(case: Case) -> None:
    """Raise UsageError where people's files are named and no call gives a gradient to be checked.

    Our own gradients would pass, as if those of the files had.
    """
    from cnncli.errors import UsageError
    from cnncli.implementations.names import names_files

    files = [asked for asked in case.against if names_files(asked.text, asked.base)]
    if not files or not case.call or case.gradcheck is None:
        return
    wrt = case.gradcheck.wrt
    there = [n for n in case.layer.gradient_names if n != "db" or "b" in case.sources]
    wanted = [name for name in there if wrt is None or name[1:] in wrt] or ["dx"]
    judged = [target.name for call in case.call for target in call.judged]
    if set(judged).isdisjoint(wanted):
        raise UsageError(
            f"no gradient of {', '.join(asked.text for asked in files)} would be judged: the calls "
            f"give {', '.join(judged)}, and one must give {' or '.join(wanted)} "
            f'(--call "{wanted[0]}=...")',
            files[0].where,
        )


def _judge_told(case: Case, plan: Plan, by_flag: set[str]) -> None:
    """Raise GeometryError where people's functions are not told what a probe is about."""
    from cnncli.cases.calls import resolve_form
    from cnncli.errors import GeometryError
    from cnncli.implementations.names import names_files
    from cnncli.runs.missingarguments import missing_inputs, missing_parameters, missing_text

    if not case.call or not any(names_files(asked.text, asked.base) for asked in case.against):
        return
    values = missing_parameters(case, plan, words=True)
    judged = {target.name for call in case.call for target in call.judged}
    told = {name: value for name, value in values.items() if name not in by_flag}
    text = missing_text(told, missing_inputs(case, plan, judged))
    if text:
        raise GeometryError(text, case.where)
    for call in case.call:
        for form in (*call.arguments, *(form for _, form in call.keywords)):
            resolve_form(form, plan, case.where)  # such as one number for axes that differ


def _judge_probes(entry: Entry, output: Output) -> None:
    """Raise UsageError for what the built-in probes cannot be asked."""
    from cnncli.errors import UsageError

    if output.out is not None:
        raise UsageError("writes one y, but the probes are several cases", "--out")
    if "layout" in entry.entries and entry.entries["layout"].value != "nchw":
        raise UsageError(
            "the built-in probes are N C H W; give tensors of your own, or leave it out",
            "--layout",
        )


def _possible(
    entries: Sequence[Entry], tolerance: Tolerance, options: RunOptions, by_flag: set[str]
) -> tuple[list[tuple[Entry, Case]], dict[str, Result]]:
    """Return the probes that the given parameters allow, and by name why the others are skipped.

    Of people's functions also those are skipped that a call does not tell a function of; what was
    given `by_flag` is known to whoever wrote the call.
    Raises the first probe's CnncliError where none is left.
    """
    from cnncli.cli.call import build
    from cnncli.cli.typed import command_line
    from cnncli.errors import ConfigError, GeometryError
    from cnncli.runs.one import plan_case
    from cnncli.runs.result import Fault, Result

    made, skipped, errors = [], {}, []
    for entry in entries:
        try:
            case = build(entry, tolerance)
            plan = plan_case(case, options).plan
            _judge_told(case, plan, by_flag)
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
