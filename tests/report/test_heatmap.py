from __future__ import annotations

import io
import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rich.console import Console

from cnncli.report.heatmap import (
    Panel,
    _shrink,
    has_plane,
    plane_panel,
    show_panels,
)


def shown(panels: list[Panel], *, width: int = 80, colour: str | None = None, **more: Any) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=more.pop("encoding", "utf-8"), write_through=True)
    console = Console(
        file=stream,
        width=width,
        color_system=colour,  # type: ignore[arg-type]
        force_terminal=colour is not None,
        legacy_windows=False,
        **more,
    )
    show_panels(console, panels)
    return raw.getvalue().decode(stream.encoding)


def test_shades_grow_with_the_values() -> None:
    text = shown([plane_panel("x", np.arange(10.0).reshape(1, 1, 1, 10))])
    assert text.splitlines() == [
        "x[0,0] 1x10",
        *["  ..::--==++**##%%@@"] * 1,
        "0 [ .:-=+*#%@] 9",
        "",
    ]


def test_half_blocks_hold_two_rows() -> None:
    plane = np.array([[[[-1.0], [1.0]]]])
    text = shown([plane_panel("x", plane)], colour="truecolor")
    assert "▀" in text
    # The least is blue above and the greatest red below; each element is four columns wide.
    assert text.count("38;2;59;76;192;48;2;59;76;192m▀") == 4 or "59;76;192" in text
    assert "180;4;38" in text


@pytest.mark.parametrize("colour", ["truecolor", "256", "standard"])
def test_a_stream_without_half_blocks_gets_coloured_spaces(colour: str) -> None:
    plane = np.random.default_rng(0).standard_normal((1, 1, 5, 6))
    text = shown([plane_panel("x", plane)], colour=colour, encoding="ascii")
    assert "▀" not in text
    # Title, five rows (each twice as high), scale and a blank line.
    rows = text.splitlines()
    assert [row.count("\x1b[") >= 2 * 6 for row in rows[1:-2]] == [True] * (len(rows) - 3)
    assert len(rows) - 3 in (5, 10)


def test_no_color_means_shades() -> None:
    plane = np.random.default_rng(0).standard_normal((1, 1, 5, 6))
    text = shown([plane_panel("x", plane)], colour="truecolor", no_color=True)
    assert "▀" not in text
    assert "[ .:-=+*#%@]" in text


def test_side_by_side() -> None:
    planes = [plane_panel(name, np.ones((1, 1, 4, 5))) for name in ("x", "y")]
    first = shown(planes).splitlines()[0]
    assert first.startswith("x[0,0] 4x5")
    assert "y[0,0] 4x5" in first


@settings(max_examples=60, deadline=None)
@given(
    planes=st.lists(
        hnp.arrays(
            np.float64,
            st.tuples(
                st.integers(1, 3), st.integers(1, 2), st.integers(1, 70), st.integers(1, 300)
            ),
            elements=st.floats(allow_nan=True, allow_infinity=True),
            fill=st.just(1.0),
        ),
        min_size=1,
        max_size=5,
    ),
    width=st.integers(60, 200),
    colour=st.sampled_from([None, "truecolor", "standard"]),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)
def test_any_plane_fits_any_width(
    planes: list[np.ndarray[Any, Any]], width: int, colour: str | None, encoding: str
) -> None:
    from rich.text import Text

    text = shown(
        [plane_panel("x", one) for one in planes], width=width, colour=colour, encoding=encoding
    )
    assert max(Text.from_ansi(line).cell_len for line in text.splitlines()) <= width


def test_a_lone_error_is_seen_in_a_large_plane() -> None:
    gap = np.zeros((200, 300))
    gap[113, 171] = 1.0
    text = shown([plane_panel("A - B", gap, shrink="largest", scale=(0.0, 1.0))])
    picture = text.split("\n0 [")[0]  # above the scale
    assert picture.count("@") >= 1
    assert "a cell: largest of" in text


def test_what_is_not_finite_is_told() -> None:
    plane = np.zeros((30, 200))
    plane[3, 3] = np.nan
    text = shown([plane_panel("x", plane)])
    assert "!! not finite" in text
    assert "!" in text.splitlines()[1] + text.splitlines()[2]


def test_planes() -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert plane_panel("x", x, (1, 2)).plane.tolist() == x[1, 2].tolist()
    assert plane_panel("x", x, (1, 2)).title == "x[1,2] 4x5"
    assert plane_panel("b", np.arange(3.0)).plane.shape == (1, 3)
    assert plane_panel("x", x[:, :, 0], (1, 2)).title == "x[1,2] 5"
    assert has_plane(x, (1, 2))
    assert not has_plane(x, (1, 3))
    assert not has_plane(x, (0, 0, 0))
    assert (
        plane_panel("x", x.reshape(2, 3, 2, 2, 5), (1, 2, 1)).plane.tolist()
        == x.reshape(2, 3, 2, 2, 5)[1, 2, 1].tolist()
    )


@pytest.mark.parametrize("shape", [(1, 200_000), (100_000, 2), (3, 70_000)])
@pytest.mark.parametrize("how", ["mean", "largest"])
def test_long_thin_planes_take_memory_of_their_own_size(
    shape: tuple[int, int], how: Literal["mean", "largest"]
) -> None:
    plane = np.arange(float(np.prod(shape))).reshape(shape)
    panel = plane_panel("x", plane, shrink=how)
    tracemalloc.start()
    try:
        text = shown([panel])
        assert tracemalloc.get_traced_memory()[1] < 8 * plane.nbytes + (1 << 20)
    finally:
        tracemalloc.stop()
    assert "a cell:" in text


@pytest.mark.parametrize("shape", [(5, 7), (9, 4), (1, 8), (8, 1), (6, 6)])
def test_a_cell_is_the_mean_or_the_largest_of_its_block(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(5).standard_normal(shape)
    for factor in (2, 3, 7):
        blocks = [
            [plane[r : r + factor, c : c + factor] for c in range(0, shape[1], factor)]
            for r in range(0, shape[0], factor)
        ]
        means = [[block.mean() for block in row] for row in blocks]
        np.testing.assert_allclose(_shrink(plane, factor, "mean"), means, rtol=1e-12)
        most = [[block.flat[np.abs(block).argmax()] for block in row] for row in blocks]
        np.testing.assert_array_equal(_shrink(plane, factor, "largest"), most)
