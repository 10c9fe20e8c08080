"""`cnncli pad|conv|pool|bn`: run one layer."""

from __future__ import annotations

from typing import Any

import typer

from cnncli.cli.flags import GroupedCommand, with_flags
from cnncli.cli.layerflags import layer_flags
from cnncli.layers.base import Layer


def add_layer_command(app: typer.Typer, layer: Layer, panel: str) -> None:
    """Add the command that runs `layer`."""

    def body(values: dict[str, Any]) -> None:
        _run_layer(layer, values)

    app.command(layer.name, cls=GroupedCommand, help=layer.summary, rich_help_panel=panel)(
        with_flags(layer_flags(layer), body, layer.name)
    )


def _run_layer(layer: Layer, values: dict[str, Any]) -> None:
    from dataclasses import replace

    from cnncli.cli.call import (
        Output,
        build,
        deliver,
        imply_backward,
        layer_call,
        refuse_unseen,
        save_config,
        take_config_path,
        take_run_options,
    )
    from cnncli.cli.conventions import per_convention
    from cnncli.cli.pictures import take_pictures
    from cnncli.cli.status import exit_of
    from cnncli.cli.writtenas import take_library, written_as
    from cnncli.runs.one import run_case

    library = take_library(values)
    output = Output.take(values)
    options = take_run_options(values, quiet=output.quiet, shown_bytes=output.shown_bytes)
    pictures = take_pictures(values)
    refuse_unseen(output, pictures, options.explain)
    config = take_config_path(values)
    imply_backward(layer, values, options)
    call = layer_call(layer, values, quiet=output.quiet)
    entries = per_convention(call.entry)
    cases = [build(one, call.tolerance) for one in entries]
    if library is not None:
        print("\n".join(written_as(case, library) for case in cases), end="")
        return
    options = replace(options, keep_references=bool(pictures.show))
    results = [run_case(case, options) for case in cases]
    save_config(config, list(zip(entries, cases, strict=True)))
    deliver(results, output, pictures=pictures, unjudged=call.unjudged)
    raise typer.Exit(exit_of(result.status for result in results))
