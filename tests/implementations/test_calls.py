"""What `--as` prints, run as it was printed by the library that it is for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from cnncli.cases.layout import to_inside, to_outside
from cnncli.cases.probes import PROBES, Probe
from cnncli.cli.app import main
from tests.building import check_against, result_of
from tests.extras import optional

ALL = [(layer, probe) for layer, probes in PROBES.items() for probe in probes]
UNSAID = {
    "torch": {"pad-symmetric"},
    "onnx": {"pad-symmetric"},
    "keras": {
        "conv-dilated",
        "conv-signal",
        "conv-transposed",
        "pool-max-dilated",
        "pad-replicate",
        "pad-circular",
        "pad-volume",
    },
}


def _flags(probe: Probe) -> list[str]:
    flags = []
    for name, value in probe.params.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, list):
            parts = (":".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
            flags.append(f"{flag}={','.join(parts)}")
        else:
            flags.append(f"{flag}={value}")
    for name, source in probe.tensors.items():
        flags += ["--" + name.replace("_", "-"), source]
    return flags


@pytest.mark.parametrize("library", ["torch", "onnx", "keras"])
@pytest.mark.parametrize("layer, probe", ALL, ids=lambda v: getattr(v, "name", v))
def test_the_printed_call_gives_what_we_give(
    library: str, layer: str, probe: Probe, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([layer, *_flags(probe), "--as", library])
    printed = capsys.readouterr()
    if f"{layer}-{probe.name}" in UNSAID[library]:
        assert status == 2
        assert "this case has no call: " in printed.err
        assert printed.out == ""
        return
    assert status == 0, printed.err
    ours = result_of(layer, dict(probe.params), dict(probe.tensors))
    given = {name: t.array for name, t in ours.tensors.items() if t.role == "input"}
    theirs = {"torch": _torch, "onnx": _onnx, "keras": _keras}[library](printed.out, given)
    loose = library == "onnx"
    for name, tensor in ours.tensors.items():
        if tensor.role == "output" and (name != "indices" or library != "keras"):
            np.testing.assert_allclose(
                theirs[name],
                tensor.array,
                rtol=2e-4 if loose and probe.name == "far-from-zero" else 1e-5 if loose else 1e-9,
                atol=2e-3 if loose and probe.name == "far-from-zero" else 1e-5 if loose else 1e-9,
            )


def _torch(text: str, given: dict[str, Any]) -> dict[str, Any]:
    torch = optional("torch")
    names = {name: torch.tensor(array) for name, array in given.items()}
    exec(text, names)
    return {name: v.numpy() for name, v in names.items() if isinstance(v, torch.Tensor)}


def _onnx(text: str, given: dict[str, Any]) -> dict[str, Any]:
    import onnx
    import onnxruntime as runtime

    names: dict[str, Any] = {}
    exec(text, names)
    onnx.checker.check_model(names["model"], full_check=True)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(names["model"].SerializeToString(), options)
    outputs = [output.name for output in session.get_outputs()]
    feeds = {node.name: given[node.name].astype(np.float32) for node in session.get_inputs()}
    return dict(zip(outputs, session.run(outputs, feeds), strict=True))


def _keras(text: str, given: dict[str, Any]) -> dict[str, Any]:
    torch = optional("torch")
    os.environ["KERAS_BACKEND"] = "torch"
    optional("keras")
    if "symmetric" in text:
        pytest.skip("Keras pads symmetric as replicate on its torch backend")
    names = {name: torch.tensor(to_outside("nhwc", name, array)) for name, array in given.items()}
    exec(text, names)
    return {
        name: to_inside("nhwc", name, v.numpy())
        for name, v in names.items()
        if isinstance(v, torch.Tensor)
    }


def test_as_takes_no_flag_that_it_would_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pad", "--x", "normal:1x1x3x3", "-p", "1", "--as", "torch", "--json"]) == 2
    assert "--json has no use" in capsys.readouterr().err
    assert main(["pad", "--x", "normal:1x1x3x3", "-p", "1", "--as", "jax"]) == 2
    assert "one of torch, keras, onnx" in capsys.readouterr().err


def test_several_conventions_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    x = ["--x", "arange:1x1x4x4", "-k", "2", "-p", "1", "--mode", "avg"]
    assert main(["pool", *x, "--convention", "torch,onnx,keras"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["resolved", "torch", "onnx", "keras"] in lines
    assert ["stride", "2,2", "1,1", "2,2", "*"] in lines
    assert ["kernel", "2,2", "2,2", "2,2"] in lines
    assert ["count_include_pad", "yes", "no", "no", "*"] in lines
    assert ["shape", "1x1x3x3", "1x1x5x5", "1x1x3x3", "*"] in lines


def test_several_implementations_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    optional("torch")
    x = ["--x", "integers:1x1x4x4", "-k", "2", "--against", "torch", "--against", "loops"]
    assert main(["pool", *x]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(line[:3] == ["y", "ours", "torch"] and line[-1] == "loops" for line in lines)
    assert not any(line and line[-1] == "*" for line in lines)


def test_keras_on_another_backend_computes_gradients() -> None:
    """The one path that TensorFlow's backend shares: the text, the layout, the gradients."""
    optional("torch")
    os.environ["KERAS_BACKEND"] = "torch"
    optional("keras")
    from cnncli.cases.tensors import plan_for
    from cnncli.implementations.base import Task
    from cnncli.implementations.keras import Keras
    from cnncli.layers.base import Problem
    from tests.building import case_of

    for layer, probe in ALL:
        if f"{layer}-{probe.name}" in UNSAID["keras"] or probe.name == "symmetric":
            continue
        params, tensors = dict(probe.params), dict(probe.tensors)
        case = case_of(layer, params, tensors)
        ours = {
            n: t.array for n, t in result_of(layer, params, tensors, backward=True).tensors.items()
        }

        plan = plan_for(case, {n: a.shape for n, a in ours.items() if n in case.layer.source_names})
        given = {n: a for n, a in ours.items() if n in plan.inputs or n == "dy"}
        task = Task(problem=Problem(layer=case.layer, plan=plan, tensors=given), backward=True)
        judged = check_against(Keras("torch"), task, ours, case.tolerance)
        verdicts = {check.tensor: check.verdict for check in judged.checks}
        assert verdicts.pop("indices", "skipped") == "skipped"
        assert set(verdicts.values()) == {"pass"}, (layer, probe.name, judged.checks)
