from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.shell import call

CONV = ("--x", "normal:2x3x8x10", "--w", "normal:4x3x3x2")


def test_planes_stand_side_by_side_with_their_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    text = call(monkeypatch, "conv", *CONV, "--plane", "1,2").out
    (titles,) = [line for line in text.splitlines() if line.startswith("x[1,2]")]
    assert titles.split()[::2] == ["x[1,2]", "w[2,0]", "y[1,2]"]
    assert "y[0,0]" not in text  # no corners of numbers beside pictures
    assert text.isascii() or "─" in text


def test_gradients_stand_beside_the_numeric_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = call(monkeypatch, "gradcheck", "conv", *CONV, "--show", "--wrt", "w").out
    (titles,) = [line for line in text.splitlines() if line.startswith("dw ours")]
    assert titles.split("  ")[0] == "dw ours[0,0] 3x2"
    assert "numeric[0,0]" in titles
    assert "difference[0,0]" in titles
    np.save(tmp_path / "dw.npy", np.zeros((4, 3, 3, 2)))
    args = ("gradcheck", "conv", *CONV, "--show", "--wrt", "w", "--expect")
    text = call(monkeypatch, *args, f"dw={tmp_path}/dw.npy").out
    assert "dw expected[" in text


def test_probes_are_shown_each(monkeypatch: pytest.MonkeyPatch) -> None:
    text = call(monkeypatch, "gradcheck", "pool", "--show").out
    assert text.count("numeric[0,0") == 9
    assert "pool-max-dilated" in text


def test_plane_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, "conv", *CONV, "--plane", "2,0")
    assert found.status == 2
    assert "no tensor has the plane 2,0: x 2x3x8x10" in found.err


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_reports_stand_alone_and_escape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = "<script>alert(1)</script> [red] {x} & \"'.npy"
    Path(odd).parent.mkdir()
    np.save(f"./{odd}", np.arange(24.0).reshape(1, 2, 3, 4))
    found = call(
        monkeypatch, "pad", "--x", f"./{odd}", "-p", "1", "--show", "--save-report", f"r{suffix}"
    )
    assert found.status == 0, found.err
    text = Path(f"r{suffix}").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "[red]" in text.replace("&#160;", " ")
    for outside in ("http://", "https://", "@import", "url("):
        rest = text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("url(#", "")
        assert outside not in rest
    assert "passed" in text or "done" in text


