"""No test is skipped for a package that the documented test install holds."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.batches import PACKAGE, environment
from tests.extras import EXTRA, ROOT, installed_for_tests, optional

FILES = sorted((ROOT / "tests").rglob("*.py"))


def calls(name: str) -> Iterator[tuple[Path, ast.Call]]:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                function = ast.unparse(node.func)
                if function == name or function.endswith(f".{name}"):
                    yield file, node


def test_what_is_installed_for_the_tests_is_known() -> None:
    assert {"numpy", "onnx", "onnxruntime", "jsonschema", "distributed"} <= installed_for_tests()
    assert not set(EXTRA) & installed_for_tests()


def test_skips_name_a_package_of_another_extra_and_say_so() -> None:
    found = 0
    for file, call in calls("importorskip"):
        if file.name == "extras.py":
            continue
        found += 1
        (package,) = call.args
        place = f"{file.name}:{call.lineno}"
        assert isinstance(package, ast.Constant), place
        assert package.value in EXTRA, place
        assert "reason" in {keyword.arg for keyword in call.keywords}, place
    assert found  # the search finds what there is


def test_what_the_test_install_holds_is_not_optional() -> None:
    with pytest.raises(AssertionError, match="import it"):
        optional("onnx")


NEEDS = {
    "onnx": "tests/suites/test_onnx_nodes.py",
    "jsonschema": "tests/cases/test_schema.py",
    "distributed": "tests/runs/test_cluster.py",
}
"""Files that need a package throughout, which so fail as they are collected."""


@pytest.mark.parametrize("package", NEEDS)
def test_files_fail_where_their_package_is_missing(package: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None")
    path = os.pathsep.join([str(tmp_path), PACKAGE])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", NEEDS[package]],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert f"import of {package}" in done.stdout  # and for no other reason
