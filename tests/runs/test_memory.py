"""The bound on memory holds for what is printed too, and jobs share it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnncli.errors import MemoryBoundError
from cnncli.runs import memory
from cnncli.runs.memory import judge_memory
from tests.cli.invoke import call, complaint, spawn

LARGE = ("pad", "--x", "normal:1x1x1000x1000", "-p", "0", "--max-memory", "200M")


def test_values_count() -> None:
    """600 bytes an element in a table, 100 in JSON: a table of 2000x2000 took 2.1 GiB."""
    assert call(*LARGE, "--no-values").status == 0
    assert "--max-memory" in complaint(call(*LARGE, "--values"))
    smaller = (*LARGE[:-1], "100M", "--json")
    assert call(*smaller).status == 0
    assert "--max-memory" in complaint(call(*smaller, "--values"))


def test_values_of_a_batch_count(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("layer: pad\nparams: {padding: 0}\ntensors: {x: 'normal:1x1x1000x1000'}\n")
    batch = ("run", config, "--json", "--max-memory", "100M")
    assert call(*batch).status == 0
    ended = call(*batch, "--values")
    assert ended.status == 2
    assert "--max-memory" in ended.err


def test_jobs_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 800)
    judge_memory(400, None)
    judge_memory(100, None, 4)
    judge_memory(400, 400, 4)  # what is given is of every case
    with pytest.raises(MemoryBoundError, match="one of 4 shares of half of the free memory"):
        judge_memory(101, None, 4)


def test_the_jobs_of_a_run_share_what_is_free(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("layer: pad\nparams: {padding: 0}\ntensors: {x: 'normal:1x1x2000x2000'}\n")
    assert call("run", config, "--list").status == 0
    ended = spawn("run", str(config), "--jobs", "9999", "--json")
    assert ended.status == 2
    assert "one of 9999 shares" in ended.err
