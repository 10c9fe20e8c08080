"""Hostile and broken submissions: each costs its own row, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cli.app import main

CONFIG = """
cases:
  - {name: first, layer: pad, tensors: {x: "normal:2x3x4x5"}, params: {padding: 1}, call: {y: "f(x, p)"}}
  - {name: second, layer: pad, tensors: {x: "normal:2x2x3x5"}, params: {padding: 2}, call: {y: "g(x, p)"}}
"""
G = "import numpy as np\ndef g(x, p):\n    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))\n"

# name: (what f does, the reason it must get, words of the note, what g must get)
HOSTILE: dict[str, tuple[str, str, str, str]] = {
    "prints": ("def f(x, p):\n    print('x' * 10**6)\n    return g(x, p)", "", "", ""),
    "exits": ("def f(x, p):\n    exit(0)", "exception", "SystemExit", ""),
    "leaves": ("import os\ndef f(x, p):\n    os._exit(0)", "exception", "exit status 0", ""),
    "loops": ("def f(x, p):\n    while True: pass", "timeout", "", ""),
    "sleeps": ("import time\ndef f(x, p):\n    time.sleep(99)", "timeout", "", ""),
    "crashes": ("import ctypes\ndef f(x, p):\n    ctypes.string_at(0)", "exception", "SIGSEGV", ""),
    "kills": ("import os\ndef f(x, p):\n    os.kill(os.getppid(), 9)", "exception", "Permission", ""),
    "fills": ("def f(x, p):\n    return np.zeros(10**11) + 1", "out of memory", "", ""),
    "hoards": ("def f(x, p):\n    a = []\n    while True: a.append(bytes(10**7))", "out of memory", "", ""),
    "forks": ("import os\ndef f(x, p):\n    while True: os.fork()", "exception", "Permission", ""),
    "starts": ("import subprocess\ndef f(x, p):\n    subprocess.run(['touch', 'HERE/hacked'])", "exception", "Permission", ""),
    "writes": ("def f(x, p):\n    open('HERE/hacked', 'w').write('x')", "exception", "Permission", ""),
    "removes": ("import os\ndef f(x, p):\n    os.remove('HERE/precious')", "exception", "Permission", ""),
    "links": ("import os\ndef f(x, p):\n    os.symlink('HERE', 'in')\n    open('in/hacked', 'w')", "exception", "Permission", ""),
    "database": ("import sqlite3\ndef f(x, p):\n    sqlite3.connect('HERE/hacked')", "exception", "Permission", ""),
    "fifo": ("import os\ndef f(x, p):\n    os.mkfifo('HERE/hacked')", "exception", "Permission", ""),
    "folder": ("import os\ndef f(x, p):\n    at = os.open('HERE', os.O_RDONLY)\n    os.open('hacked', os.O_CREAT | os.O_WRONLY, dir_fd=at)", "exception", "Permission", ""),
    "mode": ("import os\ndef f(x, p):\n    os.fchmod(os.open('HERE/precious', os.O_RDONLY), 0o777)", "exception", "Permission", ""),
    "reads stdin": ("def f(x, p):\n    return input()", "exception", "EOFError", ""),
    "scratch": ("def f(x, p):\n    open('mine', 'w').write('x')\n    return g(x, p)", "", "", ""),
    "globals": ("def f(x, p):\n    np.pad = None\n    np.asarray = None\n    return x", "wrong shape", "", ""),
    "recursion": ("def f(x, p):\n    return f(x, p)", "exception", "RecursionError", ""),
    "raises": ("def f(x, p):\n    y = x\n    return y[9]", "exception", "line 6: return y[9]", ""),
    "missing": ("def ff(x, p): pass", "missing", "did you mean ff", ""),
    "skipped": ("T = np.arange(3)\ndef f(x, p): return T", "exception", "line 4, T = np.arange(3), was not carried out; --run-all does", ""),
    "skipped def": ("for i in (1,):\n    def f(x, p): return x", "missing", "for i in (1,):, was not carried out; --run-all does", ""),
    "nothing": ("def f(x, p): pass", "wrong shape", "nothing (None)", ""),
    "tuple": ("def f(x, p): return x, x", "wrong shape", "a tuple of 2", ""),
    "no array": ("class T:\n    dtype = 'torch.bfloat16'\n    def __array__(self, *_, **__): raise TypeError('BFloat16')\ndef f(x, p): return T()", "wrong shape", "T of torch.bfloat16, which NumPy cannot take as an array (TypeError: BFloat16)", ""),
    "complex": ("def f(x, p): return g(x, p) * 1j", "wrong shape", "complex", ""),
    "objects": ("def f(x, p): return np.array([f, g])", "wrong shape", "object", ""),
    "changes": ("def f(x, p):\n    y = g(x, p)\n    x[0] = 0\n    return y", "changed its input", "x", ""),
    "nan": ("def f(x, p): return g(x, p) * float('nan')", "wrong values", "", ""),
    "almost": ("def f(x, p): return g(x, p) + 1e-5", "wrong values", "", ""),
    "broadcasts": ("def f(x, p): return g(x, p)[:1]", "wrong shape", "", ""),
    "decorated": ("from numba import jit\n@jit(nopython=True)\ndef f(x, p):\n    return g(x, p)", "", "", ""),
    "stub used": ("import tensorflow as tf\ndef f(x, p):\n    return tf.pad(x, p)", "exception", "tensorflow", ""),
    "stub base": ("import torch_not_there as t\nclass N(t.nn.Module): pass\ndef f(x: t.T, p): return g(x, p)", "", "", ""),
    "forges": ("import os\ndef f(x, p):\n    for fd in range(3, 60):\n        try: os.write(fd, b'y' * 64)\n        except OSError: pass\n    return x", "exception", "", "any"),
    "garbage": ("def f(x, p) return", "missing", "SyntaxError", "missing"),
    "top loop": ("f = 3\nwhile True: pass\ndef f(x, p): return g(x, p)", "", "", ""),
    "top exit": ("import os\nos._exit(3)\ndef f(x, p): return g(x, p)", "", "", ""),
}  # fmt: skip


def submission(body: str, here: Path) -> str:
    return G + body.replace("HERE", str(here)) + "\n"


def judge(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    config = folder.parent / "c.yaml"
    config.write_text(CONFIG)
    flags = ["--json", "--timeout", "1", "--max-memory", "1G", *more]
    assert main(["run", str(config), "--against", str(folder), *flags]) in (0, 1)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_200_hostile_copies_in_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is there, each with its own reason, and nothing outside is touched."""
    folder, here = tmp_path / "s", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    (here / "precious").write_text("kept")
    # Each kind once; those that need no waiting again and again, up to 200.
    slow = ("loops", "sleeps", "hoards", "crashes")
    quick = [name for name in HOSTILE if name not in slow]
    names = list(HOSTILE) + [quick[n % len(quick)] for n in range(200 - len(HOSTILE))]
    for number, name in enumerate(names):
        (folder / f"{number:03}.py").write_text(submission(HOSTILE[name][0], here))
    temporary = tmp_path / "temporary"  # which no other test uses at the same time
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))  # for the workers, which make the folders
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    started = time.monotonic()
    records = judge(folder, capsys, "--jobs", "4")
    assert time.monotonic() - started < 240
    assert len(records) == 400
    assert sorted(os.listdir(here)) == ["precious"]
    assert (here / "precious").read_text() == "kept"
    assert sorted(os.listdir(folder)) == [f"{number:03}.py" for number in range(200)]
    assert not os.listdir(temporary)
    for number, name in enumerate(names):
        first, second = records[2 * number : 2 * number + 2]
        _, reason, words, other = HOSTILE[name]
        assert Path(first["implementation"]).name == f"{number:03}.py"
        assert first.get("reason", "") == reason, (name, first.get("cause"))
        notes = " ".join(str(check.get("note")) for check in first["checks"])
        assert words in notes, (name, notes)
        if other != "any":
            assert second.get("reason", "") == other, (name, second.get("cause"))


