"""What builds the package can read what it is told."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST_WITH_LICENSE_NAMES = 77
"""The release of setuptools that takes `license = "MIT"`; those before ask for a table."""


def test_the_builder_takes_a_license_by_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert isinstance(project["project"]["license"], str)
    (builder,) = project["build-system"]["requires"]
    floor = re.fullmatch(r"setuptools>=(\d+)", builder)
    assert floor is not None
    assert int(floor[1]) >= FIRST_WITH_LICENSE_NAMES
