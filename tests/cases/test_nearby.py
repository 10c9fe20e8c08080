from __future__ import annotations

from pathlib import Path

import pytest

from cnncli.cases.nearby import near_path
from tests.cli.shell import call


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("samples/conv").mkdir(parents=True)
    Path("samples/conv/weights.npy").write_text("")
    Path("config.yaml").write_text("layer: pad")


@pytest.mark.parametrize(
    "written, hint",
    [
        ("config.yml", " (did you mean config.yaml?)"),
        ("sample/conv/weights.npy", " (did you mean samples?)"),
        ("samples/conv/weight.npy", " (did you mean samples/conv/weights.npy?)"),
        ("samples/convs/weights.npy", " (did you mean samples/conv?)"),
        ("zzz", ""),
        ("/zzz/a", ""),
        ("", ""),
    ],
)
def test_near_path(written: str, hint: str) -> None:
    assert near_path(written) == hint


@pytest.mark.parametrize(
    "args, text",
    [
        (["run", "config.yml"], "did you mean config.yaml?"),
        (["conv", "--tensors", "samples/con"], "did you mean samples/conv?"),
        (["pad", "-p", "1", "--x", "samples/conv/weight.npy"], "samples/conv/weights.npy?"),
        (["pad", "-p", "1"], "needs x: --x normal:2x3x8x8"),
        (
            ["conv", "--x", "normal:1x1x4x4", "--w", "normal:1x1x6x4"],
            "2 more of --padding along H would do",
        ),
    ],
)
def test_errors_name_what_to_type_next(
    monkeypatch: pytest.MonkeyPatch, args: list[str], text: str
) -> None:
    found = call(monkeypatch, *args)
    assert found.status == 2
    assert text in found.err


def test_a_name_that_only_shares_its_suffix_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "grad.npy").touch()
    assert near_path(f"{tmp_path}/data.npy") == ""
    assert f"{tmp_path}/grad.npy" in near_path(f"{tmp_path}/grads.npy")
