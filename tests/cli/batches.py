"""What the tests of `run` share: the program as a process, and results without their times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cnncli

PACKAGE = str(Path(cnncli.__file__).parent.parent)


def environment() -> dict[str, str]:
    """Return an environment in which this cnncli runs."""
    return {**os.environ, "PYTHONPATH": PACKAGE, "PYTHONUTF8": "1"}


def cnn(
    *arguments: object, cwd: Path, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; `more` is added to its environment."""
    return subprocess.run(
        [sys.executable, "-m", "cnncli", *map(str, arguments)],
        cwd=cwd,
        env={**environment(), **more},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, "-m", "cnncli", *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def timeless(text: str) -> list[str]:
    """Return lines of results without what may differ between two runs: the time taken."""
    lines = []
    for line in text.splitlines():
        data = json.loads(line)
        assert data.pop("seconds") >= 0
        lines.append(json.dumps(data))
    return lines


def records(text: str) -> list[dict[str, Any]]:
    """Return lines of results as data."""
    return [json.loads(line) for line in text.splitlines()]


def children(pid: int) -> list[int]:
    """Return the processes that a process started (Linux)."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in lists for word in text.split()]


def descendants(pid: int) -> list[int]:
    """Return what came of a process: supervisors, and what they watch over (Linux)."""
    found = children(pid)
    for one in found:  # which grows
        found += children(one)
    return found
