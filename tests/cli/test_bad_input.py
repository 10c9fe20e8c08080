"""Whatever a user gets wrong ends in status 2, one message with its place, and nothing written."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.cli import badconfigs, badflags
from tests.cli.badconfigs import HEAD
from tests.cli.badflags import TERABYTE
from tests.cli.invoke import call, complaint, spawn


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with sound files and spoilt ones."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(5).normal(size=(2, 3, 5, 4))
    np.save("x.npy", x)
    np.save("whole.npy", np.arange(24).reshape(2, 3, 2, 2))
    np.save("complex.npy", x + 1j)
    np.save("objects.npy", np.array([[[[None]]]]), allow_pickle=True)
    np.savez("b.npz", images=x, labels=x)
    Path("short.npy").write_bytes(Path("x.npy").read_bytes()[:-10])
    Path("fake.npz").write_bytes(Path("x.npy").read_bytes())
    Path("text.npy").write_text("1, 2, 3, 4")
    Path("empty.npy").touch()
    Path("terabyte.npy").write_bytes(TERABYTE)
    Path("raw.bin").write_bytes(bytes(20))
    Path("folder").mkdir()
    Path("blocked/result.json").mkdir(parents=True)
    Path("one.yaml").write_text(HEAD)
    case = "{layer: pad, params: {padding: 1}, tensors: {x: x.npy}}"
    Path("two.yaml").write_text(f"cases:\n  - {case}\n  - {case}\n")
    return tmp_path


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.mark.parametrize("args, says, stdin", badflags.LAYER_CALLS)
def test_bad_flags(
    args: tuple[str, ...], says: tuple[str, ...], stdin: bytes, folder: Path
) -> None:
    before = files_below(folder)
    ended = call(*args, *_targets(args), stdin=stdin)
    message = complaint(ended)
    for part in says:
        assert part in message
    assert ended.out == ""
    assert files_below(folder) == before


def _targets(args: tuple[str, ...]) -> list[str]:
    """Return the flags that would write files, where the call has none of its own."""
    is_layer = args[0] in ("pad", "conv", "pool", "bn")
    if not is_layer or not {"--out", "--save", "--as"}.isdisjoint(args):
        return []
    # A last flag that lacks its value must go on lacking it.
    return [] if args[-1] == "--stride" else ["--out", "new-y.npy", "--save", "new"]


@pytest.mark.parametrize("raw, says", badconfigs.ALL)
def test_bad_configs(raw: bytes, says: tuple[str, ...], folder: Path) -> None:
    Path("c.yaml").write_bytes(raw)
    before = files_below(folder)
    ended = call("run", "c.yaml", "--json", "--save", "new")
    first = ended.err.splitlines()[0]
    message = complaint(ended) if ended.err.count("error: ") == 1 else first
    for part in says:
        assert part in message
    invalid = [result for result in ended.results if result["status"] == "invalid"]
    if len(invalid) == len(ended.results):  # where no other case of the file was sound
        assert files_below(folder) == before
    error = invalid[0]["error"]
    assert f"{error['where']}: {error['message']}" == message.removeprefix("error: ")
    assert error["where"].startswith("c.yaml")


@pytest.mark.parametrize("raw, says", badconfigs.ALL)
def test_list_and_config_say_the_same(raw: bytes, says: tuple[str, ...], folder: Path) -> None:
    if "index 2" in says or "5 indices" in says:
        pytest.skip("judged against the tensor, which --list does not make")
    Path("c.yaml").write_bytes(raw)
    listed = call("run", "--list", "c.yaml")
    assert listed.status == 2
    ran = call("run", "--quiet", "c.yaml")
    assert ran.status == 2
    assert ran.out == ""
    assert listed.err == ran.err


@pytest.mark.parametrize("raw, says", badconfigs.JSON_LINES)
def test_bad_lines_of_json(raw: bytes, says: tuple[str, ...], folder: Path) -> None:
    ended = call("run", "-", "--quiet", stdin=raw)
    assert ended.status == 2
    assert "Traceback" not in ended.err
    assert "fault of cnncli" not in ended.err
    message = ended.err.splitlines()[-1]
    for part in says:
        assert part in message


@pytest.mark.parametrize(
    "args, says",
    [
        (("run", "absent.yaml"), ("absent.yaml",)),
        (("run", "absent"), ("absent",)),
        (("run", "folder"), ("folder", ".yaml")),
        (("run", "two.yaml::three"), ("two.yaml", "'three'", "two#1")),
        (("run", "one.yaml::"), ("one.yaml", "''")),
        (("run", "one.yaml", "--match", "zebra"), ("--match", "'zebra'", "one")),
        (("run", "one.yaml", "--results", "x.npy"), ("--results", "x.npy", "already")),
        (("run", "one.yaml", "--results", "absent/r.jsonl"), ("--results", "absent/r.jsonl")),
        (("run", "one.yaml", "--json", "--quiet"), ("--json", "--quiet")),
        (("run", "one.yaml", "--max-memory", "1k"), ("one.yaml:1:1", "--max-memory", "1.0 KiB")),
        (("run", "one.yaml", "--max-memory", "-1"), ("--max-memory", "'-1'")),
        (("run", "one.yaml", "--expect", "absent"), ("--expect", "absent/one")),
        (("run", "x.npy"), ("x.npy:1", "UTF-8")),
    ],
)
def test_bad_runs(args: tuple[str, ...], says: tuple[str, ...], folder: Path) -> None:
    before = files_below(folder)
    ended = call(*args, "--save", "new")
    message = complaint(ended)
    for part in says:
        assert part in message
    assert files_below(folder) == before


def test_cases_of_two_files_never_share_a_folder(folder: Path) -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        Path(name, "same.yaml").write_text(HEAD)
    message = complaint(call("run", "a", "b", "--save", "new"))
    for part in ("--save", "'same'", "a/same.yaml", "b/same.yaml"):
        assert part in message
    assert not Path("new").exists()
    assert call("run", "a", "b", "--quiet").status == 0


@pytest.mark.parametrize(
    "args",
    [
        ("pad", "-p", "1", "--x", "terabyte.npy"),
        ("pad", "-p", "1", "--x", "normal:1x1x2x2", "--expect", "terabyte.npy"),
        ("pad", "-p", "1", "--x", "-"),
        ("pad", "-p", "1", "--x", "ones:10000x10000x100x125"),
        ("pad", "-p", "1", "--x", "ones:1x1x2x2", "--expect", "ones:10000x10000x100x125"),
    ],
)
def test_a_claimed_terabyte_costs_no_memory(args: tuple[str, ...], folder: Path) -> None:
    call("pad", "-p", "1", "--x", "x.npy", "--expect", "x.npy")  # what is imported is imported
    tracemalloc.start()
    try:
        ended = call(*args, stdin=TERABYTE + bytes(1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    complaint(ended)
    assert peak < 4 << 20


def test_every_bad_case_of_a_file_is_told(folder: Path) -> None:
    bad = "{layer: pad, params: {padding: 1}, tensors: {x: no.npy}}"
    good = "{layer: pad, params: {padding: 1}, tensors: {x: x.npy}}"
    Path("c.yaml").write_text(f"cases:\n - {bad}\n - {good}\n - {{layer: pool}}\n - {good}\n")
    for flags in ((), ("--list",), ("--json",)):
        ended = call("run", "c.yaml", *flags)
        assert ended.status == 2
        places = [line.split(": ")[1] for line in ended.err.splitlines()]
        assert places == ["c.yaml:2:52", "c.yaml:4:4"]


SPAWNED = [
    ("pad", "--x", "absent.npy", "-p", "1"),
    ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x2x3x2"),
    ("pool", "--x", "normal:2x3x5x4", "-k", "2", "-p", "2", "-s", "1"),
    ("pad", "--x", "terabyte.npy", "-p", "1"),
    ("pad", "--x", "objects.npy", "-p", "1"),
    ("run", "c.yaml"),
]


@pytest.mark.parametrize("args", SPAWNED)
def test_nothing_rests_on_assert(args: tuple[str, ...], folder: Path) -> None:
    """The same message and status from a process of its own, with assertions and without."""
    Path("c.yaml").write_text(HEAD + "expect: &a {y: *a}")
    here = call(*args)
    complaint(here)
    for python in ((), ("-O",)):
        there = spawn(*args, python=python)
        assert (there.status, there.err) == (here.status, here.err)


def test_how_many() -> None:
    assert len(badflags.LAYER_CALLS) + len(badconfigs.ALL) + len(badconfigs.JSON_LINES) >= 75
