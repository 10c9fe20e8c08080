"""`cnncli schema`: the JSON Schema of a config file, for editors."""

from __future__ import annotations

import typer

from cnncli.cli.flags import GroupedCommand


def add_schema_command(app: typer.Typer, panel: str) -> None:
    """Add `schema`."""
    help = "Print the JSON Schema of a config file, for editors."
    app.command("schema", cls=GroupedCommand, help=help, rich_help_panel=panel)(_print_schema)


def _print_schema() -> None:
    print(schema_text())


def schema_text() -> str:
    """Return the schema as the text that `configs/cnncli.schema.json` holds."""
    import json

    from cnncli.cases.schema import config_schema

    return json.dumps(config_schema(), indent=1)
