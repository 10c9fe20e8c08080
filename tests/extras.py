"""Packages that the documented test install does not hold: tests that need one say so and skip.

What it does hold (pyproject's extra `test`) is imported like anything else: where that is missing,
tests fail.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EXTRA = {"torch": "torch", "tensorflow": "keras", "keras": "keras"}


def optional(name: str) -> Any:
    """Return an imported package of another extra than `test`; skip where it is not installed."""
    assert name not in installed_for_tests(), f"{name} is in the extra `test`: import it"
    reason = f"{name} is not in the test install: pip install 'cnncli[{EXTRA[name]}]'"
    return pytest.importorskip(name, reason=reason)


def installed_for_tests() -> set[str]:
    """Return what `pip install '.[test]'` installs by name, the program's own needs included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return {re.split(r"[<>=~! ]", line)[0].replace("-", "_") for line in lines}
