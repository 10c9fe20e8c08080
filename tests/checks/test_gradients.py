"""The gradient check: right gradients pass, every planted fault fails, and it says where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cases.probes import PROBES
from cnncli.layers.base import Layer, Plan, Tensors
from cnncli.layers.table import LAYERS
from tests.cli.invoke import call, complaint

CONV = ("conv", "--x", "normal:2x2x4x5", "--w", "normal:3x2x3x2", "--b", "normal")
TRANSPOSED = ("conv", "--transposed", "--x", "normal:2x2x3x4", "--w", "normal:2x3x3x2", "-s", "2")
INFERENCE = ("--running-mean", "normal", "--running-var", "uniform:3,low=1,high=2")
CALLS: dict[str, tuple[str, ...]] = {
    "conv": (*CONV, "-s", "2,1", "-p", "1:0,0:1"),
    "transposed": (*TRANSPOSED, "--b", "normal"),
    "max pool": ("pool", "--x", "distinct:2x3x5x4", "-k", "3,2", "-s", "2,1"),
    "average pool": ("pool", "--x", "normal:2x3x5x4", "-k", "3,2", "-s", "2,1", "--mode", "avg"),
    "training": ("bn", "--x", "normal:3x3x2x4", "--gamma", "normal", "--beta", "normal"),
    "inference": ("bn", "--x", "normal:3x3x2x4", "--gamma", "normal", *INFERENCE),
    "constant pad": ("pad", "--x", "normal:2x3x4x5", "-p", "1:2,0:3"),
    "crop": ("pad", "--x", "normal:2x3x4x5", "-p", "-1:2,0:-2"),
    "reflect": ("pad", "--x", "normal:2x3x4x5", "-p", "1:2,0:3", "--mode", "reflect"),
}
GRADIENTS = {name: LAYERS[args[0]].gradient_names for name, args in CALLS.items()}
EVERY = [(name, gradient) for name, names in GRADIENTS.items() for gradient in names]
IDENTITIES = {name: set(GRADIENTS[name]) for name in CALLS} | {
    "training": {"dx", "dbeta"},
    "inference": {"dbeta"},
}
"""The gradients that an exact identity judges too."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checks_of(*args: str) -> list[dict[str, Any]]:
    result = call("gradcheck", *args, "--json").result
    found = result["checks"]
    assert isinstance(found, list)
    return found


