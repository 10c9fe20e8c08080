"""The commands, and the one boundary that turns errors into exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cnncli import __version__
from cnncli.cli.flags import GroupedGroup
from cnncli.cli.gradcheck import gradcheck_app
from cnncli.cli.layer import add_layer_command
from cnncli.cli.run import add_run_command
from cnncli.cli.schema import add_schema_command
from cnncli.errors import CnncliError
from cnncli.layers.table import LAYERS

BAD_INPUT, OUR_FAULT, INTERRUPTED = 2, 3, 130

RUN_A_LAYER = "Run one layer"
PROVE = "Prove gradients"
MANY = "Run many cases"

app = typer.Typer(
    cls=GroupedGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run CNN layers from the shell, see what they compute, and prove their gradients right.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"cnncli {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


for _layer in LAYERS.values():
    add_layer_command(app, _layer, RUN_A_LAYER)
app.add_typer(
    gradcheck_app(),
    name="gradcheck",
    help="Prove a layer's gradients right, ours or another program's.",
    rich_help_panel=PROVE,
)
add_run_command(app, MANY)
add_schema_command(app, MANY)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status = app(args=args, prog_name="cnncli", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CnncliError as error:
        return _complain(str(error), BAD_INPUT)
    except typer.TyperException as error:
        # A usage error shows itself, with the command whose help it names.
        show = getattr(error, "show", None)
        if show is None:
            return _complain(str(error), BAD_INPUT)
        show()
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _leave_pipe()
    except SystemExit as error:
        # Typer itself turns a closed pipe into exit status 1.
        if isinstance(error.__context__, BrokenPipeError):
            return _leave_pipe()
        raise
    except Exception as error:
        # Whatever else is raised is a fault of ours, and must still end with one message.
        if os.environ.get("CNNCLI_TRACEBACK"):
            raise
        text = f"{type(error).__name__}: {error}"
        return _complain(
            f"a fault of cnncli itself: {text} (CNNCLI_TRACEBACK=1 shows where)", OUR_FAULT
        )


def _leave_pipe() -> int:
    """Whoever read our output has gone: nothing more can be written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(message: str, status: int) -> int:
    text = f"error: {message}\n"
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
    return status
