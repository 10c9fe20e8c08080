"""The shipped configs and samples: all run, all assert, and no figure can change unseen."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cnncli.cases.config import read_entries
from cnncli.cases.sources import KINDS, NpyFile, NpzEntry, Random, RawFile, Source, Values
from cnncli.cli.app import main
from cnncli.layers.table import LAYERS
from tests.extras import optional

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
NOTEBOOK = ROOT / "configs" / "notebook"

# What the notebook printed, as it must stand in the configs: (file, tensor, assertion) to figures.
FIGURES: dict[tuple[str, str, str], list[Any]] = {
    ("1-padding", "y", "shape"): [[2, 3, 10, 8], [2, 3, 10, 8]],
    ("2-conv-forward", "y", "shape"): [[2, 7, 8, 4]],
    ("2-conv-forward", "y", "sum"): ["9317.0247081"],
    ("3-conv-filter-gradient", "dw", "sum"): ["5340.57641170"],
    ("4-conv-input-gradient", "dx", "sum"): ["208.392870186"],
    ("5-max-pool", "y", "shape"): [[2, 3, 2, 2]],
    ("5-max-pool", "y", "values"): [
        [
            [
                [["0.46800661", "0.6818562"], ["0.95191188", "0.58676102"]],
                [["0.6288546", "0.99632119"], ["0.80094484", "0.96251272"]],
                [["0.67012954", "0.80356619"], ["0.91517917", "0.83174796"]],
            ],
            [
                [["0.80458243", "0.97712759"], ["0.91272943", "0.86171778"]],
                [["0.8827965", "0.95316097"], ["0.95877647", "0.98136021"]],
                [["0.96840121", "0.87088313"], ["0.70449495", "0.89625081"]],
            ],
        ]
    ],
    ("6-max-pool-backward", "dx", "mean"): ["0.242823258775"],
    ("6-max-pool-backward", "dx", "values"): [
        [["0", "0", "1.09075724"], ["1.29276074", "0", "1.15881724"], ["0", "0.61727634", "0"]],
        ["0"] * 10,
    ],
    ("7-batch-norm", "x", "channel_mean"): [["9.33463814", "8.90909116", "9.11056338"]],
    ("7-batch-norm", "x", "channel_std"): [["3.61447857", "3.19347686", "3.5168142"]],
    ("7-batch-norm", "y", "channel_mean"): [["0", "0", "0"], ["6", "7", "8"]],
    ("7-batch-norm", "y", "channel_std"): [["1", "1", "1"], ["3", "4", "5"]],
}


@dataclass(frozen=True)
class Figure:
    """One number that a config expects, and where it stands."""

    file: Path
    tensor: str
    assertion: str
    start: int
    """Its first character, counted from the start of the file."""
    stop: int
    place: str
    """LINE:COLUMN of the assertion that it belongs to."""

    def __str__(self) -> str:
        return f"{self.file.stem}:{self.place}:{self.tensor}.{self.assertion}@{self.start}"


def entries(node: yaml.Node) -> dict[str, yaml.Node]:
    """Return a mapping's values by their keys."""
    assert isinstance(node, yaml.MappingNode)
    return {key.value: value for key, value in node.value}


def assertions(file: Path) -> Iterator[tuple[str, str, yaml.Node]]:
    """Yield tensor, kind and value of every assertion in a config."""
    root = yaml.compose(file.read_text())
    assert root is not None
    top = entries(root)
    for case in top["cases"].value if "cases" in top else [root]:
        for tensor, expected in entries(entries(case).get("expect", EMPTY)).items():
            listed = isinstance(expected, yaml.SequenceNode)
            for assertion in expected.value if listed else [expected]:
                for kind, value in entries(assertion).items():
                    yield tensor, kind, value


EMPTY = yaml.MappingNode("tag:yaml.org,2002:map", [])


def leaves(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from leaves(item)
    else:
        assert isinstance(node, yaml.ScalarNode)
        yield node


def figures(file: Path) -> Iterator[Figure]:
    """Yield every number that is expected; not tolerances, bounds, indices and files."""
    for tensor, kind, value in assertions(file):
        if kind in ("rtol", "atol", "equal_nan", "at", "npy", "sum_squared_error"):
            continue
        mark = value.start_mark
        place = f"{mark.line + 1}:{mark.column + 1}"
        for leaf in leaves(value):
            start, stop = leaf.start_mark.index, leaf.end_mark.index
            yield Figure(file, tensor, kind, start, stop, place)


def plain(node: yaml.Node, as_number: bool) -> Any:
    """Return a value as it is written, numbers as text unless `as_number`."""
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, as_number) for item in node.value]
    return int(node.value) if as_number else node.value


