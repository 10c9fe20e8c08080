"""`--against` and `against` from the shell: what is printed, what is in the JSON, how it exits."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cli.app import main
from tests.cli.batches import PACKAGE, cnn
from tests.extras import optional

CONV = ["--x", "normal:2x3x6x5", "--w", "normal:4x3x3x2"]


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, list[dict[str, Any]]]:
    status = main([*args, "--json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_check_has_the_contracts_keys(capsys: pytest.CaptureFixture[str]) -> None:
    status, (found,) = _json(capsys, "conv", *CONV, "--backward", "--against", "loops")
    assert (status, found["status"], found["convention"]) == (0, "passed", "torch")
    assert [check["tensor"] for check in found["checks"]] == ["y", "dx", "dw"]
    for check in found["checks"]:
        assert check["check"] == "against"
        assert check["implementation"] == "loops"
        assert check["sum_squared_error"] < 1e-25
        assert set(check["worst"]) == {"index", "got", "expected"}


def test_several_give_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    optional("torch")
    status, found = _json(capsys, "conv", *CONV, "--against", "loops", "--against", "torch")
    names = [result["checks"][0]["implementation"].split()[0] for result in found]
    assert (status, names) == (0, ["loops", "torch"])


def test_tolerance_flags_judge_it(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["conv", *CONV, "--against", "onnx"]
    status, (found,) = _json(capsys, *args)
    assert status == 0
    assert "float32" in found["checks"][0]["note"]
    status, (found,) = _json(capsys, *args, "--rtol", "1e-12")
    assert (status, found["checks"][0]["reason"]) == (1, "wrong values")


def test_in_a_config_and_on_every_case_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "defaults: {layer: pool, params: {kernel: 2}, tensors: {x: 'normal:1x2x5x6'}}\n"
        "cases:\n  - {name: one, against: loops, backward: true}\n"
        "  - {name: two, convention: onnx, layout: nhwc}\n"
    )
    status, found = _json(capsys, "run", str(config))
    assert (status, [result["status"] for result in found]) == (0, ["passed", "done"])
    assert [check["tensor"] for check in found[0]["checks"]] == ["y", "indices", "dx"]
    assert (found[1]["convention"], found[1]["layout"]) == ("onnx", "nhwc")
    status, found = _json(capsys, "run", str(config), "--against", "loops")
    assert (status, [result["status"] for result in found]) == (0, ["passed", "passed"])


def test_gradcheck_takes_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    status, (found,) = _json(capsys, "gradcheck", "conv", *CONV, "--against", "loops")
    kinds = {check["check"] for check in found["checks"]}
    assert (status, kinds) == (0, {"gradcheck", "against"})


def test_nhwc_places_the_worst_element_as_it_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnncli.implementations.base import Computed, Task
    from cnncli.implementations.loops import Loops

    honest = Loops._compute

    def wrong(self: Loops, task: Task) -> Computed:
        found = honest(self, task)
        found.tensors["y"][0, 1, 2, 3] += 1
        return found

    monkeypatch.setattr(Loops, "_compute", wrong)
    args = ["pad", "--x", "normal:1x3x4x2", "-p", "0", "--layout", "nhwc", "--against", "loops"]
    status, (found,) = _json(capsys, *args)
    assert status == 1
    assert found["checks"][0]["worst"]["index"] == [0, 2, 3, 1]


def test_what_computes_cannot_change_our_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnncli.implementations.base import Computed, Task
    from cnncli.implementations.loops import Loops

    def vandal(self: Loops, task: Task) -> Computed:
        task.problem.tensors["x"][...] = 0
        return Computed(tensors={"y": task.problem.tensors["x"]})

    monkeypatch.setattr(Loops, "_compute", vandal)
    args = ["pad", "--x", "ones:1x1x2x2", "-p", "0", "--against", "loops", "--quiet"]
    assert main([*args, "--save", str(tmp_path)]) == 1
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.ones((1, 1, 2, 2)))


def test_not_installed_is_bad_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["conv", *CONV, "--against", "onnx"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--against" in printed.err
    assert "cnncli[onnx]" in printed.err


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
@pytest.mark.parametrize("more", [["--results", "r.jsonl"], ["--list"], ["--json", "--jobs", "2"]])
def test_a_batch_refuses_what_is_not_installed_once_before_any_case(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    package: str,
    more: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    case = "{layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}}"
    Path("c.yaml").write_text(f"cases: [{case}, {case}, {case}]")
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["run", "c.yaml", "--against", "onnx", *more]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    text = f"{package} is not installed: pip install 'cnncli[onnx]'"
    assert printed.err == f"error: --against: {text}\n"
    assert not Path("r.jsonl").exists()


@pytest.mark.parametrize("flags", [[], ["--list"]])
def test_a_config_that_names_what_is_not_installed_is_told_where(
    tmp_path: Path, flags: list[str]
) -> None:
    case = "layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}"
    text = f"cases:\n  - {{{case}}}\n  - {{{case}, against: torch}}\n"
    (tmp_path / "c.yaml").write_text(text)
    # In every process, workers included.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    path = os.pathsep.join([str(tmp_path), PACKAGE])
    done = cnn("run", "c.yaml", *flags, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 2
    assert "c#1" in done.stdout  # the case that needs no torch is well
    said = done.stdout + done.stderr
    assert "torch is not installed: pip install 'cnncli[torch]'" in said
    assert "c.yaml:3:" in said


@pytest.mark.parametrize("command", [["conv"], ["gradcheck", "conv"]])
def test_what_is_not_installed_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    from cnncli.layers.table import LAYERS

    def forward(*_: object) -> None:
        pytest.fail("it computed, to refuse afterwards")

    monkeypatch.setattr(type(LAYERS["conv"]), "forward", forward)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([*command, *CONV, "--against", "torch"]) == 2


def test_float32_cases_are_judged_as_float32(capsys: pytest.CaptureFixture[str]) -> None:
    optional("torch")
    args = ["conv", *CONV, "--dtype", "float32", "--backward", "--against", "torch"]
    status, (found,) = _json(capsys, *args)
    assert (status, len(found["checks"])) == (0, 3)
    assert found["checks"][0]["rtol"] == 1.3e-6
