"""Sweeps: every combination once, in order, under names that are stable and never shared."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cnncli.cases.config import Entries, Entry, read_entries
from cnncli.errors import UsageError


def entries(tmp_path: Path, text: str, name: str | None = None) -> list[Entry]:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return read_entries(str(file) if name is None else f"{file}::{name}")


GRID = """
defaults: {layer: conv, tensors: {x: "normal:2x3x9x8", w: "normal:4x3x3x2"}}
cases:
  - name: grid
    params: {dilation: 1}
    sweep: {params.stride: [1, [2, 1]], params.padding: [0, "0:1,2:1", same], seed: [7, 8]}
"""


def test_every_combination_once_the_last_key_fastest(tmp_path: Path) -> None:
    found = entries(tmp_path, GRID)
    strides, paddings, seeds = ["1", "[2,1]"], ["0", "0:1,2:1", "same"], ["7", "8"]
    assert [entry.name for entry in found] == [
        f"grid/stride={s},padding={p},seed={seed}"
        for s, p, seed in itertools.product(strides, paddings, seeds)
    ]
    values = [(1, 0, 7), (1, 0, 8), (1, ((0, 1), (2, 1)), 7), (1, ((0, 1), (2, 1)), 8)]
    for entry, (stride, padding, seed) in zip(found, values, strict=False):
        case = entry.build()
        assert (case.params.stride, case.params.padding, case.settings.seed) == (
            stride,
            padding,
            seed,
        )
        assert case.params.dilation == 1
    assert found[-1].build().params.stride == (2, 1)


def test_a_case_is_found_by_its_name(tmp_path: Path) -> None:
    (found,) = entries(tmp_path, GRID, "grid/stride=[2,1],padding=same,seed=8")
    assert found.build().settings.seed == 8
    assert found.reproduce.endswith("c.yaml::grid/stride=[2,1],padding=same,seed=8'")
    with pytest.raises(UsageError, match="did you mean grid/stride=1,padding=0,seed=7"):
        entries(tmp_path, GRID, "grid/stride=1,padding=0,seed=77")


def test_tensors_and_gradcheck_can_be_swept(tmp_path: Path) -> None:
    text = """
    layer: conv
    gradcheck: true
    tensors: {x: "normal:2x3x9x8"}
    sweep: {tensors.w: ["normal:4x3x3x2", "../w/a.npy"], gradcheck.elements: [5]}
    """
    found = entries(tmp_path, text)
    assert [entry.name for entry in found] == [
        "c/tensors.w=normal:4x3x3x2,gradcheck.elements=5",
        "c/tensors.w=..%2Fw%2Fa.npy,gradcheck.elements=5",
    ]
    check = found[0].build().gradcheck
    assert check is not None
    assert check.elements == 5


def test_a_long_name_is_cut_and_stays_its_own(tmp_path: Path) -> None:
    rows = [[[i] * 60] for i in range(5)]
    text = f"layer: pad\nsweep: {{tensors.x.values: {rows}}}"
    names = [entry.name for entry in entries(tmp_path, text)]
    assert len(set(names)) == 5
    assert all(len(name.encode()) <= 202 for name in names)
    assert names == [entry.name for entry in entries(tmp_path, text)]


def test_thousands_are_made_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        f"layer: pad\nsweep: {{seed: {list(range(1000))}, params.padding: {list(range(500))}}}"
    )
    made = iter(Entries(str(file)))
    assert next(made).name == "c/seed=0,padding=0"
    assert next(made).name == "c/seed=0,padding=1"


@pytest.mark.parametrize(
    "sweep, place, message",
    [
        ("{stride: [1]}", "2:9", "'stride' is no key of a case"),
        ("{parms.stride: [1]}", "2:9", "did you mean params?"),
        ("{params: [1]}", "2:9", "name one value of it"),
        ("{seed.x: [1]}", "2:9", "seed is a single value"),
        ("{name: [1]}", "2:9", "'name' is no key of a case"),
        ("{params.stride: 1}", "2:24", "must be a list"),
        ("{params.stride: []}", "2:24", "empty list"),
        ("{}", "2:8", "sweep is empty"),
        ("[1]", "2:8", "must be a mapping"),
        ("{params.stride: [1, 2, 1]}", "2:31", "holds 1 twice"),
        ("{params.stride: [1, '1']}", "2:28", "holds 1 twice"),
        ("{seed: [1], tensors.x: ['a,seed=1']}", "2:8", "another swept key"),
        ("{expect.y: [1], expect.y.sum: [1]}", "2:8", "which is a part of it"),
        ("{params.stride.x: [1]}", "3:18", "must be a mapping"),
    ],
)
def test_a_sweep_that_cannot_be(tmp_path: Path, sweep: str, place: str, message: str) -> None:
    (found,) = entries(tmp_path, f"layer: conv\nsweep: {sweep}\nparams: {{stride: 2}}\n")
    assert found.error is not None
    assert message in found.error.message
    assert found.error.where == f"{tmp_path}/c.yaml:{place}"


@pytest.mark.parametrize("first", ["sweep", "plain"])
def test_a_name_that_a_sweep_makes_is_nobody_elses(tmp_path: Path, first: str) -> None:
    sweep = "- {name: grid, layer: pad, sweep: {params.padding: [1, 2]}}"
    plain = "- {name: grid/padding=2, layer: pad}"
    order = [sweep, plain] if first == "sweep" else [plain, sweep]
    found = entries(tmp_path, "cases:\n" + "\n".join(order))
    wrong = [entry for entry in found if entry.error is not None]
    assert [entry.name for entry in wrong] == ["grid/padding=2"]
    assert "stands twice" in str(wrong[0].error)
