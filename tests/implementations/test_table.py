"""One name a library: what it is called, what else is taken, what must be installed for it."""

from __future__ import annotations

import re
import tomllib

import pytest

from cnncli.cli.app import main
from cnncli.errors import UsageError
from cnncli.implementations.names import KNOWN, LIBRARIES, NAMES
from cnncli.implementations.table import MAKERS, WRITERS, resolve, writer
from tests.extras import ROOT


def test_a_library_has_one_name() -> None:
    assert NAMES == ("torch", "keras", "onnx", "loops")
    assert LIBRARIES == ("torch", "keras", "onnx")
    assert (tuple(MAKERS), tuple(WRITERS)) == (NAMES, LIBRARIES)


def test_an_extra_has_the_librarys_name_and_holds_its_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for row in KNOWN:
        named = {re.split("[<>=]", line)[0] for line in extras.get(row.name, ())}
        assert named == set(row.packages), row.name
    assert not {alias for row in KNOWN for alias in row.aliases} & set(extras)


def test_what_people_type_is_taken_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert [one.label for one in resolve("onnxruntime")] == [one.label for one in resolve("onnx")]
    assert writer("tensorflow") is writer("keras")
    pad = ["pad", "--x", "normal:1x1x3x3", "-p", "1"]
    assert main([*pad, "--as", "tensorflow"]) == 0
    typed = capsys.readouterr().out
    assert main([*pad, "--as", "keras"]) == 0
    assert capsys.readouterr().out == typed
    assert main([*pad, "--against", "onnxruntime"]) == 0


def test_an_unknown_name_is_told_the_names_that_there_are() -> None:
    with pytest.raises(UsageError, match="it takes torch, keras, onnx, loops, a "):
        resolve("jax")
    with pytest.raises(UsageError, match="one of torch, keras, onnx, not 'loops'"):
        writer("loops")
