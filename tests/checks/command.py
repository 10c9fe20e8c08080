"""Run a command in this process and read the JSON that it prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cnncli.cli.app import main


def results(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    status = main([*args, "--json"])
    out = capsys.readouterr()
    assert out.err == ""
    return status, [json.loads(line) for line in out.out.splitlines()]


def expected_check(result: dict[str, Any], tensor: str) -> dict[str, Any]:
    """Return the one check that judged what was given for a tensor, not ours and no identity."""
    found = [
        check
        for check in result["checks"]
        if check["tensor"] == tensor
        and check.get("subject", "expected") == "expected"
        and "identity" not in check
    ]
    (check,) = found
    return dict(check)
