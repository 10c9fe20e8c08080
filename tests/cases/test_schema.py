"""The schema ships fresh, editors find it, and it takes what the program takes, no more."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from cnncli.cases.config import FILE_KEYS, Entries
from cnncli.cases.schema import config_schema
from cnncli.cases.yamltext import read_yaml
from cnncli.cli.app import main
from cnncli.runs.job import Job
from cnncli.runs.options import RunOptions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHIPPED = CONFIGS / "cnncli.schema.json"


def valid(text: str) -> bool:
    data = read_yaml(text, "c.yaml").data()
    return bool(jsonschema.Draft7Validator(config_schema()).is_valid(data))


def test_the_shipped_schema_is_what_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert SHIPPED.read_text() == printed, "run: cnncli schema > configs/cnncli.schema.json"
    jsonschema.Draft7Validator.check_schema(json.loads(printed))


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.name)
def test_every_config_validates_and_names_the_schema(config: Path) -> None:
    text = config.read_text()
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (config.parent / first.partition("=")[2]).resolve() == SHIPPED
    assert valid(text)


def test_every_key_of_a_case_is_described() -> None:
    properties = config_schema()["definitions"]["case"]["properties"]
    assert set(properties) == set(FILE_KEYS)
    assert [key for key, schema in properties.items() if not schema] == []


@pytest.mark.parametrize(
    "text",
    [
        'layer: conv\ntensors: {x: "normal:2x3x9x8"}\nparams: {stride: [2, 1]}',
        'layer: conv\nparams: {padding: [[0, 1], [2, 1]]}\ntensors: {w: "b.npz:w", b: none}',
        "layer: pool\nparams: {kernel: global, mode: avg}\ntensors: {x: {values: [[[[1, 2]]]]}}",
        "layer: conv\ndescriptor: g2mb2ic4ih9oc6kh3sh2ph1",
        "cases:\n- layer: pad\n  sweep: {params.padding: [1, 2], seed: [3]}\n  skip_invalid: true",
        "layer: bn\nexpect: {y: [{at: [0, '1:2'], values: [1]}]}\ngradcheck: {step: 1}",
    ],
)
def test_takes(text: str) -> None:
    assert valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "layer: conf",
        "layer: conv\nstride: 2",
        "layer: conv\nparams: {kernel: 2}",
        "layer: pool\nparams: {kernel: 0}",
        "layer: pool\ntensors: {w: a.npy}",
        "layer: conv\nparams: {stride: [1, 2, 3, 4]}",
        "layer: pad\nexpect: {dw: {sum: 1}}",
        "layer: pad\nexpect: {y: {summ: 1}}",
        "layer: pad\nseed: -1",
        "layer: pad\nsweep: {padding: [1]}",
        "layer: pad\nsweep: {params.padding: []}",
        "cases: []",
        "defaults: {layer: pad}",
        "cases:\n- layer: pad\ndefault: {}",
        "layer: pad\ntensors: {x: {random: norml, shape: [2, 3]}}",
    ],
)
def test_refuses_what_the_program_refuses(text: str, tmp_path: Path) -> None:
    assert not valid(text)
    (tmp_path / "c.yaml").write_text(text)
    job = Job(options=RunOptions())
    statuses = {r.status for e in Entries(str(tmp_path / "c.yaml")) for r in job.results(e)}
    assert statuses == {"invalid"}
