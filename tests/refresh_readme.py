"""Rewrite what the README takes from the program: `python -m tests.refresh_readme`.

The README marks each such block in comments, `<!-- generated: WHAT -->` to `<!-- end -->`. WHAT is
`help` (of every command that the app has), `output COMMAND LINE` (as printed into a pipe) or
`parameters`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import cnncli
from cnncli.cli.app import app
from cnncli.layers.parameters import Choice, Padding, Parameter, PerAxis, Switch, parameters
from cnncli.layers.table import LAYERS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"<!-- generated: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)


def environment() -> dict[str, str]:
    """Return an environment in which this cnncli runs 80 columns wide, without colours."""
    kept = {k: v for k, v in os.environ.items() if k not in ("GITHUB_ACTIONS", "FORCE_COLOR")}
    package = str(Path(cnncli.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    return {**kept, **wanted, "PYTHONPATH": os.pathsep.join(paths)}


def output_of(arguments: list[str]) -> str:
    """Return what `cnncli ARGUMENTS` prints, run in the folder of the README."""
    command = [sys.executable, "-m", "cnncli", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, check=False, encoding="utf-8"
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def rendered(what: str) -> str:
    """Return the text of a generated block."""
    kind, _, rest = what.partition(" ")
    if kind == "help":
        return "".join(help_of(command) for command in commands())
    if kind == "output":
        return fenced(f"$ {rest}\n{output_of(shlex.split(rest)[1:])}")
    if kind == "parameters":
        return parameter_table()
    raise ValueError(f"the README asks for {what!r}, which nothing generates")


def commands() -> Iterator[str]:
    """Yield every command that can be typed, groups before what is in them: `cnncli conv`."""
    yield from _below("cnncli", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[str]:
    yield name
    if hasattr(command, "list_commands"):
        context = typer.Context(command, info_name=name)
        for child in command.list_commands(context):
            yield from _below(f"{name} {child}", command.get_command(context, child))


def summary(command: str) -> str:
    """Return the line under which a command's help is folded away."""
    return f"<details><summary><code>{command}</code></summary>"


def help_of(command: str) -> str:
    """Return a command's help, folded away."""
    text = fenced(output_of([*command.split()[1:], "--help"]))
    return f"{summary(command)}\n\n{text}\n</details>\n"


def fenced(text: str) -> str:
    return f"```text\n{text}\n```\n"


def parameter_table() -> str:
    """Return every parameter of every layer as a Markdown table."""
    rows = ["| layer | flag | YAML | values | default | meaning |", "|---|---|---|---|---|---|"]
    for layer in LAYERS.values():
        for declared in parameters(layer.Params):
            cells = (layer.name, flag(declared), f"`{declared.name}`", values(declared))
            rows.append("| " + " | ".join((*cells, declared.default_text(), declared.help)) + " |")
    return "\n".join(rows) + "\n"


def flag(declared: Parameter) -> str:
    names = [declared.flag, *([f"-{declared.short}"] if declared.short else [])]
    if isinstance(declared.kind, Switch):
        names.append(declared.kind.negative or f"--no-{declared.flag[2:]}")
    return " ".join(f"`{name}`" for name in names)


def values(declared: Parameter) -> str:
    kind = declared.kind
    if isinstance(kind, Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    if isinstance(kind, Switch):
        return "`true`, `false`"
    words = kind.words if isinstance(kind, PerAxis | Padding) else ()
    return ", ".join(f"`{word}`" for word in (kind.metavar, *words))


def refreshed(text: str) -> str:
    """Return the README's text with every generated block made anew."""
    return BLOCK.sub(lambda m: f"<!-- generated: {m[1]} -->\n{rendered(m[1])}<!-- end -->", text)


if __name__ == "__main__":
    before = README.read_text(encoding="utf-8")
    after = refreshed(before)
    README.write_text(after, encoding="utf-8")
    print("README.md is rewritten" if after != before else "README.md was up to date")
