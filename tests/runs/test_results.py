"""The results file, of cases and of people's code alike: nothing lost, nothing stale kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cnncli.errors import UsageError
from cnncli.runs.result import Fault, Result, TensorResult
from cnncli.runs.results import ResultsFile, Wanted
from tests.building import result_of
from tests.cli.invoke import Ended, call, complaint

CONFIG = """
defaults: {layer: pad, tensors: {x: "normal:1x2x3x4"}, call: {y: "pad(x, padding)"}}
cases:
  - {name: one, params: {padding: 1}}
  - {name: two, params: {padding: [1, 2]}}
"""
RIGHT = """
import numpy as np

def pad(x, padding):
    (h, w) = padding
    return np.pad(x, ((0, 0), (0, 0), (h, h), (w, w)))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    Path("subs").mkdir()
    for name in ("a", "b"):
        Path(f"subs/{name}.py").write_text(RIGHT)
    return tmp_path


def judge(*flags: str) -> Ended:
    return call("run", "c.yaml", "--against", "subs", "--results", "r.jsonl", *flags)


def lines() -> list[str]:
    return Path("r.jsonl").read_text().splitlines()


@pytest.mark.parametrize("against", [(), ("--against", "subs")])
def test_a_lone_line_of_something_else_is_not_taken_for_a_torn_result(
    against: tuple[str, ...],
) -> None:
    Path("n.txt").write_text("dear diary")
    message = complaint(call("run", "c.yaml", *against, "--results", "n.txt", "--resume"))
    assert "n.txt:1: this is not a line of results" in message
    assert Path("n.txt").read_text() == "dear diary"


def test_a_plain_run_leaves_grades_alone_and_grades_a_plain_run() -> None:
    assert judge("--quiet").status == 0
    grades = lines()
    assert len(grades) == 4
    plain = ("run", "c.yaml", "--results", "r.jsonl", "--resume", "--quiet")
    assert call(*plain).status == 0
    assert lines()[:4] == grades
    assert len(lines()) == 6
    assert judge("--resume", "--quiet").status == 0
    assert len(lines()) == 6


def test_resuming_people_s_code_runs_what_is_missing_and_converges() -> None:
    assert judge("--quiet").status == 0
    whole = lines()
    Path("r.jsonl").write_text("\n".join((whole[0], *whole[2:])) + "\n")
    for _ in range(2):
        assert judge("--resume", "--quiet").status == 0
        assert len(lines()) == 4
        names = [(json.loads(one)["implementation"], json.loads(one)["name"]) for one in lines()]
        assert len(set(names)) == 4


def test_two_runs_of_people_s_code_cannot_write_one_file() -> None:
    file = ResultsFile("r.jsonl", resume=False)
    command = [sys.executable, "-m", "cnncli", "run", "c.yaml", "--against", "subs"]
    done = subprocess.run(
        [*command, "--results", "r.jsonl", "--resume"], capture_output=True, text=True, check=False
    )
    file.close()
    assert done.returncode == 2
    assert "r.jsonl is being written by another run" in done.stderr


@pytest.mark.parametrize("against", [(), ("--against", "subs")])
@pytest.mark.parametrize("name", ["absent/r.jsonl", "subs", "", "a" * 300])
def test_a_file_that_cannot_be_is_one_error(against: tuple[str, ...], name: str) -> None:
    ended = call("run", "c.yaml", *against, "--results", name)
    message = complaint(ended)
    assert message.startswith("--results: ")
    assert ended.out == ""


@pytest.mark.parametrize("against", [(), ("--against", "subs")])
@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b'{"format": "cnncli.result/1"}',
        b'{"format": "cnncli.result/1", "name": 1, "status": "passed"}',
        b'{"format": "cnncli.result/1", "name": "a", "status": "passed", "checks": [1]}',
    ],
)
def test_a_line_that_is_no_result_costs_nothing_but_itself(
    against: tuple[str, ...], line: bytes
) -> None:
    Path("r.jsonl").write_bytes(line + b"\n")
    ended = call("run", "c.yaml", *against, "--results", "r.jsonl", "--resume", "--quiet")
    if line.startswith(b"{"):  # one of ours, torn: dropped
        assert ended.status == 0
        assert len(lines()) == (4 if against else 2)
    else:
        assert "r.jsonl:1: this is not a line of results" in complaint(ended)
        assert Path("r.jsonl").read_bytes() == line + b"\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("against", [(), ("--against", "subs")])
def test_a_device_is_no_file_to_resume(against: tuple[str, ...]) -> None:
    ended = call("run", "c.yaml", *against, "--results", "/dev/full", "--resume")
    assert "/dev/full is not a file, so nothing can be resumed" in complaint(ended)


@pytest.mark.parametrize("flag", ["--csv", "--junit", "--gradescope"])
def test_where_grades_cannot_be_written_nothing_is_judged(flag: str) -> None:
    Path("subs/a.py").write_text("open('/tmp/never', 'w')")
    Path("subs/b.py").unlink()
    message = complaint(call("run", "c.yaml", "--against", "subs", flag, "no/file"))
    assert message == f"{flag}: no/file cannot be written: there is no folder no"


def result(name: str) -> Result:
    return Result(name=name, status="done", file="c.yaml").written()


def test_a_file_that_is_removed_while_it_is_written_is_noticed() -> None:
    with closing(ResultsFile("r.jsonl", resume=False)) as file:
        file.take(result("a"))
        Path("r.jsonl").unlink()
        with pytest.raises(UsageError, match="was removed while results were written"):
            file.take(result("b"))


def test_a_file_that_is_cut_while_it_is_written_is_noticed_and_can_be_resumed() -> None:
    with closing(ResultsFile("r.jsonl", resume=False)) as file:
        for name in ("a", "b"):
            file.take(result(name))
        os.truncate("r.jsonl", 10)
        with pytest.raises(UsageError, match="was changed while results were written"):
            file.take(result("c"))
    assert b"\0" not in Path("r.jsonl").read_bytes()
    with closing(ResultsFile("r.jsonl", resume=True)) as file:
        file.keep([Wanted(identity=("c.yaml::c", None), key=lambda: "another key")])
        assert file.notes[0] == "dropped line 1, which was torn"


def test_a_result_is_read_as_it_was_recorded() -> None:
    expected = {"y": [{"sum": 1.0}, {"shape": [2, 3]}]}
    tensors = {"x": "normal:2x3x6x5", "w": "normal:4x3x3x2"}
    for found in (
        result_of("conv", {"stride": 2}, tensors, expect=expected, gradcheck=True),
        result_of("conv", {}, tensors, against="loops"),
        result_of("pool", {"kernel": 2}, {"x": {"values": [[[[1.0, float("inf")], [2.0, 3.0]]]]}}),
        Result(name="a", status="invalid", error=Fault(message="no", where="c.yaml:1:1")),
    ):
        text = found.text()
        assert Result.read(text).record() == found.record()
        assert Result.read(text).text() == text
        lean = found.written(values=True)
        assert all(tensor.held is None for tensor in lean.tensors.values())
        assert json.loads(lean.line)["name"] == found.name


def test_what_is_no_result_is_a_value_error() -> None:
    for text in ("[]", "1", "{}", '{"format": "cnncli.result/1", "name": "a", "status": "fine"}'):
        with pytest.raises(ValueError, match="not a result"):
            Result.read(text)
    with pytest.raises(KeyError):
        TensorResult.read("x", {"role": "input"})