UNSTEADY = {
    "global": "kept = [0]\ndef f(x, p):\n    kept[0] = kept[0] + g(x, p)\n    return kept[0]",
    "shape": "kept = {}\ndef f(x, p):\n    return kept.setdefault(x.shape, g(x, p))",
    "random": "def f(x, p): return g(x, p) * (np.random.rand() > 0.5)",
    "counts": "kept = [0]\ndef f(x, p):\n    kept[0] += 1\n    return g(x, p) / (kept[0] < 2)",
    "raises": "kept = []\ndef f(x, p):\n    kept.append(p)\n    assert len(kept) < 2\n    return g(x, p)",
    "file": "def f(x, p):\n    open('mine', 'x')\n    return g(x, p)",
}
STEADY = {
    "plain": "def f(x, p): return g(x, p)",
    "indices": "kept = {}\ndef f(x, p):\n    kept.setdefault(x.shape, p)\n    return g(x, kept[x.shape])",
    "raises of others": "def f(x, p):\n    assert x[0, 0, 0, 0] == FIRST\n    return g(x, p)",
    "seeds": "def f(x, p):\n    np.random.seed(3)\n    return g(x, p) + 0 * np.random.rand()",
    "dies of others": "import os\ndef f(x, p):\n    if x[0, 0, 0, 0] != FIRST: os._exit(1)\n    return g(x, p)",
    "hangs of others": "def f(x, p):\n    while x[0, 0, 0, 0] != FIRST: pass\n    return g(x, p)",
    "noise": "kept = [0]\ndef f(x, p):\n    kept[0] += 1\n    return g(x, p) * (1 + 1e-13 * kept[0])",
}


