from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cnncli.cases.case import Case, build_case
from cnncli.cases.node import from_data
from cnncli.errors import CnncliError, UsageError
from cnncli.runs.bench import BenchOptions, Row, Timing, bench, judge_contenders, means
from cnncli.runs.benchcases import TABLE, table_cases
from cnncli.runs.blas import warnings
from cnncli.runs.contest import Answer, Contender, Prepare
from tests.cli.batches import descendants
from tests.extras import optional

QUICK = BenchOptions(repeat=3, min_time=0.0, against=("tensordot",))


def case(**tensors: str) -> Case:
    data = {"layer": "conv", "tensors": tensors, "params": {"padding": 1}}
    node = from_data(data, "a test").mapping("a case")
    return build_case(node, name="one", file=None, where="c.yaml:3:1", reproduce="")


def small() -> Case:
    return case(x="normal:2x3x8x8", w="normal:4x3x3x3")


def row(ours: tuple[float, ...], limit: tuple[float, ...], **others: tuple[float, ...]) -> Row:
    from cnncli.cases.tensors import open_ingredients, request_for

    with open_ingredients(small()) as ingredients:
        plan = small().layer.plan(request_for(small(), ingredients.shapes))
    return Row(
        name="one",
        plan=plan,
        dtype="float64",
        direction="forward",
        threads=1,
        ours=Timing(name="cnncli", samples=ours),
        limit=Timing(name="limit", samples=limit),
        others=tuple(Timing(name=name, samples=times) for name, times in others.items()),
    )


def test_ratios_pair_the_rounds() -> None:
    # A machine that slows down halfway changes no ratio of a round.
    slow = row((1.0, 10.0, 20.0), (0.5, 5.0, 10.0), torch=(4.0, 40.0, 80.0))
    assert slow.share == 0.5
    assert slow.ratio(slow.others[0]) == 0.25
    assert slow.rate == 2 * 2 * 4 * 64 * 27 / 10.0


def test_means_are_geometric_and_count_rows() -> None:
    rows = [row((1.0,), (0.1,), torch=(2.0,)), row((1.0,), (0.4,), torch=())]
    (mean,) = means(rows)
    assert mean.share == pytest.approx(math.sqrt(0.1 * 0.4))
    assert mean.ratios == {"torch": (0.5, 1)}


def test_contenders_take_turns_in_processes_of_their_own() -> None:
    found: list[str] = []
    rows = list(bench([small()], QUICK, found.append))
    assert [r.direction for r in rows] == ["forward", "backward"]
    forward, backward = rows
    assert len(forward.ours.samples) == len(forward.limit.samples) == 3
    assert min(forward.ours.samples) > 0
    assert forward.ratio(forward.others[0]) is not None
    assert backward.others[0].reason == "tensordot is timed forward alone"
    assert forward.memory is not None
    assert 0 < forward.memory < 1 << 20
    assert len(found) == 1


def test_a_bad_case_is_told_at_its_place_before_anything_is_timed() -> None:
    bad = case(x="normal:2x3x8x8", w="normal:4x5x3x3")
    with pytest.raises(CnncliError, match=r"a test: w is for 5 channels"):
        next(bench([small(), bad], QUICK))


def test_a_process_that_dies_is_an_error() -> None:
    contender = Contender("cnncli", 1)
    assert contender.process.pid is not None
    os.kill(contender.process.pid, signal.SIGKILL)
    with pytest.raises(CnncliError, match="the process that times cnncli was killed by SIGKILL"):
        contender.ask("sample")
    contender.close()  # what was left to write to it is no fault


@pytest.mark.skipif(sys.platform != "linux", reason="a process's state is read from /proc")
def test_contenders_that_wait_are_stopped_with_all_their_threads() -> None:
    # The threads of a pool spin after their last work, on a core that the next contender needs.
    contender = Contender("limit", 2)
    try:
        request = Prepare(case=small(), direction="forward", min_time=0.0)
        assert contender.ask(request) == Answer()
        pid = contender.process.pid
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        assert len(tasks) > 1
        for task in tasks:
            _await_state(task / "stat", "T")
        assert contender.ask("sample") > 0
    finally:
        contender.close()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a process's state is read from /proc")
def test_no_stopped_contender_is_left_when_bench_is_killed() -> None:
    call = [sys.executable, "-m", "cnncli", "bench", "--match", "7x7", "--repeat", "99"]
    running = subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("BLAS: ")  # every contender answers
    contenders = descendants(running.pid)
    running.kill()
    running.wait()
    running.stderr.close()
    assert len(contenders) == 4  # and a supervisor each
    for pid in contenders:
        _await_state(Path(f"/proc/{pid}/stat"), "Z-")


