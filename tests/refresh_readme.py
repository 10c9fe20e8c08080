"""Rewrite what the README takes from the program: `python -m tests.refresh_readme`.

The README marks each such block in comments, `<!-- generated: WHAT -->` to `<!-- end -->`. WHAT is
`help COMMAND`, `output COMMAND LINE` (as printed into a pipe) or `parameters`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cnncli
from cnncli.layers.parameters import Choice, Padding, Parameter, PerAxis, Switch, parameters, show
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
        return fenced(output_of([*shlex.split(rest.removeprefix("cnncli")), "--help"]))
    if kind == "output":
        return fenced(f"$ {rest}\n{output_of(shlex.split(rest)[1:])}")
    if kind == "parameters":
        return parameter_table()
    raise ValueError(f"the README asks for {what!r}, which nothing generates")


def fenced(text: str) -> str:
    return f"```text\n{text}\n```\n"


def parameter_table() -> str:
    """Return every parameter of every layer as a Markdown table."""
    rows = ["| layer | flag | YAML | values | default | meaning |", "|---|---|---|---|---|---|"]
    for layer in LAYERS.values():
        for declared in parameters(layer.Params):
            cells = (layer.name, flag(declared), f"`{declared.name}`", values(declared))
            default = "required" if declared.required else ""
            default = default or declared.shown_default or show(declared.default)
            rows.append("| " + " | ".join((*cells, default, declared.help)) + " |")
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
