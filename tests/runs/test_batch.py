"""Many cases to results: their order, what is kept, what is bad, and who gave each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cnncli.cases.config import Entry, read_entries
from cnncli.process.threads import ONE_THREAD
from cnncli.runs.batch import Batch, Kept, Units, hand_out
from cnncli.runs.job import Job, Unit
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result
from tests.cli.invoke import call

PADS = """
defaults: {layer: pad, tensors: {x: "normal:1x2x3x4"}}
cases:
  - {name: a, params: {padding: 1}}
  - {name: b, params: {padding: 1}, expect: {y: {sum: 12345}}}
  - {name: c, params: {padding: 1}}
  - {name: d, params: {padding: 1}}
"""
CALLED = """
defaults: {layer: pad, tensors: {x: "normal:1x2x3x4"}, call: {y: "f(x, p)"}}
cases:
  - {name: a, params: {padding: 1}, points: 2}
  - {name: b, params: {padding: 2}}
"""
RIGHT = "import numpy as np\ndef f(x, p):\n    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))\n"
WRONG = RIGHT.replace("(p, p)))", "(p, p)))[:, :, ::-1]")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries(text: str) -> list[Entry]:
    Path("c.yaml").write_text(text)
    return read_entries("c.yaml")


def ran(batch: Batch, kept: Kept) -> list[tuple[str, bool]]:
    """Return the name of every result of c.yaml in turn, and whether it was kept."""
    units = Units(batch.job, read_entries("c.yaml"))
    return [(one.name, one.kept) for some in batch.run(units, kept) for one in some]


def of_before(name: str) -> Result:
    return Result(name=name, file="c.yaml", status="done", kept=True)


def kept_of(who: str | None, names: str) -> Kept:
    return {(f"c.yaml::{name}", who): [of_before(name)] for name in names}


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("names", ["", "a", "d", "ab", "bd", "abcd"])
def test_what_is_kept_stands_among_the_fresh_in_the_order_of_cases(names: str, jobs: int) -> None:
    entries(PADS)
    found = ran(Batch(job=Job(options=RunOptions()), jobs=jobs), kept_of(None, names))
    assert found == [(name, name in names) for name in "abcd"]


def test_with_fail_fast_nothing_comes_after_the_first_that_is_not_well() -> None:
    entries(PADS)
    batch = Batch(job=Job(options=RunOptions()), jobs=2, fail_fast=True)
    assert ran(batch, {}) == [("a", False), ("b", False)]
    # What failed before is no reason to run nothing.
    assert [name for name, _ in ran(batch, kept_of(None, "b"))] == [*"abcd"]


def test_of_a_person_s_file_the_cases_that_are_missing_are_run() -> None:
    entries(CALLED)
    Path("s.py").write_text(RIGHT)
    batch = Batch(job=Job(options=RunOptions(), against=("s.py",)))
    assert ran(batch, {}) == [("a", False), ("b", False)]
    for kept in "ab":
        before = kept_of("s.py", kept)
        assert ran(batch, before) == [(name, name == kept) for name in "ab"]


def test_an_answer_for_a_unit_whose_process_died_is_one_for_every_case() -> None:
    some = entries(CALLED)
    Path("s.py").write_text("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    batch = Batch(job=Job(options=RunOptions(), against=("s.py",), keyed=True))
    (unit,) = Units(batch.job, some).submissions
    engine = batch._engine()
    lost = engine.lost(unit, "crashed", "its process died", 1.0)
    assert [(one.name, one.status, one.implementation) for one in lost] == [
        ("a", "crashed", "s.py"),
        ("b", "crashed", "s.py"),
    ]
    assert [one.grade.points for one in lost if one.grade is not None] == [2.0, 1.0]
    assert [one.key for one in lost] == [batch.job.key(entry, unit.submission) for entry in some]


@dataclass
class Heard:
    """A sink that writes down what it hears."""

    heard: list[str] = field(default_factory=list)

    def take(self, result: Result) -> None:
        self.heard.append(result.name)

    def end(self) -> None:
        self.heard.append("end")


def test_sinks_end_whatever_breaks_the_run_off() -> None:
    def broken() -> Iterator[Sequence[Result]]:
        yield [of_before("a")]
        raise KeyboardInterrupt

    sinks = [Heard(), Heard()]
    with pytest.raises(KeyboardInterrupt):
        hand_out(broken(), sinks)
    assert [sink.heard for sink in sinks] == [["a", "end"]] * 2


def test_libraries_and_files_in_one_command_come_in_the_contract_s_order() -> None:
    """By case, then library; then people's code by submission, then case."""
    entries(CALLED + "  - {name: c, params: {padding: 1}}\n")
    Path("subs").mkdir()
    Path("subs/a.py").write_text(RIGHT)
    Path("subs/b.py").write_text(WRONG)
    flags = ("--against", "subs", "--against", "loops", "--against", "onnx")
    several: list[tuple[str, ...]] = [
        (),
        ("--jobs", "3"),
        ("--results", "r.jsonl"),
        ("--results", "r.jsonl", "--resume"),
    ]
    for more in several:
        found = call("run", "c.yaml", "--json", *flags, *more).results
        told = [(one["implementation"].split()[0], one["name"], one["status"]) for one in found]
        own = [(who, name, "passed") for name in "abc" for who in ("loops", "onnxruntime")]
        right = [("subs/a.py", name, "passed") for name in "abc"]
        assert told == own + right + [("subs/b.py", name, "failed") for name in "abc"]
        people = {"function", "points", "earned", "notes", "shrunk"}
        assert [people <= one.keys() for one in found] == [False] * 6 + [True] * 6
        assert not any(people & one.keys() for one in found[:6])
        assert [one["earned"] for one in found[6:]] == [2, 1, 1, 0, 0, 0]


