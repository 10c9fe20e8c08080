"""The commands, and the one boundary that turns errors into exit statuses."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import typer

from cnncli import __version__
from cnncli.cli.completion import whole_words
from cnncli.cli.lazy import LazyCommand, LazyGroup
from cnncli.cli.status import BAD_INPUT, OUR_FAULT, EndedError, end_like_ctrl_c, interruption
from cnncli.cli.stdout import leave_stdout, open_closed_streams, outlive_readers
from cnncli.errors import CnncliError
from cnncli.process.threads import ONE_THREAD

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing fails with where there is no room, or the device is out of order."""
# Imports make some 100,000 objects that all stay: looking through them at every 700th new one, as
# Python does, takes a tenth of a small command's time.
GC_THRESHOLD = 100_000

RUN_A_LAYER = "Run one layer"
PROVE = "Prove gradients"
MANY = "Run many cases"
LOOK = "Look at arrays"
MEASURE = "Measure"

EXAMPLES = """\b
Examples:
  cnncli conv --x arange:1x1x4x4 --w ones:1x1x2x2 --explain 0,0,1,2
      what a convolution computes, one element spelled out
  cnncli gradcheck conv --tensors mine --expect dx=mine/dx.npy
      is my gradient right? (mine holds x.npy, w.npy, dy.npy)
  cnncli compare mine/y.npy theirs/y.npy --show
      how far apart are two arrays, and where?
"""


def _add_layer(name: str) -> Callable[[typer.Typer], None]:
    def add(app: typer.Typer) -> None:
        from cnncli.cli.layer import add_layer_command
        from cnncli.layers.table import LAYERS

        add_layer_command(app, LAYERS[name], RUN_A_LAYER)

    return add


def _add_gradcheck(app: typer.Typer) -> None:
    from cnncli.cli.gradcheck import gradcheck_app

    app.add_typer(gradcheck_app(), name="gradcheck", help=GRADCHECK_HELP)


def _add_compare(app: typer.Typer) -> None:
    from cnncli.cli.compare import add_compare_command

    add_compare_command(app, LOOK)


def _add_run(app: typer.Typer) -> None:
    from cnncli.cli.run import add_run_command

    add_run_command(app, MANY)


def _add_schema(app: typer.Typer) -> None:
    from cnncli.cli.schema import add_schema_command

    add_schema_command(app, MANY)


def _add_bench(app: typer.Typer) -> None:
    from cnncli.cli.bench import add_bench_command

    add_bench_command(app, MEASURE)


GRADCHECK_HELP = "Prove a layer's gradients right, ours or another program's."
# A name, its line in the list (a test holds it to the command's own help), its panel, its making.
_COMMANDS = (
    (
        "pad",
        "Padding: adds rows around every plane, or crops them.",
        RUN_A_LAYER,
        _add_layer("pad"),
    ),
    (
        "conv",
        "Convolution: correlates x with the filters w, adds b.",
        RUN_A_LAYER,
        _add_layer("conv"),
    ),
    ("pool", "Pooling: the maximum or the mean of every window.", RUN_A_LAYER, _add_layer("pool")),
    ("bn", "Batch normalization, per channel over N, H and W.", RUN_A_LAYER, _add_layer("bn")),
    ("gradcheck", GRADCHECK_HELP, PROVE, _add_gradcheck),
    ("compare", "Describe an array, or judge one by another.", LOOK, _add_compare),
    ("run", "Run the cases of config files and folders.", MANY, _add_run),
    ("schema", "Print the JSON Schema of a config file, for editors.", MANY, _add_schema),
    (
        "bench",
        "Time layers against the machine's limit and other libraries.",
        MEASURE,
        _add_bench,
    ),
)


class _Root(LazyGroup):
    lazy: ClassVar[dict[str, LazyCommand]] = {
        name: LazyCommand(name=name, help=help, panel=panel, add=add)
        for name, help, panel, add in _COMMANDS
    }


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXAMPLES,
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


def process() -> int:
    """Run the command line as a process of its own and return its exit status."""
    end_like_ctrl_c()
    gc.set_threshold(GC_THRESHOLD)
    open_closed_streams()
    outlive_readers()
    try:
        return main()
    finally:
        gc.freeze()  # nor need Python look through them as it ends


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    os.environ |= ONE_THREAD  # before NumPy is imported, which reads it
    try:
        with whole_words(os.environ):
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
    except (KeyboardInterrupt, typer.Abort, EndedError) as error:
        return _complain(*interruption(error))
    except BrokenPipeError:
        leave_stdout()
        return 0
    except SystemExit as error:
        # Typer itself turns a closed pipe into exit status 1.
        if isinstance(error.__context__, BrokenPipeError):
            leave_stdout()
            return 0
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in FULL:
            # Files that a user names are written behind errors of their own.
            leave_stdout()
            return _complain(f"standard output cannot be written: {error.strerror}", BAD_INPUT)
        # Whatever else is raised is a fault of ours, and must still end with one message.
        if os.environ.get("CNNCLI_TRACEBACK"):
            raise
        text = f"{type(error).__name__}: {error}"
        return _complain(
            f"a fault of cnncli itself: {text} (CNNCLI_TRACEBACK=1 shows where)", OUR_FAULT
        )


def _complain(message: str, status: int) -> int:
    from cnncli.report.visible import say

    say("error: " + message.replace("\n", "\\n"))  # a file may have it in its name
    return status