def test_what_is_kept_from_call_to_call_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a case's own second call; what its call with other numbers does is nobody's fault."""
    folder = tmp_path / "s"
    folder.mkdir()
    first = first_of("normal:2x3x4x5")
    for name, body in (UNSTEADY | STEADY).items():
        text = body.replace("FIRST", repr(first))
        (folder / f"{name}.py").write_text(submission(text, tmp_path))
    started = time.monotonic()
    records = [one for one in judge(folder, capsys, "--jobs", "2") if one["name"] == "first"]
    assert time.monotonic() - started < 60
    for one in records:
        name = Path(one["implementation"]).stem
        reason = "wrong values" if name in UNSTEADY else ""
        assert one.get("reason", "") == reason, (name, one.get("cause"))
        if reason:
            (check,) = one["checks"]
            assert "right when called first, not when called again" in one["cause"]
            assert "right when called first, not when called again" in check["note"]
            assert (one["earned"], check["mismatched"]) == (0, 0)


def first_of(source: str) -> float:
    """Return the first element that a source gives x, of the default seed."""
    shape = tuple(map(int, source.split(":")[1].split("x")))
    return float(np.random.default_rng([0, *b"x"]).normal(size=shape).flat[0])


BACKWARD = """
layer: conv
tensors: {x: "normal:2x3x4x5", w: "normal:2x3x2x2", dy: normal}
call: {"y, cache": "f(x, w)", "dw": "g(dy, cache)"}
"""


def test_an_array_that_is_reached_through_a_cache_is_its_caller_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = (Path(__file__).parents[3] / "samples/submissions/ana.py").read_text()
    text = (
        right
        + """
def f(x, w):
    return convolution2D(x, w, (1, 1), (0, 0)), (x, w)

def g(dy, cache):
    x, w = cache
    dw = convolution2D_backward_filter(dy, x, w, (1, 1))
    SPOIL
    return dw
"""
    )
    config = tmp_path / "c.yaml"
    config.write_text(BACKWARD)
    for spoil, status in (("x *= 0", 1), ("x = x * 0", 0)):
        (tmp_path / "s.py").write_text(text.replace("SPOIL", spoil))
        assert main(["run", str(config), "--against", str(tmp_path / "s.py"), "--json"]) == status
        (one,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        if status:
            assert one["reason"] == "changed its input"
            assert one["checks"][-1]["changed"] == ["x"]


def test_all_of_a_file_runs_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s").mkdir()
    body = "table = {'one': 1}.copy()\ndef f(x, p):\n    table['one']\n    return g(x, p)\n"
    (tmp_path / "s/a.py").write_text(submission(body, tmp_path))
    assert judge(tmp_path / "s", capsys)[0]["reason"] == "exception"
    assert judge(tmp_path / "s", capsys, "--run-all")[0]["status"] == "passed"


def test_resume_keeps_what_is_there_and_judges_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results = tmp_path / "s", tmp_path / "r.jsonl"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.py").write_text(submission("def f(x, p): return x", tmp_path))
    flags = ("--results", str(results), "--resume")
    before = judge(folder, capsys, *flags)
    assert [one["status"] for one in before] == ["failed", "passed"] * 2
    with results.open("a") as stream:
        stream.write('{"format": "cnncli.res')
    (folder / "b.py").write_text(submission("def f(x, p): return g(x, p)", tmp_path))
    after = judge(folder, capsys, *flags)
    assert after[:2] == before[:2]  # the very records, seconds and all
    assert [one["status"] for one in after[2:]] == ["passed", "passed"]
    assert len(results.read_text().splitlines()) == 4  # what no longer holds is dropped


NAMES = {
    os.fsdecode(b"M\xfcller.py"): r"M\udcfcller.py",
    "a\nb.py": r"a\nb.py",
    "M\u00fcller.py": "M\u00fcller.py",
    r"c\n.py": r"c\n.py",
}
"""Names of files, one of them of a Windows zip, and how a report shows them."""


def test_a_name_that_is_no_text_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every report, kept and read again; and the name that is shown is one that is taken."""
    folder = tmp_path / "s"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(submission("def f(x, p): return g(x, p)[..., 0]", tmp_path))
    paths = {name: tmp_path / name for name in ("csv", "junit", "results")}
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    shown = {str(folder / name) for name in NAMES.values()}
    for _ in range(2):
        records = judge(folder, capsys, *flags, "--resume")
        assert {one["implementation"] for one in records} == shown
        assert [one["status"] for one in records] == ["failed", "passed"] * len(NAMES)
    assert len(paths["results"].read_text().splitlines()) == 2 * len(NAMES)
    table = paths["csv"].read_text()
    assert {row.split(",")[0] for row in table.splitlines()[1:]} == shown
    main(["run", str(tmp_path / "c.yaml"), "--against", str(folder), "--shrink"])
    out = capsys.readouterr().out
    for name in NAMES.values():
        assert name in out
        assert name in paths["junit"].read_text()
        assert judge(folder / name, capsys)[1]["status"] == "passed"
