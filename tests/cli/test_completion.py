"""What bash puts in, driven through the script that --show-completion prints."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnncli.cli.completion import complete_config, complete_source, rejoin_words
from tests.refresh_readme import environment

CONFIG = (
    "cases: [{name: strided/a, layer: pad}, {name: stout, layer: pad}, {name: other, layer: pad}]"
)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    Path("bad.yaml").write_text("{")
    Path("notes.txt").write_text("")
    Path("norm.npy").write_text("")
    Path("deep").mkdir()
    Path("deep/d.yml").write_text(CONFIG)


def complete(line: list[str], tmp_path: Path) -> list[str]:
    """Return what bash offers for the last of the words, split as bash splits them."""
    program = tmp_path / "bin" / "cnncli"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cnncli "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(cnncli --show-completion bash)"; COMP_WORDS=("$@"); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _cnncli_completion cnncli; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = {**environment(), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", "cnncli", *line],
        env=found,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    "line, offered",
    [
        (["gr"], ["gradcheck"]),
        (["conv", "--str"], ["--stride"]),
        (["pool", "--mode", "a"], ["avg"]),
        (["conv", "--x", "nor"], ["normal", "norm.npy"]),
        (["run", "c"], ["c.yaml"]),
        (["run", "c.yaml", "::", "st"], ["strided/a", "stout"]),
        (["run", "c.yaml", "::"], ["strided/a", "stout", "other"]),
        (["pad", "--config", "c.yaml", "::", "o"], ["other"]),
        (["gradcheck", "pad", "--config", "deep/"], ["deep/d.yml"]),
    ],
)
def test_bash(line: list[str], offered: list[str], tmp_path: Path) -> None:
    assert complete(line, tmp_path) == offered


def test_words_that_bash_took_apart() -> None:
    words = {"COMP_WORDS": "cnncli\nrun\na\nc.yaml\n::\nst", "COMP_CWORD": "5"}
    rejoin_words(words)
    assert words == {"COMP_WORDS": "cnncli\nrun\na\nc.yaml::st", "COMP_CWORD": "3"}
    words = {"COMP_WORDS": "cnncli\nrun\nc.yaml\n::\nst\n", "COMP_CWORD": "5"}
    rejoin_words(words)
    assert words == {"COMP_WORDS": "cnncli\nrun\nc.yaml::st\n", "COMP_CWORD": "3"}


def test_other_shells_get_whole_words() -> None:
    assert complete_config("c.yaml::st") == ["c.yaml::strided/a", "c.yaml::stout"]
    assert complete_config("bad.yaml::") == []
    assert complete_config("no.yaml::") == []
    assert complete_config("nowhere/") == []
    assert complete_source("n") == ["normal", "none", "norm.npy"]
    assert complete_source("deep") == ["deep/"]