NOTEBOOK_FIGURES = [figure for file in sorted(NOTEBOOK.glob("*.yaml")) for figure in figures(file)]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with copies of what the notebook's configs need, and return theirs."""
    shutil.copytree(ROOT / "samples" / "notebook", tmp_path / "samples" / "notebook")
    monkeypatch.chdir(tmp_path)
    folder = Path("configs", "notebook")
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_case_asserts_and_passes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(file), "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert results
    assert {result["name"]: result["status"] for result in results} == {
        result["name"]: "passed" for result in results
    }


def test_one_file_a_row_of_the_notebook() -> None:
    stems = [file.stem for file in sorted(NOTEBOOK.iterdir())]
    assert stems == sorted({file for file, _, _ in FIGURES})
    assert len(stems) == 7


@pytest.mark.parametrize("row", FIGURES, ids="/".join)
def test_row_of_the_notebook_is_asserted(row: tuple[str, str, str]) -> None:
    file, tensor, kind = row
    found = [
        plain(value, kind == "shape")
        for t, k, value in assertions(NOTEBOOK / f"{file}.yaml")
        if (t, k) == (tensor, kind)
    ]
    for expected in FIGURES[row]:
        assert expected in found


def test_padding_and_convolution_are_compared_with_whole_arrays() -> None:
    kinds = {(t, k) for t, k, _ in assertions(NOTEBOOK / "1-padding.yaml")}
    assert ("y", "npy") in kinds
    kinds = {(t, k) for t, k, _ in assertions(NOTEBOOK / "2-conv-forward.yaml")}
    assert ("y", "sum_squared_error") in kinds


@pytest.mark.parametrize("figure", NOTEBOOK_FIGURES, ids=str)
def test_changed_last_digit_fails_and_names_the_place(
    figure: Figure, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = figure.file.read_text()
    written = text[figure.start : figure.stop]
    changed = written[:-1] + str((int(written[-1]) + 1) % 10)
    file = copied / figure.file.name
    file.write_text(text[: figure.start] + changed + text[figure.stop :])
    assert main(["run", str(file)]) == 1, f"{written} became {changed} and nobody saw it"
    assert f"{file}:{figure.place}" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["1-padding", "2-conv-forward"])
def test_changed_element_of_a_stored_array_fails(
    file: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(NOTEBOOK / f"{file}.yaml", copied)
    assert main(["run", str(copied)]) == 0
    stored = {"1-padding": "padding_y", "2-conv-forward": "conv_forward_y_torch"}[file]
    array = np.load(f"samples/notebook/{stored}.npy")
    array[1, 1, 2, 3] += 1e-12
    np.save(f"samples/notebook/{stored}.npy", array)
    capsys.readouterr()
    assert main(["run", str(copied)]) == 1
    assert f"{copied / file}.yaml:" in capsys.readouterr().out


def test_sources_show_every_kind_with_every_layer() -> None:
    shown: dict[str, set[str]] = {}
    for entry in read_entries(str(ROOT / "configs" / "sources.yaml")):
        case = entry.build()
        seen = shown.setdefault(case.layer.name, set())
        seen.add(case.settings.rng)
        for source in case.sources.values():
            seen.add(kind_of(source))
            if source.zero_extend:
                seen.add("zero_extend")
    kinds = {*KINDS, "values", "npy", "npz", "bin", "zero_extend", "legacy", "pcg64"}
    assert shown == dict.fromkeys(LAYERS, kinds)


def kind_of(source: Source) -> str:
    if isinstance(source, Random):
        return source.kind
    names: dict[type, str] = {Values: "values", NpyFile: "npy", NpzEntry: "npz", RawFile: "bin"}
    return names[type(source)]


def test_samples_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    make = runpy.run_path(str(ROOT / "samples" / "make.py"))
    make["write_all"](tmp_path)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    kept = {path.relative_to(ROOT / "samples") for path in stored_samples()}
    # Made once, by another framework: see the test below.
    assert {*made, Path("notebook/conv_forward_y_torch.npy")} == kept
    for name in made:
        assert contents(tmp_path / name) == contents(ROOT / "samples" / name), name


def stored_samples() -> list[Path]:
    return [path for path in (ROOT / "samples").rglob("*.*") if path.suffix in SUFFIXES]


SUFFIXES = (".npy", ".npz", ".bin")


def contents(file: Path) -> object:
    """Return a file's bytes, of a zip those of its entries: its headers differ among Pythons."""
    if file.suffix == ".npz":
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return file.read_bytes()


def test_samples_are_small() -> None:
    assert sum(os.path.getsize(file) for file in stored_samples()) < 1_000_000
    assert {file.suffix for file in stored_samples()} == set(SUFFIXES)


def test_stored_answer_is_what_torch_gives() -> None:
    torch = optional("torch")
    draw = np.random.RandomState(1973)
    x, w = draw.rand(2, 3, 23, 20), draw.rand(7, 3, 6, 6)
    y = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(w), stride=(3, 6), padding=(2, 3)
    )
    stored = np.load(ROOT / "samples" / "notebook" / "conv_forward_y_torch.npy")
    assert np.sum(np.square(stored - y.numpy())) < 1e-25
