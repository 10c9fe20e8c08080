"""What may not be read, or cannot be named, is said in one message, and nothing is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.invoke import call, complaint
from tests.cli.ordinary import spawn_as_ordinary_user

CONV = ("conv", "--x", "normal:1x1x4x4", "--w", "normal:1x1x2x2")
LONG = "a" * 300
CASE = "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n"
CALLED = CASE + "call: {y: 'pad(x)'}\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a sound file of each kind and one that may not be opened, and one inside."""
    monkeypatch.chdir(tmp_path)
    for name in ("all", "all/shut", "shut"):
        Path(name).mkdir()
        Path(name, "c.yaml").write_text(CASE)
        Path(name, "s.py").write_text("def pad(x): return x\n")
        np.save(Path(name, "x.npy"), np.ones((1, 1, 4, 4)))
    Path("c.yaml").write_text(CALLED)
    shut = (Path("all/shut"), Path("shut"))
    for folder in shut:
        folder.chmod(0)
    yield
    for folder in shut:
        folder.chmod(0o700)


NAMES = [
    ("run", LONG),
    ("conv", "--config", LONG),
    ("conv", "--tensors", LONG),
    (*CONV, "--expect", LONG),
    (*CONV, "--expect", f"y={LONG}"),
    (*CONV, "--against", f"{LONG}.py"),
    (*CONV, "--against", f"{LONG}/"),
    ("run", "c.yaml", "--against", f"{LONG}.py"),
    ("run", "c.yaml", "--expect", LONG),
    ("compare", LONG),
    (*CONV, "--save", LONG),
    (*CONV, "--save-config", LONG),
]


@pytest.mark.parametrize("args", NAMES)
def test_a_name_that_is_too_long(args: tuple[str, ...]) -> None:
    message = complaint(call(*args))
    assert "too long" in message


SHUT = [
    (("run", "shut/c.yaml"), "shut/c.yaml cannot be read: Permission denied"),
    (("run", "shut"), "shut cannot be read: Permission denied"),
    (("run", "all"), "all/shut cannot be read: Permission denied"),
    (("run", "shut/c.yaml::c"), "Permission denied"),
    (("conv", "--config", "shut/c.yaml"), "Permission denied"),
    (("conv", "--tensors", "shut"), "--tensors: shut cannot be read: Permission denied"),
    (("conv", "--tensors", "shut/a.npz"), "Permission denied"),
    (("conv", "--x", "shut/x.npy", "--w", "ones:1x1x1x1"), "Permission denied"),
    ((*CONV, "--expect", "shut"), "--expect: shut cannot be read: Permission denied"),
    ((*CONV, "--expect", "shut/y.npy"), "--expect: shut/y.npy cannot be read: Permission denied"),
    ((*CONV, "--against", "shut/s.py", "--call", "y=f(x)"), "shut/s.py cannot be read: Perm"),
    ((*CONV, "--against", "shut", "--call", "y=f(x)"), "shut cannot be read: Permission denied"),
    (("run", "c.yaml", "--against", "shut/s.py"), "shut/s.py cannot be read: Permission denied"),
    (("run", "c.yaml", "--against", "all"), "all/shut cannot be read: Permission denied"),
    ((*CONV, "--out", "shut/y.npy"), "Permission denied"),
    ((*CONV, "--save", "shut/y"), "Permission denied"),
]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("args, says", SHUT)
def test_what_may_not_be_read(args: tuple[str, ...], says: str) -> None:
    assert says in complaint(spawn_as_ordinary_user(*args))
