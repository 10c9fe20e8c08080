"""Other people's text can only be read: no escape of it reaches a terminal or a file."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnncli.report.console import make_console
from cnncli.report.visible import visible
from tests.cli.invoke import call

ESCAPED = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)
"""What must not be left, as UTF-8."""

EVIL = "\x1b[2J\x1b]0;t\x07\r\x08\x7f\x9b31m\u202eabc\u2066"
CODE = f"""
def conv_forward_naive(x, w, b, conv_param):
    raise ValueError({EVIL!r})  # \x1b[2J\u202e


def conv_backward_naive(dout, cache):
    raise ValueError({EVIL!r})
"""
HOMEWORK = str(Path(__file__).parents[2] / "configs/homework-cs231n.yaml")


def test_control_characters_are_shown_and_the_rest_is_kept() -> None:
    assert visible("a\x1b[2J\x00\x9b\x7f\r") == r"a\x1b[2J\x00\x9b\x7f\x0d"
    assert visible("\u202eabc\u2069") == r"\u202eabc\u2069"
    assert visible("one\n\ttwo é ▀ 語 \U0001f600") == "one\n\ttwo é ▀ 語 \U0001f600"


def test_whatever_way_text_comes_to_a_console() -> None:
    from rich.table import Table
    from rich.text import Text

    stream = io.StringIO()
    console = make_console(stream)
    table = Table(EVIL, EVIL, title=EVIL)
    table.add_row(EVIL, Text(EVIL))
    for one in (EVIL, Text(EVIL), table):
        console.print(one)
    assert not ESCAPED.search(stream.getvalue().encode())
    assert stream.getvalue().count(r"\x1b[2J") == 7


def test_a_submission_cannot_paint_over_a_screen_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[2Jb\u202e.py"
    file.write_text(CODE, encoding="utf-8")
    table, suite = tmp_path / "t.csv", tmp_path / "t.xml"
    ended = call(
        *("run", HOMEWORK, "--match", "conv_", "--against", file),
        *("--csv", table, "--junit", suite),
    )
    assert ended.status == 1
    assert r"\x1b[2J" in ended.out
    for raw in (ended.raw, ended.err.encode(), suite.read_bytes()):
        assert not ESCAPED.search(raw)
    (_, row) = csv.reader(io.StringIO(table.read_bytes().decode()))
    assert r"a\x1b[2Jb\u202e.py" in row[0]
    assert not any(ESCAPED.search(cell.encode()) for cell in row)


@pytest.mark.parametrize(
    "args",
    [
        ("conv", "--tensors", "no\x1b[2J.npz"),
        ("pad", "--x", "a\x1b[2J.npy", "-p", "1"),
        ("run", "a\x1b[2J.yaml"),
        ("run", HOMEWORK, "--against", "no\x1b[2J.py"),
        ("a\x1b[2J",),
        ("conv", "--\x1b[2J"),
    ],
)
def test_errors_show_escapes(args: tuple[str, ...], tmp_path: Path) -> None:
    ended = call(*args)
    assert ended.status == 2
    assert "x1b[2J" in ended.err
    assert not ESCAPED.search(ended.err.encode())


def test_names_in_tables_and_reports(tmp_path: Path) -> None:
    name = str(tmp_path / "x\x1b[2J\u202e.npy")
    np.save(name, np.ones((1, 1, 2, 2)))
    page = tmp_path / "r.html"
    for args in (("pad", "--x", name, "-p", "1"), ("compare", name, "--show")):
        ended = call(*args, "--save-report", page)
        assert ended.status == 0
        assert r"x\x1b[2J\u202e.npy" in ended.out
        for raw in (ended.raw, page.read_bytes()):
            assert not ESCAPED.search(raw)


def test_our_own_colours_still_work(tmp_path: Path) -> None:
    """On a terminal, what fails is red, and only our colours are escapes."""
    file = tmp_path / "s.py"
    file.write_text(CODE, encoding="utf-8")
    leader, follower = pty.openpty()
    args = ["run", HOMEWORK, "--match", "conv_forward", "--against", str(file)]
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen([sys.executable, "-m", "cnncli", *args], stdout=follower, env=env)
    os.close(follower)
    raw = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        raw += part
    os.close(leader)
    assert process.wait() == 1
    assert b"\x1b[1;31mexception" in raw
    assert rb"\x1b[2J" in raw
    rest = re.sub(rb"\x1b\[[0-9;]*m", b"", raw).replace(b"\r\n", b"\n")
    assert not ESCAPED.search(rest)
