"""How a command wants its cases run. Imports no NumPy: a pool's parent passes it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command asks of every case that it runs."""

    max_memory: int | None = None
    """Bytes; None is half of what is free, shared among the jobs."""
    jobs: int = 1
    """How many cases run at once."""
    shown_bytes: int = 0
    """What it takes to show an element of an output or gradient: see cli/call."""
    progress: Callable[[str, int, int], None] | None = None
    """Told of a long gradient check the tensor, the evaluations made and those there will be."""
    explain: tuple[str, ...] = ()
    """Elements whose arithmetic is wanted, as `--explain` writes them."""
    keep_references: bool = False
    """Keep what tensors were judged by and beside, to be seen with them."""
    user_seconds: float = 10.0
    """How long people's own functions may take for a case."""
    run_all: bool = False
    """Carry out all of a submission, not its definitions alone."""
