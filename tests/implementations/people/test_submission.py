"""A file of people's functions as an implementation: tasks in, and what was computed out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.cases.assertions import Tolerance
from cnncli.implementations.base import Computed, Task
from cnncli.implementations.people.ask import ask_people
from cnncli.implementations.table import resolve
from cnncli.layers.base import Problem
from tests.building import case_of, check_against, ours_of, task_of

PAD = "import numpy as np\ndef f(x, p):\n    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))\n"
POOL = """
import numpy as np
def f(x, dy, k):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dy.shape):
        dx[n, c, i : i + k, j : j + k] += dy[n, c, i, j] / k**2
    return dx
"""


def asked(layer: str, params: dict[str, Any], call: dict[str, str], size: int) -> Task:
    """Return what a case of this call asks, every tensor computed."""
    x = np.random.default_rng(size).standard_normal((2, 3, size, size + 1))
    task = task_of(layer, params, {"x": x})
    problem = task.problem.changed(**ours_of(task))
    return ask_people(case_of(layer, params, {}, call=call), problem)


def computed(path: Path, text: str, *tasks: Task) -> list[Computed]:
    path.write_text(text)
    (submission,) = resolve(str(path))
    assert submission.by_call
    assert submission.label == str(path)
    return list(submission.compute(tasks))


def test_every_task_is_computed_in_its_turn(tmp_path: Path) -> None:
    tasks = [asked("pad", {"padding": p}, {"y": "f(x, p)"}, 3 + p) for p in (1, 2)]
    for task, one in zip(tasks, computed(tmp_path / "a.py", PAD, *tasks), strict=True):
        assert one.trouble is None
        assert one.stored_of("y") == "float64"
        np.testing.assert_array_equal(one.tensors["y"], task.problem.tensors["y"])


def test_what_is_wrong_costs_its_task_and_is_told(tmp_path: Path) -> None:
    tasks = [asked("pad", {"padding": 1}, {"y": f"{name}(x, p)"}, 3) for name in "ghf"]
    text = PAD + "def g(x, p):\n    x[0] = 0\n    return f(x, p).astype('f4')\n"
    writes, missing, right = computed(tmp_path / "a.py", text, *tasks)
    assert (writes.changed, writes.stored_of("y")) == (("x",), "float32")
    assert missing.trouble is not None
    assert (missing.trouble.reason, missing.trouble.function) == ("missing", "h")
    assert set(missing.trouble.defined) >= {"f", "g"}
    assert right.trouble is None
    assert not right.changed


def test_a_task_may_allow_less_time_than_the_submission(tmp_path: Path) -> None:
    text = "import time\ndef f(x, p):\n    time.sleep(60)\n"
    task = replace(asked("pad", {"padding": 1}, {"y": "f(x, p)"}, 3), seconds=0.5)
    (one,) = computed(tmp_path / "a.py", text, task)
    assert one.trouble is not None
    assert one.trouble.reason == "timeout"
    assert 0.5 <= one.seconds < 5


def test_unsteadiness_is_looked_for_where_a_task_may_be_repeated(tmp_path: Path) -> None:
    text = PAD + "seen = []\ndef g(x, p):\n    seen.append(x)\n    return f(seen[0], p)\n"
    task = asked("pad", {"padding": 1}, {"y": "g(x, p)"}, 3)
    (twice,) = computed(tmp_path / "a.py", text, task)
    (once,) = computed(tmp_path / "a.py", text, replace(task, again=False))
    assert (twice.unsteady, once.unsteady) == (("y",), ())


def test_the_gradient_of_a_padded_x_is_judged_by_that_x_and_is_none_of_the_case_s(
    tmp_path: Path,
) -> None:
    """Average pooling of kernel 3: all of the padded x's gradient is asked for, and given."""
    (path := tmp_path / "a.py").write_text(POOL)
    (submission,) = resolve(str(path))
    params = {"mode": "avg", "kernel": 3, "stride": 1, "padding": 1, "count_include_pad": True}
    task = asked("pool", params, {"pad(dx)": "f(pad(x), dy, k)"}, 4)
    assert task.padded is not None
    assert task.padded.tensors["dx"].shape == (2, 3, 6, 7)
    judged = check_against(submission, task, task.problem.tensors, Tolerance())
    assert [check.verdict for check in judged.checks] == ["pass"]
    assert judged.tensors == {}
    plain = asked("pool", params, {"dx": "f(pad(x), dy, k)"}, 4)
    judged = check_against(submission, plain, plain.problem.tensors, Tolerance())
    assert [check.reason for check in judged.checks] == ["wrong shape"]
    assert isinstance(judged.ours, Problem)
    assert [*judged.tensors] == ["dx"]
