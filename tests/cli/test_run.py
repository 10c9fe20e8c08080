"""`run`: which cases, in what order, what is kept, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnncli.layers.table import LAYERS
from tests.cli.invoke import call, strict

PAD = "layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(path: str, *cases: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = f"defaults: {{{PAD}}}\ncases:\n" + "".join(f"  - {{{case}}}\n" for case in cases)
    Path(path).write_text(text)


def names(*args: str, stdin: bytes = b"") -> list[tuple[str, str]]:
    return [(r["name"], r["status"]) for r in call(*args, "--json", stdin=stdin).results]


def test_order_and_folders() -> None:
    config("d/b.yaml", "name: b1", "name: b2")
    config("d/a.yml", "name: a1")
    config("d/sub/c.yaml", "name: c1", "")
    Path("d/notes.txt").write_text("not a config")
    every = [("a1", "done"), ("b1", "done"), ("b2", "done"), ("c1", "done"), ("c#2", "done")]
    assert names("run", "d") == every
    assert names("run", "d/b.yaml", "d") == [*every[1:3], every[0], *every[3:]]
    assert names("run", "d", "./d/a.yml", "d") == every
    assert names("run", "d/b.yaml::b2", "d/sub/c.yaml::c#2") == [every[2], every[4]]


def test_statuses_combine() -> None:
    config("c.yaml", "expect: {y: {sum: 4}}", "expect: {y: {sum: 5}}", "")
    assert names("run", "c.yaml") == [("c#1", "passed"), ("c#2", "failed"), ("c#3", "done")]
    assert call("run", "c.yaml").status == 1
    config("bad.yaml", "params: {padding: -1}", "")
    assert names("run", "c.yaml", "bad.yaml")[3:] == [("bad#1", "invalid"), ("bad#2", "done")]


def test_the_highest_status_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    config("c.yaml", "expect: {y: {sum: 5}}", "params: {padding: one}", "")
    ended = call("run", "c.yaml", "--json")
    assert ended.status == 2
    assert [r["status"] for r in ended.results] == ["failed", "invalid", "done"]
    assert call("run", "c.yaml::c#1").status == 1
    assert call("run", "c.yaml::c#3").status == 0


def test_match() -> None:
    config("c.yaml", "name: wide", "name: wider", "name: tall")
    assert [name for name, _ in names("run", "c.yaml", "--match", "wide")] == ["wide", "wider"]


def test_a_bad_case_is_told_whatever_matches() -> None:
    config("c.yaml", "name: wide", "sede: 1")
    ended = call("run", "c.yaml", "--match", "wide")
    assert ended.status == 2
    assert "'sede'" in ended.err


def test_fail_fast() -> None:
    config("c.yaml", "", "expect: {y: {sum: 5}}", "")
    assert len(names("run", "c.yaml", "--fail-fast")) == 2
    assert call("run", "c.yaml", "--fail-fast").status == 1
    config("d.yaml", "params: {padding: one}", "")
    assert len(names("run", "d.yaml", "--fail-fast")) == 1


def test_list_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(LAYERS["pad"]), "forward", lambda *_: 1 / 0)
    config("c.yaml", "name: one", "name: two", "params: {padding: -7}")
    ended = call("run", "c.yaml", "--list")
    assert ended.status == 2
    lines = [line.split() for line in ended.out.splitlines() if "c.yaml::" in line]
    assert [(*line[:3], line[-1]) for line in lines] == [
        ("pad", "1x1x2x2", "1x1x4x4", "c.yaml::one"),
        ("pad", "1x1x2x2", "1x1x4x4", "c.yaml::two"),
    ]
    assert "2 cases would run" in ended.out
    assert ended.err.count("error: ") == 1


def test_results_file_is_the_json() -> None:
    config("c.yaml", "name: one, expect: {y: {sum: 4}}", "name: two, expect: {y: {sum: 5}}")
    ended = call("run", "c.yaml", "--results", "r.jsonl")
    assert ended.status == 1
    lines = [strict(line) for line in Path("r.jsonl").read_text().splitlines()]
    printed = call("run", "c.yaml", "--json").results
    for line in (*lines, *printed):
        del line["seconds"]
    for line in lines:
        assert len(line.pop("key")) == 32  # what --resume knows a case by
    assert lines == printed
    kept = Path("r.jsonl").read_bytes()
    assert call("run", "c.yaml", "--results", "r.jsonl").status == 2
    assert Path("r.jsonl").read_bytes() == kept


def test_results_grow_case_by_case() -> None:
    config("c.yaml", "name: one", "name: two, layer: bn, params: {padding: none}", "name: three")
    assert call("run", "c.yaml", "--results", "a.jsonl").status == 2
    lines = [strict(line)["status"] for line in Path("a.jsonl").read_text().splitlines()]
    assert lines == ["done", "invalid", "done"]


def test_standard_input_yaml_and_json_lines() -> None:
    text = f"defaults: {{{PAD}}}\ncases: [{{name: a}}, {{}}]\n"
    assert names("run", "-", stdin=text.encode()) == [("a", "done"), ("stdin#2", "done")]
    line = b'{"layer": "pad", "params": {"padding": 1}, "tensors": {"x": "ones:1x1x2x2"}}\n'
    assert names("run", "-", stdin=line + b"\n" + line) == [
        ("stdin#1", "done"),
        ("stdin#2", "done"),
    ]
    named = line[:-2] + b', "name": "mine", "expect": {"y": {"sum": 5}}}\n'
    assert names("run", "-", stdin=named) == [("mine", "failed")]
    (result,) = call("run", "-", "--json", stdin=named).results
    assert result["file"] == "-"
    assert result["reproduce"].startswith("printf ")
    assert result["reproduce"].endswith(" | cnncli run -")


def test_json_of_one_case_is_yaml_too() -> None:
    text = b'{"layer": "pad",\n "params": {"padding": 1},\n "tensors": {"x": "ones:1x1x2x2"}}\n'
    assert names("run", "-", stdin=text) == [("stdin", "done")]


def test_summary_counts() -> None:
    config("c.yaml", "expect: {y: {sum: 4}}", "expect: {y: {sum: 5}}", "", "params: {padding: one}")
    ended = call("run", "c.yaml")
    last = [line for line in ended.out.splitlines() if line.strip()][-1]
    assert last == "4 cases: 1 passed, 1 done, 1 failed, 1 invalid; 2 checks"


def test_yaml_numbers_of_version_1_2() -> None:
    Path("c.yaml").write_text(
        "name: on\nlayer: bn\nseed: 010\nparams: {eps: 1e-5}\n"
        "tensors: {x: {values: [[[1, 0x1F, 1e1]]]}}\n"
        "expect: {x: {values: [[[1, 31, 10]]]}}\n"
    )
    assert names("run", "c.yaml") == [("on", "passed")]
    ten = call("bn", "--x", "normal:1x1x4", "--seed", "10", "--json").result["tensors"]["x"]["sum"]
    ended = call("bn", "--config", "c.yaml", "--x", "normal:1x1x3", "--json")
    assert ended.result["tensors"]["x"]["sum"] != ten
    Path("d.yaml").write_text("layer: bn\nseed: 010\ntensors: {x: 'normal:1x1x4'}\n")
    assert call("run", "d.yaml", "--json").result["tensors"]["x"]["sum"] == ten


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--against", "my.yaml"), ("--against", "my.yaml", "torch", ".py or .ipynb", "folder")),
        (("--against", "pytorch"), ("did you mean torch?",)),
        (("--set", "params.pading=2"), ("--set params.pading", "did you mean padding?")),
        (("--set", "tensors.v=ones"), ("--set tensors.v", "known: x, dy")),
        (("--set", "dtype=float16"), ("--set dtype", "float32")),
    ],
)
def test_a_flag_wrong_for_every_case_is_told_once(
    flags: tuple[str, ...], says: tuple[str, ...]
) -> None:
    config("two.yaml", "name: a", "name: b")
    for more in ((), ("--list",)):
        ended = call("run", "two.yaml", *flags, *more)
        assert ended.status == 2
        assert ended.raw == b""
        assert ended.err.count("error:") == 1
        assert all(word in ended.err for word in says)
