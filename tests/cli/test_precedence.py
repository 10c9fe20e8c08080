"""Flag, then case, then the file's defaults, then the parameter's own default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.invoke import call, complaint

CONFIG = """
defaults:
  layer: conv
  seed: 7
  params: {stride: 2, groups: 1}
  tensors: {x: "ones:2x3x6x5", w: "ones:4x3x3x2", b: "ones:4"}
cases:
  - name: plain
  - name: own
    seed: 9
    params: {stride: [1, 2], padding: 1}
    tensors: {x: "normal:2x3x6x5"}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)


def params(*args: str) -> dict[str, Any]:
    ended = call("conv", *args, "--json")
    assert ended.status == 0, ended.err
    found = ended.result["params"]
    assert isinstance(found, dict)
    return found


def test_order() -> None:
    assert params("--config", "c.yaml::plain")["stride"] == [2, 2]
    assert params("--config", "c.yaml::plain")["dilation"] == [1, 1]
    assert params("--config", "c.yaml::own")["stride"] == [1, 2]
    assert params("--config", "c.yaml::own", "--stride", "3")["stride"] == [3, 3]
    assert params("--config", "c.yaml::own", "--stride", "3")["padding"] == [[1, 1], [1, 1]]


def test_a_flag_that_equals_the_default_counts() -> None:
    assert params("--config", "c.yaml::plain", "--stride", "1")["stride"] == [1, 1]
    assert params("--config", "c.yaml::own", "--padding", "0")["padding"] == [[0, 0], [0, 0]]


def test_a_switch_goes_both_ways() -> None:
    Path("p.yaml").write_text(
        "layer: pool\nparams: {kernel: 2, stride: 3, ceil_mode: true}\n"
        "tensors: {x: 'ones:1x1x6x6'}\n"
    )
    for flags, expected in (((), True), (("--no-ceil-mode",), False), (("--ceil-mode",), True)):
        result = call("pool", "--config", "p.yaml", *flags, "--json").result
        assert result["params"]["ceil_mode"] is expected


def test_training_and_inference() -> None:
    running = ("--running-mean", "zeros", "--running-var", "ones")
    for flags, expected in (
        ((), True),
        (running, False),
        ((*running, "--training"), True),
        ((*running, "--inference"), False),
    ):
        result = call("bn", "--x", "normal:2x3x4x5", *flags, "--json").result
        assert result["params"]["training"] is expected
        assert ("new_running_mean" in result["tensors"]) == ("--training" in flags)


def tensor(name: str, *args: str) -> Any:
    ended = call("conv", *args, "--json")
    assert ended.status == 0, ended.err
    return ended.result["tensors"].get(name)


def test_tensors() -> None:
    assert tensor("x", "--config", "c.yaml::plain")["source"] == "ones:2x3x6x5"
    assert tensor("x", "--config", "c.yaml::own")["source"] == "normal:2x3x6x5"
    given = tensor("x", "--config", "c.yaml::own", "--x", "zeros:2x3x6x5")
    assert given["source"] == "zeros:2x3x6x5"


def test_none_takes_a_tensor_away() -> None:
    with_b = call("conv", "--config", "c.yaml::plain", "--json").result
    without = call("conv", "--config", "c.yaml::plain", "--b", "none", "--json").result
    assert "b" in with_b["tensors"]
    assert "b" not in without["tensors"]
    assert with_b["tensors"]["y"]["max"] == without["tensors"]["y"]["max"] + 1
    gradients = call(
        "conv", "--config", "c.yaml::plain", "--b", "none", "--backward", "--json"
    ).result
    assert "db" not in gradients["tensors"]


def test_a_bias_of_a_kind_alone_counts() -> None:
    args = ("conv", "--x", "ones:1x1x3x3", "--w", "ones:2x1x2x2", "--json")
    assert call(*args, "--b", "ones").result["tensors"]["y"]["max"] == 5


def test_seed() -> None:
    sums = [
        tensor("x", "--config", "c.yaml::own", *flags)["sum"]
        for flags in ((), ("--seed", "9"), ("--seed", "7"), ("--seed", "0"))
    ]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3
    assert sums[3] == tensor("x", "--x", "normal:2x3x6x5", "--w", "ones:4x3x3x2")["sum"]


def test_tensors_flag_is_below_single_flags_and_above_the_config() -> None:
    Path("d").mkdir()
    np.save("d/x.npy", np.full((2, 3, 6, 5), 3.0))
    np.save("d/w.npy", np.full((4, 3, 3, 2), 5.0))
    np.savez("d.npz", x=np.load("d/x.npy"), w=np.load("d/w.npy"))
    for source in ("d", "d.npz"):
        args = ("--config", "c.yaml::plain", "--tensors", source)
        assert tensor("x", *args)["max"] == 3
        assert tensor("w", *args)["max"] == 5
        assert tensor("b", *args)["max"] == 1  # the folder has none, the config has
        assert tensor("w", *args, "--w", "ones:4x3x3x2")["max"] == 1


def test_paths_in_yaml_are_relative_to_the_yaml_flags_to_the_folder() -> None:
    Path("sub").mkdir()
    np.save("sub/a.npy", np.full((1, 1, 2, 2), 3.0))
    np.save("a.npy", np.full((1, 1, 2, 2), 4.0))
    np.save("sub/y.npy", np.full((1, 1, 2, 2), 3.0))
    Path("sub/c.yaml").write_text(
        "layer: pad\nparams: {padding: 0}\ntensors: {x: {npy: a.npy}}\nexpect: {y: {npy: y.npy}}\n"
    )
    assert call("run", "sub/c.yaml").status == 0
    assert call("pad", "--config", "sub/c.yaml").status == 0
    ended = call("pad", "--config", "sub/c.yaml", "--x", "a.npy", "--json")
    assert ended.status == 1
    assert ended.result["tensors"]["x"]["max"] == 4
    assert call("pad", "--config", "sub/c.yaml", "--expect", "sub/y.npy").status == 0
    assert call("pad", "--config", "sub/c.yaml", "--expect", "a.npy").status == 1


