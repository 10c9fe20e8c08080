"""People's files and libraries that one case names together: nothing of either is lost."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from cnncli.cases.config import read_entries
from cnncli.errors import MemoryBoundError
from cnncli.runs.job import Job, Unit
from cnncli.runs.options import RunOptions
from tests.cli.invoke import Ended, call

CASE = """
{{layer: pad, tensors: {{x: "normal:1x2x3x4"}}, params: {{padding: [1, 2]}}{more}}}
"""
RIGHT = """
import numpy as np

def pad(x, padding):
    (h, w) = padding
    return np.pad(x, ((0, 0), (0, 0), (h, h), (w, w)))
"""
CALL = ', call: {y: "pad(x, padding)"}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.py").write_text(RIGHT)
    Path("empty").mkdir()
    return tmp_path


def written(*more: str) -> str:
    Path("c.yaml").write_text(CASE.format(more="".join(more)))
    return "c.yaml"


def records(ended: Ended) -> list[dict[str, object]]:
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (CALL + ", against: [loops, nofile.py]", "no file or folder nofile.py"),
        (CALL + ", against: [loops, empty]", "empty"),
        (", against: [loops, a.py]", "how people's functions are called"),
        (CALL + ", layout: nhwc, against: [loops, a.py]", "N, C, H, W"),
        (CALL + ", against: nofile.py", "no file or folder nofile.py"),
    ],
)
def test_what_keeps_a_case_from_a_file_is_the_case_s_error(more: str, told: str) -> None:
    ended = call("run", written(more))
    assert ended.status == 2
    assert told in ended.err
    assert "invalid" in ended.out
    listed = call("run", "c.yaml", "--jobs", "2", "--json")
    assert (listed.status, [one["status"] for one in records(listed)]) == (2, ["invalid"])


def test_a_case_that_no_function_is_called_for_is_said_to_be_left_out() -> None:
    Path("c.yaml").write_text(
        f"cases: [{CASE.format(more=', name: with' + CALL)},{CASE.format(more=', name: less')}]"
    )
    ended = call("run", "c.yaml", "--against", "loops", "--against", "a.py")
    assert ended.status == 0
    assert ended.err == "note: 1 case says no call and is left out: less\n"
    assert "2 cases: 2 passed" in ended.out


def test_a_case_s_own_result_is_whole_beside_those_of_people() -> None:
    """Its tensors, its own checks, and `--save`; a wrong expectation costs nobody a point."""
    written(CALL, ", against: [loops, a.py]", ", expect: {y: {sum: 12345}}")
    ended = call("run", "c.yaml", "--json", "--save", "out", "--values")
    own, theirs = records(ended)
    assert ended.status == 1
    assert (own["status"], "implementation" in own) == ("failed", False)
    assert {"x", "y"} <= set(own["tensors"])  # type: ignore[call-overload]
    assert (theirs["status"], theirs["implementation"]) == ("passed", "a.py")
    assert Path("out/c/y.npy").is_file()


def test_each_result_is_named_for_whose_it_is_and_can_be_had_alone() -> None:
    Path("b.py").write_text(RIGHT.replace("(w, w)", "(w, 0)"))
    written(CALL, ", against: [a.py, b.py]")
    ended = call("run", "c.yaml")
    assert "c.yaml::c (b.py)" in ended.out
    again = "cnncli run c.yaml::c --set 'against=\"b.py\"'"
    assert again in ended.out
    alone = call("run", "c.yaml::c", "--set", 'against="b.py"')
    assert alone.status == 1
    assert "a.py" not in alone.out
    # What was set is not set twice.
    ended = call("run", "c.yaml", "--set", "against=[b.py, loops]")
    (line,) = [line for line in ended.out.splitlines() if "cnncli run" in line]
    assert call(*shlex.split(line)[1:]).status == 1


def test_grades_of_files_that_the_config_names_are_written_too() -> None:
    written(CALL, ", against: [a.py, b.py]")
    assert call("run", "c.yaml", "--csv", "g.csv").status == 0
    assert [line.split(",")[0] for line in Path("g.csv").read_text().splitlines()[1:]] == [
        "a.py",
        "b.py",
    ]
    told = call("run", "c.yaml", "--gradescope", "g.json")
    assert "results.json is of one submission, but these are 2" in told.err


@pytest.mark.parametrize("config", [True, False])
def test_who_comes_later_costs_nobody_a_second_run(config: bool) -> None:
    def judged(*names: str) -> Ended:
        named = ", ".join(names)
        written(CALL, f", against: [{named}]" if config else "")
        flags = () if config else tuple(word for name in names for word in ("--against", name))
        return call("run", "c.yaml", *flags, "--results", "r.jsonl", "--resume")

    judged("a.py")
    before = Path("r.jsonl").read_text().splitlines()
    assert "to run: c" in judged("a.py", "b.py").err
    assert Path("r.jsonl").read_text().splitlines()[: len(before)] == before
    ended = judged("a.py", "b.py")
    total = 3 if config else 2
    assert ended.err == f"r.jsonl: {total} of {total} cases are there\n"
    assert len(Path("r.jsonl").read_text().splitlines()) == total


@pytest.mark.parametrize("flags", [("results", "gradescope"), ("junit", "csv")])
def test_two_outputs_cannot_be_one_file(flags: tuple[str, str]) -> None:
    written(CALL, ", against: a.py")
    (first, second) = flags
    ended = call("run", "c.yaml", f"--{first}", "out.x", f"--{second}", "./out.x")
    assert ended.status == 2
    assert ended.err.startswith("error: --")
    assert "out.x is the file of --" in ended.err
    assert not Path("out.x").exists()


def test_a_device_takes_two_outputs() -> None:
    written(CALL, ", against: a.py")
    assert call("run", "c.yaml", "--junit", "/dev/null", "--csv", "/dev/null").status == 0


@pytest.mark.parametrize("error", [MemoryError(), MemoryBoundError("needs 2 GiB of 1 GiB")])
def test_memory_that_ran_short_once_a_file_was_reached_costs_no_row(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    job = Job(options=RunOptions(), against=("a.py",))
    (entry,) = read_entries(written(CALL))
    (submission,) = job.resolve(job.build(entry))
    monkeypatch.setattr(Job, "_exercise", fails)
    (result,) = job(Unit(entries=(entry,), submission=submission))
    assert (result.status, result.implementation) == ("crashed", "a.py")
