"""What a resumed run knows a case by: all that its result depends on, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnncli.cases.config import Entry, read_entries
from cnncli.errors import ConfigError

CASE = "{layer: pad, params: {padding: 1}, tensors: {x: %s}, expect: {y: {npy: y.npy}}}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 2, 3, 4)))
    np.save("y.npy", np.zeros((1, 2, 5, 6)))
    np.save("other.npy", np.zeros((1, 2, 3, 4)))
    return tmp_path


def entry(text: str = CASE % "x.npy") -> Entry:
    Path("c.yaml").write_text(text)
    (found,) = read_entries("c.yaml")
    return found


def test_it_is_the_same_however_the_case_is_laid_out() -> None:
    key = entry().key()
    assert key == entry().key()
    text = "layer: pad  # a comment\n\nparams: {padding:   1}\n"
    text += "tensors:\n  x: x.npy\nexpect: {y: {npy: y.npy}}\n"
    assert entry(text).key() == key
    Path("other.npy").unlink()  # which it does not read
    assert entry().key() == key


@pytest.mark.parametrize(
    "text",
    [
        (CASE % "x.npy").replace("padding: 1", "padding: [1, 1]"),
        (CASE % "x.npy").replace("layer: pad", "layer: pad, seed: 0"),
        (CASE % "x.npy").replace("layer: pad", "layer: pad, name: other"),
        (CASE % "x.npy").replace("layer: pad", "layer: pad, skip_invalid: true"),
        CASE % "other.npy",
    ],
)
def test_what_is_written_otherwise_is_another_case(text: str) -> None:
    assert entry(text).key() != entry().key()


@pytest.mark.parametrize("name", ["x.npy", "y.npy"])
def test_the_content_of_what_it_reads_counts(name: str) -> None:
    key = entry().key()
    array = np.load(name)
    array[0, 1, 2, 3] = 1
    np.save(name, array)
    assert entry().key() != key
    array[0, 1, 2, 3] = 0
    np.save(name, array)
    assert entry().key() == key
    Path(name).unlink()
    assert entry().key() != key


def test_what_the_command_asks_beside_counts() -> None:
    one = entry()
    keys = {one.key(), one.key(values=True), one.key(values=False), one.key(max_memory=1)}
    assert len(keys) == 4


@pytest.mark.parametrize(
    "text",
    [
        "{layer: [conv], descriptor: ic3ih9oc2kh3}",
        '{layer: pad, params: {padding: 1}, tensors: {x: x.npy}, call: {y: "f(-[])"}}',
        "{layer: pad, params: {padding: 1}, tensors: {x: not-there.npy}}",
        "{layer: pad, padding: 1}",
        "{layer: pad, params: {padding: [[[[1]]]]}, tensors: {x: x.npy}}",
    ],
)
def test_a_bad_case_has_a_key_too(text: str) -> None:
    one = entry(text)
    assert one.key() == entry(text).key()
    assert one.key() != one.key(error="said otherwise")


def test_an_error_in_place_of_a_case_is_told_apart_by_what_is_asked() -> None:
    wrong = Entry(name="a", file="c.yaml", where="c.yaml:1:1", entries={}, error=ConfigError("no"))
    assert wrong.key(error="no") != wrong.key(error="another")
