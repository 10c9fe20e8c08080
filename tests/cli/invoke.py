"""Calling the command within this process, as a shell would."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from cnncli.cli.app import main


@dataclass(frozen=True)
class Ended:
    """How a call ended: its exit status and what it wrote."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def results(self) -> list[dict[str, Any]]:
        """The lines of JSON on standard output, read strictly."""
        return [strict(line) for line in self.out.splitlines()]

    @property
    def result(self) -> dict[str, Any]:
        (result,) = self.results
        return result


def strict(text: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    data = json.loads(text, parse_constant=refuse)
    assert isinstance(data, dict)
    return data


def call(*args: object, stdin: bytes = b"") -> Ended:
    """Run `cnncli ARGS` with `stdin` on standard input."""
    out, err = io.BytesIO(), io.BytesIO()
    streams: dict[str, Any] = {
        "stdin": io.TextIOWrapper(io.BytesIO(stdin), "utf-8"),
        "stdout": io.TextIOWrapper(out, "utf-8", write_through=True),
        "stderr": io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True),
    }
    with mock.patch.multiple(sys, **streams):
        status = main([str(arg) for arg in args])
        raw, text = out.getvalue(), err.getvalue().decode()
    return Ended(status, raw, text)


def spawn(
    *args: str, stdin: bytes = b"", env: dict[str, str] | None = None, python: tuple[str, ...] = ()
) -> Ended:
    """Run `python -m cnncli ARGS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "cnncli", *args],
        input=stdin,
        capture_output=True,
        env=os.environ | (env or {}),
        check=False,
        timeout=60,
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def complaint(ended: Ended) -> str:
    """Return the one message of a call that ended in bad input, having judged its form."""
    assert ended.status == 2, (ended.status, ended.err, ended.raw[:300])
    assert "Traceback" not in ended.err
    assert "fault of cnncli" not in ended.err
    (message,) = ended.err.splitlines()
    assert message.startswith("error: ")
    assert ended.err == message + "\n"
    return message[len("error: ") :]