def test_a_case_of_people_s_code_that_is_impossible_is_skipped_where_it_may_be() -> None:
    entries("""
layer: pool
tensors: {x: "normal:1x2x5x4"}
sweep: {params.kernel: [2, 9]}
skip_invalid: true
call: {y: "f(x)"}
""")
    Path("s.py").write_text(
        "def f(x):\n    return x[:, :, :4].reshape(1, 2, 2, 2, 2, 2).max((3, 5))\n"
    )
    ended = call("run", "c.yaml", "--json", "--against", "s.py")
    assert ended.status == 0, ended.err
    told = {one["name"]: (one["status"], one.get("implementation")) for one in ended.results}
    assert told == {"c/kernel=9": ("skipped", None), "c/kernel=2": ("passed", "s.py")}


BAD = [
    "{layer: [conv], descriptor: ic3ih9oc2kh3}",
    '{layer: pad, params: {padding: 1}, tensors: {x: "ones:1x1x2x2"}, call: {y: "f(-[])"}}',
    "{layer: pad, params: {padding: 1}, tensors: {x: not-there.npy}}",
    "{layer: pad, params: [1]}",
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("flags", [(), ("--jobs", "2"), ("--against", "s.py"), ("--list",)])
def test_a_bad_case_is_its_own_result_and_told_once(bad: str, flags: tuple[str, ...]) -> None:
    Path("s.py").write_text(RIGHT)
    pad = 'layer: pad, params: {padding: 1}, tensors: {x: "ones:1x1x2x2"}, call: {y: "f(x, p)"}'
    bad = bad if "call" in bad or not flags else bad[:-1] + ", call: {y: 'f(x, p)'}}"
    Path("c.yaml").write_text(
        f"cases:\n  - {{name: a, {pad}}}\n  - {bad}\n  - {{name: z, {pad}}}\n"
    )
    files = () if "--list" in flags else ("--results", "r.jsonl")
    for more in [(), ("--resume",)][: 2 if files else 1]:
        ended = call("run", "c.yaml", "--json", *flags, *files, *more)
        assert ended.status == 2
        assert ended.err.count("error: c.yaml:") == (0 if more else 1), ended.err
        assert "fault of cnncli" not in ended.err
        if files:
            statuses = {one["name"]: one["status"] for one in ended.results}
            assert statuses.pop("c#2") == "invalid"
            assert set(statuses.values()) <= {"passed", "done"}
            assert set(statuses) == {"a", "z"}
            assert all(one["key"] for one in ended.results)
            assert Path("r.jsonl").read_text().count("\n") == 3
            assert "to run" not in ended.err


def test_one_mistake_in_a_sweep_is_told_once_with_the_number_of_its_cases() -> None:
    entries("""
layer: pad
strid: 2
tensors: {x: "ones:1x1x2x2"}
sweep: {params.padding: [0, 1, 2, 3], seed: [1, 2, 3, 4, 5, 6]}
""")
    for flags in ((), ("--jobs", "2")):
        ended = call("run", "c.yaml", *flags)
        assert ended.status == 2
        assert ended.err.count("strid") == 1
        rows = [line for line in ended.out.splitlines() if line.startswith("invalid")]
        assert len(rows) <= 2
    entries("""
layer: pad
params: {valu: 2}
tensors: {x: "ones:1x1x2x2"}
sweep: {params.padding: [0, 1, 2, 3], seed: [1, 2, 3, 4, 5, 6]}
""")
    for flag in ("--quiet", "--jobs=2", "--list"):
        ended = call("run", "c.yaml", flag)
        assert ended.status == 2
        (error,) = [line for line in ended.err.splitlines() if line.startswith("error:")]
        assert error.endswith("(in 24 cases)")
        rows = [line for line in ended.out.splitlines() if line.startswith("invalid")]
        more = ["invalid  and 23 more cases with the same error"]
        assert [line.rstrip() for line in rows][1:] == (more if flag == "--jobs=2" else [])


def test_in_junit_what_nothing_was_checked_of_is_skipped_with_its_reason() -> None:
    entries(PADS)
    assert call("run", "c.yaml", "--quiet", "--junit", "j.xml").status == 1
    tags = {
        case.get("name"): [(child.tag, child.get("message")) for child in case]
        for case in ET.parse("j.xml").getroot().iter("testcase")
    }
    assert [tag for tag, _ in tags.pop("b")] == ["failure"]
    assert set(tags) == {*"acd"}
    for ((tag, message),) in tags.values():
        assert tag == "skipped"
        assert message


def test_a_file_named_by_a_relative_and_an_absolute_path_is_judged_once() -> None:
    entries(CALLED)
    Path("s.py").write_text(RIGHT)
    paths = ("--against", "s.py", "--against", str(Path("s.py").resolve()), "--against", ".")
    ended = call("run", "c.yaml", "--json", *paths)
    assert ended.status == 0, ended.err
    assert [(one["implementation"], one["name"]) for one in ended.results] == [
        ("s.py", "a"),
        ("s.py", "b"),
    ]
    Path("t.py").write_text(WRONG)
    other = str(Path("t.py").resolve())
    ended = call("run", "c.yaml", "--against", "s.py", "--against", other)
    assert ended.status == 1, ended.err
    assert "s.py" in ended.out
    assert "t.py" in ended.out


CONV = """
layer: conv
tensors: {x: "normal:4x32x40x40", w: "normal:48x32x3x3"}
backward: true
"""


def test_bits_are_the_same_alone_beside_others_and_through_conv() -> None:
    """In processes whose environment says nothing of threads, as at a user's."""
    Path("one.yaml").write_text(CONV)
    Path("two.yaml").write_text(PADS)
    environment = {k: v for k, v in os.environ.items() if k not in ONE_THREAD}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    conv = ("conv", "--x", "normal:4x32x40x40", "--w", "normal:48x32x3x3", "--backward")
    found = []
    for number, args in enumerate(
        [
            ("run", "one.yaml", "--save", "0"),
            ("run", "one.yaml", "two.yaml", "--save", "1"),
            ("run", "two.yaml", "one.yaml", "--jobs", "2", "--save", "2"),
            (*conv, "--save", "3/one"),
            (*conv, "--threads", "2", "--save", "4/one"),
        ]
    ):
        done = subprocess.run(
            [sys.executable, "-m", "cnncli", *args, *(["--quiet"])],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr  # two.yaml holds a case that fails
        found.append([Path(f"{number}/one/{name}.npy").read_bytes() for name in ("y", "dx", "dw")])
    assert all(some == found[0] for some in found[1:])


def test_a_record_in_the_results_file_is_what_json_prints() -> None:
    entries(PADS)
    ended = call("run", "c.yaml", "--json", "--results", "r.jsonl")
    assert Path("r.jsonl").read_text() == ended.out
    assert [json.loads(line)["name"] for line in ended.out.splitlines()] == [*"abcd"]


def test_a_unit_s_results_are_known_by_case_and_submission() -> None:
    some = entries(CALLED)
    Path("s.py").write_text(RIGHT)
    job = Job(options=RunOptions(), against=("s.py", "loops"))
    units = list(Units(job, some))
    assert [unit.identity(unit.entries[0]) for unit in units] == [
        ("c.yaml::a", None),
        ("c.yaml::b", None),
        ("c.yaml::a", "s.py"),
    ]
    assert [len(unit.entries) for unit in units] == [1, 1, 2]
    assert isinstance(units[0], Unit)


def test_a_file_that_was_missing_and_comes_leaves_no_word_of_it_behind() -> None:
    entries(CALLED.replace('"normal:1x2x3x4"', "x.npy"))
    Path("s.py").write_text(RIGHT)
    args = ("run", "c.yaml", "--against", "s.py", "--results", "r.jsonl", "--resume", "--json")
    for _ in range(2):
        assert [one["status"] for one in call(*args).results] == ["invalid", "invalid"]
        assert len(Path("r.jsonl").read_text().splitlines()) == 2
    np.save("x.npy", np.ones((1, 2, 3, 4)))
    for _ in range(2):
        assert [one["status"] for one in call(*args).results] == ["passed", "passed"]
        assert len(Path("r.jsonl").read_text().splitlines()) == 2
