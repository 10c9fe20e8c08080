"""Running the command line inside the test's own process."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import pytest

from cnncli.cli.app import main


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    status: int
    out: str
    err: str


class _Stream(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding, write_through=True)

    def text(self) -> str:
        self.flush()
        return self.raw_bytes.getvalue().decode(self.encoding)


def call(
    monkeypatch: pytest.MonkeyPatch, *args: str, stdin: bytes = b"", encoding: str = "utf-8"
) -> Answer:
    """Return what `cnncli ARGS` answers when its output is piped."""
    out, err = _Stream(encoding), _Stream(encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "argv", ["cnncli", *args])
        status = main(list(args))
    return Answer(status, out.text(), err.text())