def test_report_keeps_colours_though_the_output_is_piped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    path = tmp_path / "r.html"
    found = call(
        monkeypatch, "pad", "--x", "normal:1x1x4x4", "-p", "1", "--show", "--save-report", str(path)
    )
    assert "\x1b" not in found.out
    assert "▀" in path.read_text()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_stream_takes_it(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for args in (
        ("conv", *CONV, "--show", "--explain", "0,1,2,3"),
        ("gradcheck", "bn", "--x", "normal:2x3x4x3", "--show"),
        ("compare", "normal:2x3x4x5", "zeros", "--show"),
        ("compare", "normal:2x3x4x5"),
    ):
        found = call(monkeypatch, *args, encoding=encoding)
        assert found.status in (0, 1), found.err
        assert found.err == ""


def test_compare_shows_the_plane_of_the_worst_element(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a = np.zeros((2, 3, 4, 4))
    np.save(tmp_path / "b.npy", a)
    a[1, 2, 3, 0] = 1
    np.save(tmp_path / "a.npy", a)
    args = ("compare", f"{tmp_path}/a.npy", f"{tmp_path}/b.npy")
    text = call(monkeypatch, *args, "--show").out
    assert "the plane of the worst element, A[1,2,3,0]" in text
    assert "A[1,2]" in text
    assert "A[0,1]" in call(monkeypatch, *args, "--plane", "0,1").out


def test_conventions_that_agree_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("conv", *CONV, "--convention", "torch,onnx,keras")
    assert "nothing differs" in call(monkeypatch, *args).out
    assert "nothing differs" not in call(monkeypatch, "bn", *CONV[:2], *args[-2:]).out


def test_gradcheck_shows_the_plane_of_the_worst_element(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call(monkeypatch, "conv", *CONV, "--backward", "--save", f"{tmp_path}/t")
    wrong = {name: np.load(tmp_path / f"t/{name}.npy") for name in ("dx", "dw")}
    wrong["dx"][1, 2, 3, 0] += 9
    wrong["dw"][3, 1, 2, 1] += 9
    for name, array in wrong.items():
        np.save(tmp_path / f"{name}-wrong.npy", array)
    asked = [f"--expect={name}={tmp_path}/{name}-wrong.npy" for name in wrong]
    args = ("gradcheck", "conv", "--tensors", f"{tmp_path}/t", *asked)
    text = call(monkeypatch, *args, "--show").out
    assert "the plane of the worst element, dx expected[1,2,3,0]" in text
    assert "the plane of the worst element, dw expected[3,1,2,1]" in text
    opened = [line for line in text.splitlines() if "difference[" in line]
    titles = [line.split("  ")[0] for line in opened]
    # Ours is right and stays where it was.
    assert titles == ["dx ours[0,0] 8x10", "dx expected[1,2] 8x10", "dw ours[0,0] 3x2",
                      "dw expected[3,1] 3x2"]  # fmt: skip
    # Who asks for a plane sees it.
    text = call(monkeypatch, *args, "--plane", "0,1").out
    assert "the plane of the worst" not in text
    assert "dx expected[0,1]" in text


@pytest.mark.parametrize("spatial", [(9,), (3, 9), (2, 3, 9)])
def test_the_worst_plane_is_found_in_any_rank(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spatial: tuple[int, ...]
) -> None:
    shape = (2, 3, *spatial)
    np.save(tmp_path / "x.npy", np.arange(float(np.prod(shape))).reshape(shape))
    call(monkeypatch, "pool", "--x", f"{tmp_path}/x.npy", "-k", "1", "--out", f"{tmp_path}/y.npy")
    wrong = np.load(tmp_path / "y.npy")
    wrong[(1, 2, *(size - 1 for size in spatial))] += 9
    np.save(tmp_path / "wrong.npy", wrong)
    text = call(monkeypatch, "compare", f"{tmp_path}/wrong.npy", f"{tmp_path}/y.npy", "--show").out
    depth = ",1" if len(spatial) == 3 else ""
    plane = "x".join(map(str, spatial[-2:]))
    assert f"A[1,2{depth}] {plane}" in text


@pytest.mark.parametrize("command", ["conv", "gradcheck conv"])
def test_a_persons_function_is_shown_where_it_is_worst(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    call(monkeypatch, "conv", *CONV, "--backward", "--save", f"{tmp_path}/t")
    code = f"import numpy as np\ndx = np.load({str(tmp_path / 't/dx.npy')!r})\n"
    code += "def back(x):\n    dx[1, 2, 3, 0] += 9\n    return dx\n"
    file = tmp_path / "mine.py"
    file.write_text(code)
    args = ("--tensors", f"{tmp_path}/t", "--against", str(file), "--call", "dx=back(x)")
    text = call(monkeypatch, *command.split(), *args, "--run-all", "--show").out
    place = "the plane of the worst element, dx theirs[1,2,3,0]"
    assert f"dx of {file}: {place}" in text
    (titles,) = [line for line in text.splitlines() if line.startswith("dx theirs")]
    right = "ours" if command == "conv" else "numeric"
    assert titles.split()[::2] == ["dx", "8x10", "8x10", "8x10"]
    assert "dx theirs[1,2] 8x10" in titles
    assert f"{right}[1,2] 8x10" in titles
    text = call(monkeypatch, *command.split(), *args, "--run-all", "--plane", "0,1").out
    assert "the plane of the worst" not in text
    assert "dx theirs[0,1]" in text
    # What has another shape has no picture, and says so.
    file.write_text("def back(x):\n    return x[:, :, 1:]\n")
    text = call(monkeypatch, *command.split(), *args, "--run-all", "--show").out
    assert f"dx of {file}: no picture, it is 2x3x7x10, not 2x3x8x10" in text


def test_what_a_layer_command_expects_is_shown_where_it_is_worst(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call(monkeypatch, "conv", *CONV, "--save", f"{tmp_path}/t")
    y = np.load(tmp_path / "t/y.npy")
    y[1, 3, 2, 1] += 9
    np.save(tmp_path / "y.npy", y)
    text = call(monkeypatch, "conv", *CONV, "--expect", f"y={tmp_path}/y.npy", "--show").out
    assert "the plane of the worst element, y expected[1,3,2,1]" in text
    (titles,) = [line for line in text.splitlines() if line.startswith("y expected[1,3]")]
    assert "ours[1,3]" in titles


def test_pictures_are_planes_of_a_channel_in_any_layout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.arange(2 * 2 * 3 * 5.0).reshape(2, 2, 3, 5)
    np.save("x.npy", x)
    np.save("last.npy", x.transpose(0, 2, 3, 1))
    pad = ("pad", "-p", "1:0,2:2", "--plane", "1,1", "--x")
    first = call(monkeypatch, *pad, "x.npy").out
    last = call(monkeypatch, *pad, "last.npy", "--layout", "nhwc").out
    assert "x[1,1] 3x5" in first
    assert "x[1,:,:,1] 3x5" in last
    assert "y[1,:,:,1] 4x9" in last

    def picture(text: str) -> list[str]:
        lines = text.split("] 3x5")[1].splitlines()[1:]
        return [line.rstrip() for line in lines[: lines.index("")]]

    assert picture(last) == picture(first)
    found = call(monkeypatch, *pad, "last.npy", "--layout", "nhwc", "--plane", "2")
    assert found.status == 2
    assert "no tensor has the plane 2: x 2x3x5x2, y 2x4x9x2" in found.err


def test_the_worst_plane_is_found_in_any_layout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = ("pad", "-p", "0", "--x", "normal:2x3x4x5", "--dy", "zeros", "--layout", "nhwc")
    dx = np.zeros((2, 3, 4, 5))
    dx[1, 2, 0, 4] = 7
    np.save(tmp_path / "dx.npy", dx)
    text = call(monkeypatch, *case, "--expect", f"dx={tmp_path}/dx.npy", "--show").out
    assert "the plane of the worst element, dx expected[1,2,0,4]" in text
    assert "dx expected[1,:,:,4] 3x4" in text
    np.save(tmp_path / "dx.npy", dx[:, :2])
    text = call(monkeypatch, *case, "--expect", f"dx={tmp_path}/dx.npy", "--show").out
    assert "no picture, it is 2x2x4x5, not 2x3x4x5" in text
