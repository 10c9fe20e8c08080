"""Calling the command as an ordinary user, to whom a file's mode means something."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tests.cli.invoke import Ended

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def _drop() -> None:
    """Give up, for the program that follows, what lets root read and write everything."""
    libc = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise PermissionError


def spawn_as_ordinary_user(*args: str) -> Ended:
    """Run `python -m cnncli ARGS` without root's rights; skip the test where they stay."""
    is_root = os.getuid() == 0
    if is_root and not sys.platform.startswith("linux"):
        pytest.skip("root reads everything here")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cnncli", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=_drop if is_root else None,
            check=False,
            timeout=60,
        )
    except subprocess.SubprocessError:
        pytest.skip("this process may not give up its rights")
    return Ended(done.returncode, done.stdout, done.stderr.decode())
