"""Whole processes, from the shell's view: a one-off of ours beside the least it could take."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnncli.errors import CnncliError
from cnncli.process.endings import how_ended
from cnncli.runs.bench import FORMAT

CONV = ("conv", "--x", "normal:2x3x8x8", "--w", "normal:4x3x3x3", "--padding", "1")
TORCH = (
    "import torch; x = torch.randn(2, 3, 8, 8, dtype=torch.float64); "
    "w = torch.randn(4, 3, 3, 3, dtype=torch.float64); "
    "print(torch.nn.functional.conv2d(x, w, padding=1))"
)
# What a user types, what it is set beside, and the package that the other one needs.
RACES: tuple[tuple[str, tuple[str, ...], str, str | None], ...] = (
    ("cnncli conv, small case", CONV, "import numpy", None),
    ("cnncli --help", ("--help",), "import typer", None),
    ("cnncli conv, small case", CONV, TORCH, "torch"),
)


@dataclass(frozen=True, kw_only=True)
class StartupRow:
    """Seconds of whole processes, a pair a round."""

    name: str
    beside: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Our time over the other's, the median over the rounds."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    def record(self) -> dict[str, Any]:
        """Return this row as JSON data."""
        return {
            "format": FORMAT,
            "process": self.name,
            "beside": self.beside,
            "median": statistics.median(self.ours),
            "best": min(self.ours),
            "samples": list(self.ours),
            "beside_samples": list(self.theirs),
            "ratio": self.ratio,
        }


def startup(repeat: int) -> Iterator[StartupRow]:
    """Yield a row a race whose other side is installed; one round before is not counted.

    Byte code is kept in a folder of its own, as an installed program has it kept.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        env = dict(os.environ) | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        root = str(Path(__file__).resolve().parents[2])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
        for name, args, other, package in RACES:
            if package is not None and find_spec(package) is None:
                continue
            calls = ((sys.executable, "-m", "cnncli", *args), (sys.executable, "-c", other))
            rounds = [[_seconds(call, env) for call in calls] for _ in range(repeat + 1)][1:]
            ours, theirs = zip(*rounds, strict=True)
            beside = f"python -c {other!r}" if package is None else f"a {package} one-liner"
            yield StartupRow(name=name, beside=beside, ours=ours, theirs=theirs)


def _seconds(call: Sequence[str], env: dict[str, str]) -> float:
    """Time a whole process as a shell starts it: without a supervisor, which would be timed too."""
    started = time.perf_counter()
    ended = subprocess.run(call, env=env, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if ended.returncode:
        raise CnncliError(f"{' '.join(call[1:4])} {how_ended(ended.returncode)}")
    return seconds
