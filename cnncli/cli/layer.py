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
    from cnncli.cli.call import (
        Output,
        build,
        deliver,
        imply_backward,
        layer_entry,
        save_config,
        take_run_options,
    )
    from cnncli.cli.pictures import take_pictures
    from cnncli.cli.status import exit_status
    from cnncli.runs.one import run_case

    output, options = Output.take(values), take_run_options(values)
    pictures = take_pictures(values)
    config = values.pop("save_config")
    imply_backward(layer, values, options)
    entry, tolerance = layer_entry(layer, values)
    case = build(entry, tolerance)
    result = run_case(case, options)
    save_config(config, [(entry, case)])
    deliver([result], output, pictures=pictures)
    raise typer.Exit(exit_status([result]))