def test_checks_of_the_config_are_made() -> None:
    Path("e.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n"
        "expect: {y: {sum: 4}}\ngradcheck: {elements: 2, step: 0.5}\n"
    )
    checks = call("pad", "--config", "e.yaml", "--json").result["checks"]
    kinds = [(check["check"], check.get("identity")) for check in checks]
    assert kinds == [
        ("expect", None),
        ("gradcheck", None),
        ("gradcheck", "sum(dx*x) = sum(dy*y)"),
    ]
    assert {check["verdict"] for check in checks} == {"pass"}
    assert call("pad", "--config", "e.yaml", "--x", "zeros:1x1x2x2").status == 1


def test_gradcheck_flags_go_on_top_of_the_config() -> None:
    Path("e.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x3x3'}\n"
        "gradcheck: {elements: 2, step: 0.5}\n"
    )
    for flags, elements, step in (
        ((), 2, 0.5),
        (("--elements", "3"), 3, 0.5),
        (("--step", "1"), 2, 1),
    ):
        made = call("gradcheck", "pad", "--config", "e.yaml", *flags, "--json").result["checks"]
        (check,) = [check for check in made if "identity" not in check]
        assert (check["elements"], check["step"]) == (elements, step)
        assert {check["verdict"] for check in made} == {"pass"}


def test_tolerance_flags_win_over_assertions() -> None:
    Path("e.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n"
        "expect: {y: {sum: 4.1, rtol: 0.1}}\n"
    )
    assert call("pad", "--config", "e.yaml").status == 0
    assert call("pad", "--config", "e.yaml", "--rtol", "0.001").status == 1


def test_a_case_replaces_all_but_params_tensors_and_expect() -> None:
    Path("m.yaml").write_text(
        "defaults: {layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'},\n"
        "  gradcheck: {elements: 1}, expect: {y: {sum: 4}, x: {sum: 4}}}\n"
        "cases: [{gradcheck: {step: 2}, expect: {y: {shape: [1, 1, 4, 4]}}}]\n"
    )
    checks = call("run", "m.yaml", "--json").result["checks"]
    assert [
        (c["tensor"], c.get("assertion"), c["elements"] if "step" in c else 0)
        for c in checks
        if "identity" not in c
    ] == [
        ("y", "shape", 0),
        ("x", "sum", 0),
        ("dx", None, 4),
    ]
    assert [c["tensor"] for c in checks if "identity" in c] == ["dx"]
    assert {c["verdict"] for c in checks} == {"pass"}


def sums(checks: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(c["tensor"], c["assertion"], c["verdict"]) for c in checks if c["check"] == "expect"]


@pytest.mark.parametrize("written", ["{sum: 5}", "[{sum: 5}]"])
def test_what_flags_expect_is_judged_beside_what_the_config_expects(written: str) -> None:
    Path("e.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n"
        f"expect: {{y: {written}, x: {{sum: 4}}}}\n"
    )
    call("pad", "--x", "ones:1x1x2x2", "-p", "1", "--save", "s/e", "--quiet")
    beside = [("y", "sum", "fail"), ("y", "npy", "pass"), ("x", "sum", "pass")]
    for flag in ("s/e/y.npy", "y=s/e/y.npy"):
        ended = call("pad", "--config", "e.yaml", "--expect", flag, "--json")
        assert (ended.status, sums(ended.result["checks"])) == (1, beside)
    ended = call("run", "e.yaml", "--expect", "s", "--json")
    assert (ended.status, sums(ended.result["checks"])) == (1, [*beside, ("x", "npy", "pass")])
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace("5", "4"))
    assert call("run", "e.yaml", "--expect", "s").status == 0
    np.save("s/e/y.npy", np.zeros((1, 1, 4, 4)))
    assert call("run", "e.yaml", "--expect", "s").status == 1
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace(written.replace("5", "4"), "[]"))
    message = complaint(call("pad", "--config", "e.yaml", "--expect", "s/e/y.npy"))
    assert message.startswith("e.yaml:4:13: expect of y is an empty list")


def test_every_gradient_given_is_judged() -> None:
    call("pad", "--x", "normal:1x2x3x4", "-p", "1", "--backward", "--save", "s", "--quiet")
    np.save("wrong.npy", 2 * np.load("s/dx.npy"))
    Path("e.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'normal:1x2x3x4'}\n"
        "expect: {dx: {npy: wrong.npy}}\n"
    )
    ended = call("gradcheck", "pad", "--config", "e.yaml", "--expect", "dx=s/dx.npy", "--json")
    assert ended.status == 1
    numeric = [c for c in ended.result["checks"] if "identity" not in c]
    assert [(c["subject"], c["verdict"]) for c in numeric] == [
        ("ours", "pass"),
        ("expected", "fail"),
        ("expected", "pass"),
    ]


def test_flags_never_change_the_place_of_a_config_fault() -> None:
    Path("f.yaml").write_text("layer: pad\nparams: {padding: x}\ntensors: {x: 'ones:1x1x2x2'}\n")
    assert "f.yaml:2:19" in complaint(call("pad", "--config", "f.yaml", "--mode", "reflect"))
    assert call("pad", "--config", "f.yaml", "-p", "1").status == 0