def numeric(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the checks by a numeric gradient, without the exact identities beside them."""
    return [check for check in checks if "identity" not in check]


def exact(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the checks of exact identities."""
    return [check for check in checks if "identity" in check]


Fault = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def one_element(gradient: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wrong = gradient.copy()
    wrong.flat[wrong.size // 2] += 1e-3 * np.abs(gradient).max()
    return wrong


FAULTS: dict[str, Fault] = {
    "doubled": lambda g: 2 * g,
    "negated": lambda g: -g,
    "a millionth and more": lambda g: g * (1 + 3e-6),
    "one element": one_element,
    "zero": np.zeros_like,
    "not a number": lambda g: np.where(np.arange(g.size).reshape(g.shape) == 1, np.nan, g),
    "infinite": lambda g: g / 0.0,
    "reversed": lambda g: g.ravel()[::-1].reshape(g.shape).copy(),
}


def plant(monkeypatch: pytest.MonkeyPatch, layer: str, gradient: str, fault: Fault) -> None:
    original = type(LAYERS[layer]).backward

    def wrong(self: Layer, plan: Plan, tensors: Tensors) -> Tensors:
        gradients = original(self, plan, tensors)
        with np.errstate(all="ignore"):
            return gradients | {gradient: fault(gradients[gradient])}

    monkeypatch.setattr(type(LAYERS[layer]), "backward", wrong)


@pytest.mark.parametrize("layer", LAYERS)
def test_probes_pass(layer: str) -> None:
    ended = call("gradcheck", layer, "--json")
    assert ended.status == 0, ended.out
    assert [r["name"] for r in ended.results] == [f"{layer}-{p.name}" for p in PROBES[layer]]
    checked = {check["tensor"] for result in ended.results for check in result["checks"]}
    assert checked == set(LAYERS[layer].gradient_names)
    for result in ended.results:
        assert {check["verdict"] for check in result["checks"]} == {"pass"}


@pytest.mark.parametrize("layer", LAYERS)
def test_probes_are_uneven(layer: str) -> None:
    for probe in PROBES[layer]:
        sizes = probe.tensors["x"].split(":")[1].split(",")[0].split("x")
        spatial = sizes[2:]
        assert len(set(spatial)) == len(spatial) or probe.name == "volume"
        assert int(sizes[1]) >= 2
    assert {len(p.tensors["x"].split(",")[0].split("x")) - 2 for p in PROBES[layer]} == {1, 2, 3}


@pytest.mark.parametrize("name", CALLS)
def test_right_gradients_pass(name: str) -> None:
    checks = checks_of(*CALLS[name])
    assert [check["tensor"] for check in numeric(checks)] == list(GRADIENTS[name])
    assert {check["tensor"] for check in exact(checks)} == IDENTITIES[name]
    for check in exact(checks):
        assert (check["verdict"], check["mismatched"]) == ("pass", 0)
        assert check["terms_rel_error"] < 1e-13
    for check in numeric(checks):
        assert check["verdict"] == "pass"
        assert check["mismatched"] == 0
        assert check["norm_rel_error"] < (1e-14 if check["step"] == 1 else 1e-8)
        assert check["evaluations"] <= 2 * check["elements"]
    for check in numeric(checks_of(*CALLS[name], "--no-structure")):
        sides = {"central": 2, "complex-step": 1}[check["method"]]
        assert (check["verdict"], check["evaluations"]) == ("pass", sides * check["elements"])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name, gradient", EVERY)
def test_a_planted_fault_fails(
    name: str, gradient: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, CALLS[name][0], gradient, FAULTS[fault])
    ended = call("gradcheck", *CALLS[name], "--json")
    assert ended.status == 1
    checks = ended.result["checks"]
    verdicts = {check["tensor"]: check["verdict"] for check in numeric(checks)}
    assert verdicts.pop(gradient) == "fail"
    assert set(verdicts.values()) <= {"pass"}
    others = [check for check in exact(checks) if check["tensor"] != gradient]
    assert {check["verdict"] for check in others} <= {"pass"}


@pytest.mark.parametrize("name, gradient", EVERY)
def test_a_wrong_shape_fails(name: str, gradient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, CALLS[name][0], gradient, lambda g: g[:1])
    (check,) = [c for c in checks_of(*CALLS[name]) if c["tensor"] == gradient]
    got, should = ("x".join(map(str, check[key])) for key in ("got", "expected"))
    assert (check["verdict"], check["note"]) == ("fail", f"shapes differ: {got} should be {should}")
    assert check["got"][0] == 1
    assert check["got"][1:] == check["expected"][1:]


@pytest.mark.parametrize("layer", LAYERS)
def test_probes_find_a_fault_in_any_gradient(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for gradient in LAYERS[layer].gradient_names:
        with monkeypatch.context() as patch:
            plant(patch, layer, gradient, FAULTS["negated"])
            ended = call("gradcheck", layer, "--wrt", gradient[1:], "--json")
            assert ended.status == 1
            for result in ended.results:
                assert {check["verdict"] for check in numeric(result["checks"])} == {"fail"}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_of_others_are_judged(name: str) -> None:
    gradient = GRADIENTS[name][-1]
    call(*CALLS[name], "--backward", "--save", "s", "--quiet")
    expect = ("--expect", f"{gradient}=s/{gradient}.npy")
    checks = [c for c in checks_of(*CALLS[name], *expect) if c["tensor"] == gradient]
    identities = [(c["subject"], c["identity"], c["verdict"]) for c in exact(checks)]
    texts = [text for subject, text, _ in identities if subject == "ours"]
    assert identities == [(s, text, "pass") for s in ("ours", "expected") for text in texts]
    ours, theirs = numeric(checks)
    assert (ours["subject"], theirs["subject"]) == ("ours", "expected")
    assert (ours["verdict"], theirs["verdict"]) == ("pass", "pass")
    wrong = np.load(f"s/{gradient}.npy")
    place = tuple(size - 1 for size in wrong.shape)
    wrong[place] += 0.5
    np.save(f"s/{gradient}.npy", wrong)
    ended = call("gradcheck", *CALLS[name], *expect, "--json")
    assert ended.status == 1
    checks = [c for c in ended.result["checks"] if c["tensor"] == gradient]
    verdicts = {c["identity"]: c["verdict"] for c in exact(checks) if c["subject"] == "expected"}
    assert verdicts == dict.fromkeys(texts, "fail")  # an error of one element balances nothing
    assert {c["verdict"] for c in exact(checks) if c["subject"] == "ours"} <= {"pass"}
    ours, theirs = numeric(checks)
    assert (ours["verdict"], theirs["verdict"], theirs["mismatched"]) == ("pass", "fail", 1)
    assert theirs["worst"]["index"] == list(place)
    assert theirs["worst"]["analytic"] == wrong[place]
    assert theirs["worst"]["numeric"] == pytest.approx(wrong[place] - 0.5)
    np.save(f"s/{gradient}.npy", wrong.reshape(1, *wrong.shape))
    assert call("gradcheck", *CALLS[name], *expect).status == 1


def test_an_expected_gradient_is_judged_by_its_own_precision() -> None:
    call(*CONV, "--backward", "--save", "s", "--quiet")
    np.save("dw.npy", np.load("s/dw.npy").astype(np.float32))
    checks = checks_of(*CONV, "--expect", "dw=dw.npy")
    assert {c["verdict"] for c in checks} == {"pass"}
    (check,) = [c for c in numeric(checks) if c["subject"] == "expected"]
    assert check["rtol"] == 1e-3
    assert {c["rtol"] for c in exact(checks) if c["subject"] == "expected"} == {1e-3}
    assert {c["rtol"] for c in exact(checks) if c["subject"] == "ours"} == {1e-11}


def test_a_gradient_outside_wrt_is_compared_with_ours() -> None:
    call(*CONV, "--backward", "--save", "s", "--quiet")
    checks = checks_of(*CONV, "--wrt", "x", "--expect", "dw=s/dw.npy")
    made = [(c["check"], c["tensor"]) for c in numeric(checks)]
    assert made == [("expect", "dw"), ("gradcheck", "dx")]
    assert {c["tensor"] for c in exact(checks)} == {"dx"}
    assert {c["verdict"] for c in checks} == {"pass"}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_tested_is_vacuous_and_fails(name: str) -> None:
    ended = call("gradcheck", *CALLS[name], "--dy", "zeros", "--json")
    assert ended.status == 1
    assert {check["verdict"] for check in ended.result["checks"]} == {"vacuous"}


def test_options() -> None:
    dx, dw, db = numeric(checks_of(*CONV, "--elements", "5", "--step", "0.25"))
    assert [c["elements"] for c in (dx, dw, db)] == [5, 5, 3]
    assert [c["step"] for c in (dx, dw, db)] == [0.25] * 3
    only = checks_of(*CONV, "--wrt", "b,x")
    assert [c["tensor"] for c in numeric(only)] == ["dx", "db"]
    assert {c["tensor"] for c in exact(only)} == {"dx", "db"}
    loose = checks_of(*CONV, "--rtol", "0.5")
    assert [c["rtol"] for c in numeric(loose)] == [0.5] * 3
    assert {c["rtol"] for c in exact(loose)} == {1e-11}  # an identity has no step to allow for
    assert {c["atol"] for c in numeric(checks_of(*CONV, "--atol", "7"))} == {7}


def test_elements_are_the_same_for_a_seed() -> None:
    first = [c["worst"] for c in checks_of(*CONV, "--elements", "3")]
    assert first == [c["worst"] for c in checks_of(*CONV, "--elements", "3")]


def test_some_elements_find_a_fault_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "conv", "dw", FAULTS["doubled"])
    ended = call("gradcheck", *CONV, "--elements", "2", "--json")
    checks = ended.result["checks"]
    for found in (numeric(checks), exact(checks)):
        verdicts = [(c["tensor"], c["verdict"]) for c in found]
        assert verdicts == [("dx", "pass"), ("dw", "fail"), ("db", "pass")]


def test_float32_has_a_looser_tolerance_and_still_finds_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = checks_of(*CONV, "--dtype", "float32")
    assert {(c["verdict"], c["rtol"]) for c in numeric(checks)} == {("pass", 1e-3)}
    assert {(c["verdict"], c["rtol"]) for c in exact(checks)} == {("pass", 1e-4)}
    plant(monkeypatch, "conv", "dx", lambda g: g * 1.01)
    assert call("gradcheck", *CONV, "--dtype", "float32").status == 1


def test_a_crude_step_is_seen_where_y_is_curved() -> None:
    fine, crude = (
        checks_of(*CALLS["training"], "--wrt", "x", *flags) for flags in ((), ("--step", "0.3"))
    )
    assert (fine[0]["verdict"], crude[0]["verdict"]) == ("pass", "fail")


def test_backward_fault_fails_run_with_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.yaml").write_text(
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'normal:2x2x3x4'}\ngradcheck: true\n"
    )
    assert call("run", "c.yaml").status == 0
    plant(monkeypatch, "pad", "dx", FAULTS["one element"])
    ended = call("run", "c.yaml")
    assert ended.status == 1
    assert "FAILED" in ended.out


def test_wrong_tensors_are_refused_before_anything_is_checked() -> None:
    assert "conv needs w" in complaint(call("gradcheck", "conv", "--x", "normal:2x3x4x5"))


@pytest.mark.parametrize(
    "flags, left, reason",
    [
        (("--stride", "2,3"), -2, ("--stride", "stride has 2 numbers, but x has 1 spatial axes")),
        (("--groups", "2"), 2, ("--groups", "groups 2 does not divide the 3 channels of x")),
        (("--transposed",), 1, ("built-in probe conv-plain", "4 channels (4x3x3x2), but x has 3")),
    ],
)
def test_probes_that_the_parameters_rule_out_are_skipped(
    flags: tuple[str, ...], left: int, reason: tuple[str, str]
) -> None:
    ended = call("gradcheck", "conv", *flags, "--json", "--save", "s")
    assert ended.status == 0
    assert [r["name"] for r in ended.results] == [f"conv-{p.name}" for p in PROBES["conv"]]
    made = [r for r in ended.results if r["status"] == "passed"]
    skipped = [r for r in ended.results if r["status"] == "skipped"]
    assert len(made) == left % len(PROBES["conv"])
    assert len(made) + len(skipped) == len(PROBES["conv"])
    assert {c["verdict"] for r in made for c in r["checks"]} == {"pass"}
    assert skipped[0]["error"]["where"] == reason[0]
    assert reason[1] in skipped[0]["error"]["message"]
    assert not any({"tensors", "checks"} & set(r) for r in skipped)
    assert len(ended.err.splitlines()) == len(skipped)
    first = f"note: {skipped[0]['name']} is skipped: {reason[0]}: "
    assert ended.err.startswith(first)
    assert {path.name for path in Path("s").iterdir()} == {r["name"] for r in made}
    table = call("gradcheck", "conv", *flags)
    assert table.status == 0
    assert f"{len(made)} passed, {len(skipped)} skipped" in table.out
    quiet = call("gradcheck", "conv", *flags, "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_a_skipped_probe_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "conv", "dw", FAULTS["negated"])
    ended = call("gradcheck", "conv", "--groups", "2", "--json")
    assert ended.status == 1
    assert {r["status"] for r in ended.results} == {"failed", "skipped"}


@pytest.mark.parametrize(
    "flags, says",
    [
        (("--stride", "x"), "--stride: stride must be whole"),
        (("--groups", "5"), "--groups: groups 5 does not divide the 3 channels of x"),
        (("--padding", "-1"), "--padding: padding must be at least 0"),
    ],
)
def test_parameters_that_rule_out_every_probe_are_an_error(
    flags: tuple[str, ...], says: str
) -> None:
    ended = call("gradcheck", "conv", *flags, "--json")
    assert says in complaint(ended)
    assert ended.out == ""


@pytest.mark.parametrize("name", ["conv", "max pool", "constant pad"])
def test_a_step_that_rounding_swallows_is_bad_input(name: str) -> None:
    message = complaint(call("gradcheck", *CALLS[name], "--method", "central", "--step", "1e-20"))
    assert "step 1e-20 is too small: x + step equals x for " in message
    assert call("gradcheck", *CALLS["training"], "--wrt", "x", "--step", "1e-20").status == 0


def test_a_step_may_be_too_small_for_some_elements_alone() -> None:
    np.save("x.npy", np.array([[[[1.0, 1e9], [0.0, 2.0]]]]))
    args = ("gradcheck", "pad", "--x", "x.npy", "-p", "1", "--step")
    message = complaint(call(*args, "1e-9"))
    assert "for 1 of 4 elements, such as x[0,0,0,1] = 1e+09" in message
    assert call(*args, "1").status == 0


def test_some_elements_are_seen_too() -> None:
    """What the numeric gradient was not asked for is no number, and drawn as none."""
    case = ("gradcheck", "conv", "--x", "normal:2x3x6x7", "--w", "normal:4x3x3x2")
    ended = call(*case, "--elements", "5", "--show")
    assert ended.status == 0, ended.err
    assert "numeric" in ended.out
    assert "!! not finite" in ended.out


SIZES = [
    ("pool", "--x", "normal:2x2x6x6,scale=1e16", "-k", "2"),
    ("pool", "--x", "normal:2x2x6x6,scale=1e300", "-k", "3", "-s", "1"),
    ("pool", "--x", "normal:2x2x6x6,scale=1e-300", "-k", "2"),
    ("pool", "--x", "normal:2x2x6x6,scale=1e300", "-k", "2", "--mode", "avg"),
    ("pad", "--x", "normal:2x2x6x6,scale=1e300", "-p", "1"),
    ("bn", "--x", "normal:2x2x6x6,scale=1e150"),
    ("bn", "--x", "normal:2x2x6x6,scale=1e-300"),
    ("bn", "--x", "normal:2x2x6x6,scale=1e-100", "--eps", "1e-300"),
    ("bn", "--x", "normal:2x2x6x6", "--gamma", "normal:2,scale=1e200"),
    ("bn", "--x", "normal:2x2x6x6,scale=1e150", "--running-mean", "zeros", "--running-var", "ones"),
    ("conv", "--x", "normal:2x2x5x5,scale=1e-200", "--w", "normal:1x2x2x2"),
    ("conv", "--x", "normal:2x2x5x5,scale=1e200", "--w", "normal:1x2x2x2", "--b", "ones"),
    ("conv", "--x", "normal:2x2x5x5", "--w", "normal:1x2x2x2", "--dy", "normal,scale=1e-200"),
]


@pytest.mark.parametrize("args", SIZES)
def test_numbers_of_any_size_are_differentiated(args: tuple[str, ...]) -> None:
    """What is right passes, and what is half of it does not."""
    wrt = ("--wrt", "x,b") if "--b" in args else ()  # that of w overflows
    passed = call("gradcheck", *args, *wrt, "--json", "--save", "saved")
    assert (passed.status, passed.err) == (0, "")
    checks = passed.result["checks"]
    assert {check["verdict"] for check in checks} == {"pass"}
    names = [check["tensor"] for check in numeric(checks)]
    for name in names:
        np.save("half.npy", np.load(f"saved/{name}.npy") / 2)
        judged = call("gradcheck", *args, *wrt, "--json", "--expect", f"{name}=half.npy")
        verdicts = {c["tensor"]: c["verdict"] for c in numeric(judged.result["checks"])}
        assert verdicts == {other: "fail" if other == name else "pass" for other in names}


def test_a_tie_among_numbers_so_large_that_they_are_whole() -> None:
    ended = call("gradcheck", "pool", "--x", "normal:2x2x6x6,loc=1e16", "-k", "2", "--json")
    assert ended.result["checks"][0]["verdict"] == "kink"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["central", "complex-step"])
def test_what_is_not_finite_has_no_gradient(number: float, method: str) -> None:
    """The imaginary part of a NaN may be a number, and says nothing."""
    np.save("x.npy", np.full((2, 2, 4, 4), number))
    ended = call("gradcheck", "pool", "--x", "x.npy", "-k", "2", "--method", method, "--json")
    assert ended.status == 1
    (check,) = numeric(ended.result["checks"])
    assert check["verdict"] == "fail"
    assert "not finite" in check["note"]
