"""The derived tolerance: right results in a narrower type stay within it, wrong ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnncli.checks.bounds import rounding_bound
from cnncli.floats import FLOAT32
from tests.checks.command import expected_check, results
from tests.checks.randomcases import random_case, with_gradients

Capsys = pytest.CaptureFixture[str]


def test_float32_stays_within_the_bound_of_every_element() -> None:
    largest = 0.0
    for seed in range(400):
        problem = random_case(seed)
        plan = problem.plan
        narrow = problem.changed(
            **{k: problem.tensors[k].astype(np.float32) for k in (*plan.inputs, "dy")}
        )
        if plan.params.get("mode") == "max":
            # Rounding must not change winners; ties are another matter.
            wide = {k: narrow.tensors[k].astype(np.float64) for k in (*plan.inputs, "dy")}
            problem = with_gradients(problem.changed(**wide))
        computed, exact = with_gradients(narrow).tensors, problem.tensors
        for name in ("y", *plan.gradients):
            bound = rounding_bound(problem, name, FLOAT32.unit_roundoff)
            error = np.abs(computed[name].astype(np.float64) - exact[name])
            assert bound.shape == error.shape
            assert (error <= bound).all(), (seed, plan.layer, name, plan.params)
            with np.errstate(all="ignore"):
                largest = max(largest, float(np.nanmax(np.where(error, error / bound, 0.0))))
    assert largest > 0.2  # a bound that is never near would judge nothing


@pytest.mark.parametrize("layer", ["conv", "pool", "pad"])
def test_the_bound_is_no_licence(layer: str) -> None:
    seen = 0
    for seed in range(100):
        problem = random_case(seed)
        if problem.layer.name == layer:
            bound = rounding_bound(problem, "y", FLOAT32.unit_roundoff)
            size = float(np.linalg.norm(problem.tensors["y"]))
            assert float(np.linalg.norm(bound)) <= 6e-4 * max(size, 1.0)
            seen += 1
    assert seen > 5


def test_through_the_command(capsys: Capsys, tmp_path: Path) -> None:
    command = ("conv", "--x", "normal:2x3x9x8", "--w", "normal:4x3x3x2", "--stride", "2,1")
    _, (result,) = results(capsys, *command, "--values")
    y = np.array(result["tensors"]["y"]["values"])
    file = tmp_path / "y.npy"
    judged = (*command, "--expect", f"y={file}", "--tolerance", "derived")
    np.save(file, y.astype(np.float32))
    status, (result,) = results(capsys, *judged)
    check = expected_check(result, "y")
    assert (status, check["verdict"], check["unit_roundoff"]) == (0, "pass", 2.0**-24)
    assert 0 < check["bound_share"] < 1
    wrong = y.astype(np.float32)
    wrong[1, 2, 3, 4] += 1e-4
    np.save(file, wrong)
    status, (result,) = results(capsys, *judged)
    check = expected_check(result, "y")
    assert (status, check["verdict"], check["mismatched"]) == (1, "fail", 1)
    assert check["worst"]["index"] == [1, 2, 3, 4]
    assert check["bound_share"] > 1
    np.save(file, np.where(y == y[0, 0, 0, 0], np.nan, y))
    assert results(capsys, *judged)[0] == 1


def test_in_a_config(capsys: Capsys, tmp_path: Path) -> None:
    from cnncli.cli.app import main

    np.save(tmp_path / "y.npy", np.ones((1, 1, 2, 2), np.float32))
    config = tmp_path / "c.yaml"
    text = "layer: pool\nparams: {kernel: 2}\ntensors: {x: 'ones:1x1x4x4'}\n"
    config.write_text(text + "expect: {y: {npy: y.npy, tolerance: derived}}\n")
    assert results(capsys, "run", str(config))[0] == 0
    for wrong, words in (
        ("{y: {sum: 4, tolerance: derived}}", "whole tensor"),
        ("{y: {npy: y.npy, tolerance: derived, rtol: 1}}", "rtol does not apply"),
        ("{y: {npy: y.npy, tolerance: loose}}", "derived"),
    ):
        config.write_text(text + f"expect: {wrong}\n")
        assert main(["run", str(config)]) == 2
        assert words in capsys.readouterr().err
