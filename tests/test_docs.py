"""The README against the program: its help blocks, its commands, its configs, its names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cnncli.cases.assertions import KINDS as ASSERTIONS
from cnncli.cases.assertions import TOLERANCES
from cnncli.cases.case import CASE_KEYS
from cnncli.cases.sources import KINDS, RAW_SIZES
from cnncli.checks.check import RECORD_KEYS, Check
from cnncli.cli.app import main
from cnncli.layers.table import LAYERS
from cnncli.runs.result import Fault, Grade, Result
from tests.refresh_readme import BLOCK, README, ROOT, commands, environment, rendered, summary

TEXT = README.read_text(encoding="utf-8")
INSTALL = "python3 -m venv"


@dataclass(frozen=True)
class Line:
    """One command of a `sh` block, and the exit status that its comment states."""

    command: str
    status: int


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def lines_of(block: str) -> list[Line]:
    lines = []
    for text in block.splitlines():
        command, _, status = text.partition("  # exit ")
        lines.append(Line(command.strip(), int(status or 0)))
    return lines


WHOLE = Result(
    name="a",
    status="failed",
    file="c.yaml",
    layer="pad",
    convention="torch",
    layout="nchw",
    params={},
    checks=[Check(check="against", tensor="y", verdict="fail", reason="exception")],
    error=Fault(message="why", where="c.yaml:1:1"),
    reproduce="cnncli run c.yaml::a",
    implementation="a.py",
    grade=Grade(function="f", points=1.0),
    key="0",
    lines=2,
)
"""A result in whose record no key is absent, but for those that need arrays."""

SHELL = [lines_of(block) for block in fenced("sh") if INSTALL not in block]


@pytest.mark.parametrize("block", BLOCK.findall(TEXT), ids=lambda block: block[0])
def test_generated_block_is_what_the_program_says(block: tuple[str, str]) -> None:
    what, text = block
    assert text == rendered(what), "run: python -m tests.refresh_readme"


def test_every_command_shows_its_help() -> None:
    named = list(commands())
    assert {"cnncli", "cnncli conv", "cnncli gradcheck bn", "cnncli run"} <= set(named)
    assert [name for name in named if summary(name) not in TEXT] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder that holds what the README's commands are run on."""
    for name in ("samples", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block[0].command)
def test_commands_end_as_stated(
    block: list[Line], copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    shim = tools / "cnncli"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cnncli "$@"\n')
    shim.chmod(0o755)
    path = os.pathsep.join([str(tools), os.path.dirname(sys.executable), os.environ["PATH"]])
    for line in block:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.command],
            cwd=copy,
            env={**environment(), "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert done.returncode == line.status, f"{line.command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_commands_are_found() -> None:
    lines = [line for block in SHELL for line in block]
    assert len(lines) >= 20
    assert {line.status for line in lines} == {0, 1, 2}


@pytest.mark.parametrize("text", fenced("yaml"), ids=lambda text: text.split("\n")[0])
def test_configs_pass(text: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = copy / "readme.yaml"
    file.write_text(text)
    assert main(["run", str(file)]) == 0, capsys.readouterr().err


def test_paths_that_are_named_exist() -> None:
    named = re.findall(r"(?<![\w/.])((?:samples|configs|tests|cnncli|\.ci)/[\w./-]+)", TEXT)
    named += re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize(
    "name",
    [
        *ASSERTIONS,
        *TOLERANCES,
        *CASE_KEYS,
        *KINDS,
        *RAW_SIZES,
        *RECORD_KEYS,
        *WHOLE.record(),
        *(tensor for layer in LAYERS.values() for tensor in layer.tensor_names),
    ],
)
def test_every_name_is_told(name: str) -> None:
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", TEXT), f"the README does not tell of {name}"


def test_every_room_is_told() -> None:
    rooms = [path.name for path in (ROOT / "cnncli").iterdir() if (path / "__init__.py").exists()]
    for room in rooms:
        assert f"`cnncli/{room}`" in TEXT


def test_install_lines_are_complete() -> None:
    """They stand word for word in the README, and `.ci/run` does what the second one does."""
    install = [block.strip() for block in fenced("sh") if INSTALL in block]
    assert install == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/cnncli run configs",
        "python3 -m venv .venv && .venv/bin/pip install '.[test]' && "
        ".venv/bin/python -m pytest -n 2",
    ]
