from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer

from cnncli.cli.app import app


def root() -> Any:
    return typer.main.get_command(app)


def context() -> Any:
    return typer.Context(root())


def test_every_listed_line_is_the_commands_own() -> None:
    group = root()
    assert group.lazy
    for name, lazy in group.lazy.items():
        command = lazy.build()
        assert command.name == name
        assert command.help == lazy.help
        panel = getattr(command, "rich_help_panel", None)
        assert name == "gradcheck" or panel == lazy.panel


def test_listing_builds_nothing_and_running_builds_one() -> None:
    group, ctx = root(), context()
    built = set(group.commands)
    assert built.isdisjoint(group.lazy)
    assert group.listed_command(ctx, "conv").name == "conv"
    assert set(group.commands) == built
    assert group.get_command(ctx, "conv").params
    assert set(group.commands) == built | {"conv"}
    assert group.get_command(ctx, "cnv") is None


def imported(*args: str) -> set[str]:
    """Return the modules that a command imports."""
    code = (
        "import sys; from cnncli.cli.app import main; status = main(sys.argv[1:]);"
        "print(status, *sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
    )
    status, *modules = ended.stderr.splitlines()[-1].split()
    assert status == "0"
    return set(modules)


@pytest.mark.parametrize("args", [("--help",), ("--version",), ("conv", "--help")])
def test_help_imports_no_numpy(args: tuple[str, ...]) -> None:
    modules = imported(*args)
    assert modules.isdisjoint({"numpy", "rich", "yaml"})
    if args[0] != "conv":
        assert not any(name.startswith(("cnncli.layers", "cnncli.cases")) for name in modules)


SMALL = ("conv", "--x", "normal:2x3x8x8", "--w", "normal:4x3x3x3", "--padding", "1")


def test_a_small_command_imports_what_it_uses() -> None:
    modules = imported(*SMALL, "--json")
    assert "numpy" in modules
    assert modules.isdisjoint({"rich", "yaml", "torch", "concurrent.futures", "cnncli.runs.bench"})


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_change_no_bit(threads: str) -> None:
    call = ("conv", "--x", "normal:3x8x40x40", "--w", "normal:16x8x3x3", "--padding", "1")
    more, outputs = ("--backward", "--json", "--values"), []
    for number in ("1", threads):
        ended = subprocess.run(
            [sys.executable, "-m", "cnncli", *call, *more, "--threads", number],
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(ended.stdout.split('"seconds"')[0])
    assert outputs[0] == outputs[1]


def test_the_blas_is_held_to_one_thread() -> None:
    code = (
        "import os, sys; from cnncli.cli.app import main; main(sys.argv[1:]);"
        "from cnncli.kernels import threads;"
        "print(os.environ['OPENBLAS_NUM_THREADS'], threads._threads, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *SMALL, "--quiet", "--threads", "3"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ) | {"OPENBLAS_NUM_THREADS": "4"},
    )
    assert ended.stderr.split() == ["1", "3"]


@pytest.mark.parametrize("command", [SMALL, ("gradcheck", *SMALL)])
def test_a_wrong_number_of_threads_is_an_error(command: tuple[str, ...]) -> None:
    call = [sys.executable, "-m", "cnncli", *command, "--threads", "two"]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--threads: must be a whole number from 1 to 1024, not 'two'" in ended.stderr