def _await_state(stat: Path, states: str) -> None:
    """Wait until a process is in one of the states, where `-` is gone."""
    deadline = time.monotonic() + 20
    while True:
        state = stat.read_text().rpartition(")")[2].split()[0] if stat.exists() else "-"
        if state in states:
            return
        assert time.monotonic() < deadline, state
        time.sleep(0.01)


def test_contenders_are_judged() -> None:
    assert judge_contenders(["loops", "tensordot", "loops"]) == ("loops", "tensordot")
    assert judge_contenders(["onnxruntime", "onnx"]) == ("onnx",)  # one library has one name
    with pytest.raises(UsageError, match="'jax' is not one of torch, keras, onnx, loops, "):
        judge_contenders(["jax"])


def test_what_holds_blas_back_is_said() -> None:
    (text,) = [w for w in warnings("", {"OPENBLAS_CORETYPE": "Haswell"}) if "=" in w]
    assert "OPENBLAS_CORETYPE=Haswell is set" in text


def test_the_table_can_be_planned() -> None:
    for dtype in ("float64", "float32"):
        cases = list(table_cases(dtype))
        assert len(cases) == len(TABLE) == len({c.name for c in cases})
        assert {c.settings.dtype for c in cases} == {dtype}


def command(*args: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "cnncli", "bench", *args]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_json_lines(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        'layer: pool\nparams: {kernel: 2}\ntensors: {x: "normal:2x3x8x8"}\n', encoding="utf-8"
    )
    ended = command(str(config), "--json", "--repeat", "2", "--min-time", "0", "--threads", "1,2")
    assert ended.returncode == 0, ended.stderr
    lines: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    rows = [line for line in lines if "name" in line]
    assert [(r["direction"], r["threads"]) for r in rows] == [
        ("forward", 1),
        ("backward", 1),
        ("forward", 2),
        ("backward", 2),
    ]
    assert all(len(r["samples"]) == 2 and r["dtype"] == "float64" for r in rows)
    assert {r["name"] for r in rows} == {"c"}
    assert [line["geometric_mean"] for line in lines if "name" not in line] == ["max pool"] * 4
    assert "BLAS: " in ended.stderr


def against(tmp_path: Path, library: str, config: str) -> list[dict[str, Any]]:
    """Return the rows of a bench of a config against a library."""
    (tmp_path / "c.yaml").write_text(config, encoding="utf-8")
    args = (str(tmp_path / "c.yaml"), "--against", library)
    ended = command(*args, "--json", "--quiet", "--repeat", "1", "--min-time", "0")
    assert ended.returncode == 0, ended.stderr
    return [r for r in map(json.loads, ended.stdout.splitlines()) if "name" in r]


def test_torch_is_timed_on_padding_that_its_own_argument_cannot_say(tmp_path: Path) -> None:
    optional("torch")
    rows = against(
        tmp_path,
        "torch",
        'defaults: {layer: pool, tensors: {x: "normal:2x3x8x8"}}\n'
        "cases:\n  - params: {kernel: 3, stride: 1, padding: 2}\n"
        "  - params: {kernel: 3, padding: [[0, 1], [2, 0]]}\n"
        "  - {layer: conv, params: {transposed: true, padding: [[0, 1], [1, 0]]},\n"
        '     tensors: {w: "normal:3x4x3x3"}}\n',
    )
    assert len(rows) == 6
    assert all(row["against"]["torch"]["median"] > 0 for row in rows)


def test_onnx_is_timed_on_batch_norm_in_training_under_its_one_name(tmp_path: Path) -> None:
    forward, backward = against(
        tmp_path, "onnxruntime", 'layer: bn\ndtype: float32\ntensors: {x: "normal:4x3x8x8"}\n'
    )
    assert forward["against"]["onnx"]["median"] > 0
    assert backward["against"]["onnx"]["reason"] == "onnx gives no gradients"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--direction", "up"), "--direction: must be forward, backward, step or both"),
        (("--dtype", "float16"), "--dtype: must be float64, float32 or both"),
        (("--threads", "0"), "--threads: must be a whole number from 1 to 1024"),
        (("--repeat", "0"), "--repeat: must be a whole number from 1 to 1000000"),
        (("--min-time", "-1"), "--min-time: must be seconds from 0 to 3600"),
        (("--match", "vgg"), "--match: no case's name holds 'vgg'"),
        (("--startup", "--dtype", "float64"), "--dtype: does not apply to --startup"),
        (("--against", "jax"), "--against: 'jax' is not one of"),
        (("-",), "from files alone"),
    ],
)
def test_a_wrong_flag_is_an_error(args: tuple[str, ...], message: str) -> None:
    ended = command(*args)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stdout == ""
