"""Pairs of options, from the commands' own declarations: none may end in a fault of ours.

By default a sample of the pairs of each command; with CNNCLI_ALL_PAIRS=1 every one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from cnncli.cli.compare import compare_flags
from cnncli.cli.flags import Flag
from cnncli.cli.layerflags import gradcheck_flags, layer_flags
from cnncli.cli.run import run_flags
from cnncli.layers.table import LAYERS
from tests.cli.invoke import call

SAMPLE = 100
GIVEN = {
    "conv": ("--x", "normal:1x2x4x3", "--w", "normal:2x2x2x2"),
    "pool": ("--x", "normal:1x2x4x3", "--kernel", "2"),
    "bn": ("--x", "normal:1x2x4x3"),
    "pad": ("--x", "normal:1x2x4x3", "--padding", "1"),
}
CONFIG = "layer: pad\nparams: {padding: 1}\ntensors: {x: 'normal:1x2x4x3'}\n"
VALUES = {
    **{"config": "c.yaml", "tensors": "t", "expect": "ones", "against": "loops", "call": "y=f(x)"},
    **{"out": "new.npy", "save": "new", "save_config": "new.yaml", "save_report": "new.html"},
    **{"plane": "0,0", "explain": "0,0,0,0", "max_memory": "100M", "shard": "1/1", "match": "c"},
    **{"as_library": "torch", "tolerance": "derived", "wrt": "x", "method": "central"},
    **{"set": "seed=1", "results": "r.jsonl", "junit": "r.xml", "csv": "r.csv", "tensor": "x"},
    **{"gradscope": "r.json", "layout": "nhwc", "dtype": "float32", "rng": "legacy"},
    **{"convention": "onnx", "b": "ones", "gamma": "ones", "beta": "ones", "dy": "normal"},
    **{"running_mean": "zeros", "running_var": "ones", "mode": "avg", "value": "1"},
    **{"step": "1e-3", "rtol": "1e-3", "atol": "1e-3", "eps": "1e-3", "momentum": "0.1"},
}
"""What a flag is given; 1 where nothing else is said, which is wrong for some, and must be told."""
LEFT_OUT = ("scheduler",)


def rows() -> Iterator[tuple[str, tuple[str, ...], list[Flag]]]:
    for name, layer in LAYERS.items():
        yield name, (name, *GIVEN[name]), layer_flags(layer)
        yield f"gradcheck {name}", ("gradcheck", name, *GIVEN[name]), gradcheck_flags(layer)
    yield "run", ("run", "c.yaml"), run_flags()
    yield "compare", ("compare", "normal:2x3x4x5", "ones"), compare_flags()


def spellings(flag: Flag) -> list[tuple[str, ...]]:
    """Return what a command line may write of a flag: both sides of a switch, or its value."""
    if flag.is_switch:
        return [(name,) for name in flag.names[0].split("/")]
    return [(flag.names[0], VALUES.get(flag.name, "1"))]


@pytest.mark.parametrize("name, start, flags", [pytest.param(*row, id=row[0]) for row in rows()])
def test_no_pair_is_a_fault_of_ours(
    name: str,
    start: tuple[str, ...],
    flags: list[Flag],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    written = [(f, text) for f in flags if f.name not in LEFT_OUT for text in spellings(f)]
    pairs = [(*one, *two) for (f, one), (g, two) in combinations(written, 2) if f is not g]
    if not os.environ.get("CNNCLI_ALL_PAIRS"):
        pairs = random.Random(name).sample(pairs, min(SAMPLE, len(pairs)))
    for pair in pairs:
        ended = call(*start, *pair)
        assert ended.status in (0, 1, 2), (pair, ended.err)
        assert "fault of cnncli" not in ended.err, (pair, ended.err)
        assert "Traceback" not in ended.err
