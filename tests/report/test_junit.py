"""JUnit XML: valid, one testcase a case, with what a failure's reader needs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cnncli.cli.app import main
from cnncli.report.junit import JUnitFile
from cnncli.runs.result import Fault, Result
from tests.report.junitschema import faults

CONFIG = """
cases:
  - {name: right, layer: pad, tensors: {x: "normal:1x2x3x4"}, params: {padding: 1}}
  - name: "wrong <&\\"'>"
    layer: pad
    tensors: {x: {values: [[[[1, 2], [3, 4]]]]}}
    params: {padding: 0}
    expect: {y: {values: [[[[1, 2], [3, 5]]]]}}
  - {name: missing, layer: pad, tensors: {x: not-there.npy}, params: {padding: 1}}
  - name: never
    layer: pad
    tensors: {x: "normal:1x1x2x2"}
    params: {padding: -9}
    skip_invalid: true
"""


def test_a_run_of_every_kind_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    assert main(["run", "c.yaml", "--quiet", "--junit", "out.xml"]) == 2
    text = Path("out.xml").read_text()
    assert faults(text) == []
    (suite,) = ET.fromstring(text)
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["right", "wrong <&\"'>", "missing", "never"]
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "right": ["skipped"],
        "wrong <&\"'>": ["failure"],
        "missing": ["error"],
        "never": ["skipped"],
    }
    failure = cases["wrong <&\"'>"][0]
    assert "y[0,0,1,1] 4, expected 5" in failure.get("message", "")
    lines = (failure.text or "").splitlines()
    assert lines[-1].startswith("cnncli run 'c.yaml::wrong")
    assert cases["missing"][0].get("message") == (
        "c.yaml:9:46: x: not-there.npy: there is no such file"
    )


def test_where_it_cannot_be_written_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    assert main(["run", "c.yaml", "--junit", "no/out.xml"]) == 2
    ended = capsys.readouterr()
    assert ended.out == ""
    assert "--junit: no/out.xml cannot be written: there is no folder no" in ended.err


def test_text_that_xml_cannot_hold_is_replaced(tmp_path: Path) -> None:
    crashed = Result(
        name="a\x00b",
        file="c.yaml",
        status="crashed",
        error=Fault(message="\x1b[31m\ufffe ü 𝄞"),
        seconds=1e-9,
    )
    file = JUnitFile(str(tmp_path / "out.xml"))
    file.take(crashed)
    file.end()
    text = (tmp_path / "out.xml").read_text()
    assert faults(text) == []
    assert "ü 𝄞" in text


@pytest.mark.parametrize(
    "old, new",
    [
        ('hostname="', 'host="'),
        ('tests="4"', 'tests="5"'),
        ("<system-out/>", ""),
        ("<properties/>", "<properties/><properties/>"),
        ("<system-out/>", "<system-out/><system-out/>"),
        ('type="failed"', ""),
        ("<testsuites>", '<testsuites name="x">'),
        (' classname="c.yaml"', ""),
        ('time="', 'time="1e-9'),
    ],
)
def test_the_validator_sees_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    main(["run", "c.yaml", "--quiet", "--junit", "out.xml"])
    text = Path("out.xml").read_text()
    assert old in text
    assert faults(text.replace(old, new)) != []
