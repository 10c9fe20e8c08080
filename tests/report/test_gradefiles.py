"""Grades as files: each held against the format that its readers expect."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cnncli.checks.check import Check
from cnncli.cli.app import main
from cnncli.report.gradefiles import csv_text
from cnncli.report.junit import JUnitFile
from cnncli.runs.grades import Row, commonest
from cnncli.runs.result import Grade, Result
from tests.report import junitschema

ROOT = Path(__file__).parents[2]
HOMEWORK = str(ROOT / "configs/homework-notebook.yaml")


def result(name: str, cause: str | None = "why", reason: str = "exception") -> Result:
    """Return what a person's file gave, wrong for a reason unless the cause is None."""
    failed = Check(
        check="against",
        implementation=name,
        tensor="y",
        verdict="fail",
        reason=reason,
        diagnosis=[{"cause": cause}],
    )
    return Result(
        name="case",
        status="passed" if cause is None else "failed",
        checks=[] if cause is None else [failed],
        seconds=0.5,
        implementation=name,
        grade=Grade(function="f", points=3.0),
    )


def row(name: str, cause: str | None = "why", reason: str = "exception") -> Row:
    return Row(submission=name, results=[result(name, cause, reason)])


def test_csv_has_a_row_a_submission_and_no_formula() -> None:
    rows = [row("=cmd()|'x'.py", 'a "quoted", cause'), row("b.py", None)]
    table = list(csv.reader(io.StringIO(csv_text(rows))))
    assert table == [
        ["submission", "points", "possible", "f", "f verdict", "f cause", "notes"],
        ["'=cmd()|'x'.py", "0.0", "3.0", "0.0", "exception", 'a "quoted", cause', ""],
        ["b.py", "3.0", "3.0", "3.0", "right", "", ""],
    ]


def test_junit_holds_any_text(tmp_path: Path) -> None:
    file = JUnitFile(str(tmp_path / "out.xml"))
    file.take(result("a\x00<b>.py", "\x1b[0m & \ud800"))
    file.take(result(" "))
    file.end()
    text = (tmp_path / "out.xml").read_text()
    assert junitschema.faults(text) == []
    first, second = ElementTree.fromstring(text)
    assert first.get("tests") == first.get("failures") == second.get("tests") == "1"
    (case,) = first.iter("testcase")
    (failure,) = case
    assert failure.tag == "failure"
    assert failure.get("type") == "exception"


def test_files_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gradescope: https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format."""
    files = {name: tmp_path / name for name in ("csv", "junit", "gradescope")}
    flags = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    notebook = str(ROOT / "samples/submissions/filiz.ipynb")
    assert main(["run", HOMEWORK, "--against", notebook, *flags]) == 1
    text = capsys.readouterr().out
    assert "19 of 26 points" in text
    data = json.loads(files["gradescope"].read_text())
    known = {
        "score",
        "execution_time",
        "output",
        "output_format",
        "visibility",
        "stdout_visibility",
    }
    assert set(data) <= known | {"tests", "extra_data", "leaderboard", "test_output_format"}
    assert isinstance(data["execution_time"], int)
    assert len(data["tests"]) == 15
    for test in data["tests"]:
        assert set(test) <= {
            *("score", "max_score", "status", "name", "name_format", "number", "output"),
            *("output_format", "tags", "visibility", "extra_data"),
        }
        assert test["status"] in ("passed", "failed")
        assert test["visibility"] in ("hidden", "after_due_date", "after_published", "visible")
        assert test["output_format"] in ("text", "html", "simple_format", "md", "ansi")
        assert 0 <= test["score"] <= test["max_score"]
        assert test["score"] == (test["max_score"] if test["status"] == "passed" else 0)
    assert data["score"] == sum(test["score"] for test in data["tests"]) == 19
    assert junitschema.faults(files["junit"].read_text("utf-8")) == []
    suites = ElementTree.parse(files["junit"]).getroot()
    assert len(suites.findall("testsuite/testcase")) == 15
    assert len(suites.findall("testsuite/testcase/failure")) == 3
    (row,) = csv.DictReader(io.StringIO(files["csv"].read_text()))
    assert row["points"] == "19.0"
    assert row["convolution2D_backward_input verdict"] == "wrong values"


def test_shrinking_finds_the_smallest_geometry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.py"
    right = (ROOT / "samples/submissions/ana.py").read_text()
    path.write_text(right.replace("] += part", "] = part"))
    config = f"{HOMEWORK}::conv-input-gradient/overlap"
    assert main(["run", config, "--against", str(path), "--shrink"]) == 1
    text = capsys.readouterr().out
    assert "smallest geometry found: x 1x1x" in text
    (told,) = [line.strip() for line in text.splitlines() if line.strip().startswith("cnncli conv")]
    (element,) = [line for line in text.splitlines() if ", should be " in line]
    import shlex

    assert main(shlex.split(told)[1:]) == 1  # the command that it prints shows the same
    again = capsys.readouterr().out
    assert "written over each other" in again
    assert element.split()[0].strip() in again


def test_flags_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(ROOT / "samples/submissions")
    assert main(["run", HOMEWORK, "--shrink"]) == 2
    assert main(["run", HOMEWORK, "--csv", str(tmp_path / "c")]) == 2
    assert main(["run", HOMEWORK, "--against", folder, "--gradescope", "g"]) == 2
    assert main(["run", HOMEWORK, "--against", folder, "--resume"]) == 2
    assert main(["run", HOMEWORK, "--against", str(tmp_path)]) == 2
    assert main(["conv", "--x", "ones:1x1x3x3", "--w", "ones:1x1x2x2", "--against", "a/b.py"]) == 2
    capsys.readouterr()


def test_a_wrong_shape_is_told_with_both_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = tmp_path / "s.py", tmp_path / "t.csv"
    path.write_text("def pool_forward(x, kernel, stride, mode):\n    return x[:, :, 1:]\n")
    (tmp_path / "c.yaml").write_text(
        "{layer: pool, params: {kernel: 2}, tensors: {x: 'distinct:1x2x8x6'}, "
        "call: {y: 'pool_forward(x, kernel, stride, mode)'}}"
    )
    told = "1x2x7x6 should be 1x2x4x3"
    args = ["run", str(tmp_path / "c.yaml"), "--against", str(path)]
    assert main([*args, "--shrink", "--csv", str(table)]) == 1
    out = capsys.readouterr().out
    assert f"wrong shape: {told}" in out
    assert " should be " in out.split("\n  smallest geometry")[0].splitlines()[-1]
    (line,) = csv.DictReader(io.StringIO(table.read_text()))
    assert line["pool_forward cause"] == f"wrong shape: {told}"
    # A class counts the cause, not the sizes that it showed at.
    one = row("a.py", f"wrong shape: {told}", "wrong shape")
    other = row("b.py", "wrong shape: 2 should be 3", "wrong shape")
    (cause,) = commonest([one, other])
    assert (cause.text, cause.submissions) == ("wrong shape", ["a.py", "b.py"])
    single = ["pool", "--x", "distinct:1x2x8x6", "-k", "2", "--no-values", "--against", str(path)]
    assert main([*single, "--call", "y=pool_forward(x, kernel, stride, mode)"]) == 1
    out = capsys.readouterr().out
    assert out.count(told) == 2  # in its row, and where it ends
    assert "expected 1x2" not in out
