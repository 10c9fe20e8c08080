"""The reproduce line of any case, pasted into a shell, gives the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.batches import cnn, environment, records, timeless

ROOT = Path(__file__).resolve().parents[2]


def paste(line: str, cwd: Path, tmp_path: Path) -> str:
    """Run a line in a shell that knows this cnncli, its results as JSON."""
    program = tmp_path / "bin" / "cnncli"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cnncli "$@" --json\n')
    program.chmod(0o755)
    known = environment()
    path = f"{program.parent}{os.pathsep}{known['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env={**known, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def assert_reproduces(text: str, cwd: Path, tmp_path: Path) -> int:
    found = records(text)
    for record in found:
        pasted = paste(record["reproduce"], cwd, tmp_path)
        (again,) = records(pasted)
        if record["file"] == "-" and "error" in record:
            # What came alone through a pipe stands on its first line.
            assert again["error"].pop("where").startswith("-:1")
            record["error"].pop("where")
        expected = timeless(json.dumps(record))
        assert timeless(json.dumps(again)) == expected, record["reproduce"]
    return len(found)


@pytest.mark.parametrize("config", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs(config: Path, tmp_path: Path) -> None:
    done = cnn("run", config.relative_to(ROOT), "--json", cwd=ROOT)
    assert assert_reproduces(done.stdout, ROOT, tmp_path) >= 1


def test_what_a_shell_would_take_apart(tmp_path: Path) -> None:
    config = """
cases:
  - {name: "it's $HOME `x` *", layer: pad, tensors: {x: "normal:1x2x3x4"}, params: {padding: 1}}
  - name: grid
    layer: pad
    tensors: {x: "normal:1x2x3x4"}
    params: {padding: 1}
    sweep: {params.mode: [reflect, constant], params.padding: [[[0, 1], [2, 1]], 9, 1]}
    skip_invalid: true
  - {name: bad, layer: pad, tensors: {x: "normal:1x2x3x4"}, params: {padding: x}}
"""
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "c d.yaml").write_text(config)
    flags = ("--set", "params.value=0", "--max-memory", "1G", "--gradcheck")
    done = cnn("run", "c d.yaml", "--json", *flags, cwd=folder)
    assert assert_reproduces(done.stdout, folder, tmp_path) == 8


@pytest.mark.parametrize("form", ["yaml", "lines"])
def test_what_came_from_a_pipe(tmp_path: Path, form: str) -> None:
    cases = [
        {"layer": "pad", "tensors": {"x": "normal:1x2x3x4"}, "params": {"padding": [1, 2]}},
        {"name": "it's", "layer": "bn", "tensors": {"x": "normal:2x3x4x5"}, "gradcheck": True},
        {
            "name": "s",
            "layer": "pad",
            "tensors": {"x": "normal:1x2x3x4"},
            "sweep": {"params.padding": [1, -9]},
            "skip_invalid": True,
        },
    ]
    lines = "\n".join(json.dumps(case) for case in cases)
    text = lines if form == "lines" else json.dumps({"cases": cases}, indent=1)
    done = cnn("run", "-", "--json", cwd=tmp_path, stdin=text)
    assert assert_reproduces(done.stdout, tmp_path, tmp_path) == 4
