from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnncli.cases.draws import (
    Streams,
    check_seed,
    draw_bytes,
    make_values,
    values_bytes,
)
from cnncli.cases.node import from_data
from cnncli.cases.sources import KINDS, Random, Values, parse_source
from cnncli.errors import ConfigError


def random(text: str) -> Random:
    source = parse_source(from_data(text, "here"), "x", None)
    assert isinstance(source, Random)
    return source


def test_pcg64_is_a_stream_for_each_name() -> None:
    streams = Streams("pcg64", 7)
    w = streams.draw("w", random("normal:4x3"))
    x = streams.draw("x", random("uniform:2x5"))
    assert np.array_equal(w, np.random.default_rng([7, *b"w"]).standard_normal((4, 3)))
    assert np.array_equal(x, np.random.default_rng([7, *b"x"]).random((2, 5)))
    assert np.array_equal(Streams("pcg64", 7).draw("x", random("uniform:2x5")), x)
    assert not np.array_equal(Streams("pcg64", 8).draw("x", random("uniform:2x5")), x)
    assert np.array_equal(
        Streams("pcg64", 7).draw("running_mean", "normal", (5,)),
        np.random.default_rng([7, *b"running_mean"]).standard_normal(5),
    )


def test_pcg64_options() -> None:
    rng = np.random.default_rng([0, *b"x"])
    got = Streams("pcg64", 0).draw("x", random("normal:50,loc=10,scale=4"))
    assert np.array_equal(got, 10 + 4 * rng.standard_normal(50))
    rng = np.random.default_rng([0, *b"x"])
    got = Streams("pcg64", 0).draw("x", random("uniform:50,low=-2,high=5"))
    assert np.array_equal(got, -2 + 7.0 * rng.random(50))
    rng = np.random.default_rng([0, *b"x"])
    got = Streams("pcg64", 0).draw("x", random("integers:50"))
    assert np.array_equal(got, rng.integers(-4, 4, 50, endpoint=True))


def test_legacy_is_what_a_notebook_gives() -> None:
    np.random.seed(231)
    expected: list[NDArray[Any]] = [
        4 * np.random.randn(2, 3, 4, 5) + 10,
        np.random.rand(2, 3),
        np.random.randint(-4, 5, (7, 2)),
        np.random.randn(3),
        np.random.permutation(6),
        np.random.rand(4) * 7 - 2,
    ]
    streams = Streams("legacy", 231)
    assert np.array_equal(streams.draw("x", random("normal:2x3x4x5,loc=10,scale=4")), expected[0])
    assert np.array_equal(streams.draw("none", random("ones:2x3")), np.ones((2, 3)))
    assert np.array_equal(streams.draw("w", random("uniform:2x3")), expected[1])
    assert np.array_equal(streams.draw("a", random("integers:7x2")), expected[2])
    assert np.array_equal(streams.draw("b", random("arange:3")), np.arange(3))
    assert np.array_equal(streams.draw("x", random("normal:3")), expected[3])
    assert np.array_equal(streams.draw("d", random("distinct:6")), (2 * expected[4] - 5) / 6)
    assert np.array_equal(streams.draw("u", random("uniform:4,low=-2,high=5")), expected[5])


def test_notebook_batch_norm_draw() -> None:
    x = Streams("legacy", 231).draw("x", random("normal:2x3x4x5,loc=10,scale=4"))
    printed_means = [9.33463814, 8.90909116, 9.11056338]
    printed_stds = [3.61447857, 3.19347686, 3.5168142]
    assert np.allclose(x.mean((0, 2, 3)), printed_means, rtol=0, atol=5e-9)
    assert np.allclose(x.std((0, 2, 3)), printed_stds, rtol=0, atol=5e-9)


def test_notebook_max_pool_draw() -> None:
    x = Streams("legacy", 1975).draw("x", random("uniform:2x3x23x23"))
    corners = [x[0, 0, i : i + 2, j : j + 2].max() for i in (0, 11) for j in (0, 11)]
    printed = [0.46800661, 0.6818562, 0.95191188, 0.58676102]
    assert np.allclose(corners, printed, rtol=0, atol=5e-9)


def test_notebook_filter_gradient_draw() -> None:
    # dW of conv with dy all ones is the sum of the windows, so its total follows from X alone.
    x = Streams("legacy", 1345).draw("x", random("uniform:2x3x10x10"))
    windows = sum(x[:, :, i : i + 8 : 2, j : j + 8 : 2].sum() for i in range(4) for j in range(4))
    assert abs(7 * windows - 5340.576411697173) < 1e-9


def test_notebook_pool_gradient_draw() -> None:
    # Max pooling's dX sums to the sum of g, wherever the maxima are; g is drawn after X.
    streams = Streams("legacy", 19)
    x = streams.draw("x", random("uniform:2x3x10x10"))
    g = streams.draw("dy", random("uniform:2x3x7x7,zero_extend=2x3x9x9"))
    assert g.shape == (2, 3, 9, 9)
    assert not g[:, :, 7:].any()
    assert not g[:, :, :, 7:].any()
    assert g[:, :, :7, :7].all()
    assert abs(g.sum() / x.size - 0.2428232587752177) < 1e-15


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.sampled_from([*KINDS, "normal,loc=3", "uniform,low=-9,high=-8", "integers,low=2,high=2"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple),
    st.sampled_from(["pcg64", "legacy"]),
    st.integers(0, 2**32 - 1),
)
def test_every_kind(kind: str, shape: tuple[int, ...], rng: str, seed: int) -> None:
    source = random(kind)
    array = Streams(rng, seed).draw("x", source, shape)
    assert array.dtype == np.float64
    assert array.shape == shape
    assert array.flags.c_contiguous
    assert array.flags.writeable
    count = array.size
    if source.kind == "distinct":
        assert np.allclose(np.sort(array.ravel()), (2 * np.arange(count) - count + 1) / count)
        assert np.unique(array).size == count
        assert np.abs(array).max() < 1
    if source.kind == "arange":
        assert array.ravel().tolist() == list(range(count))
    if source.kind == "uniform":
        low, high = source.option("low"), source.option("high")
        assert ((low <= array) & (array < high)).all()
    if source.kind == "integers":
        low, high = source.option("low"), source.option("high")
        assert ((low <= array) & (array <= high) & (array == np.floor(array))).all()
    if source.kind in ("ones", "zeros"):
        assert (array == (source.kind == "ones")).all()


@pytest.mark.parametrize("rng", ["pcg64", "legacy"])
def test_integers_reach_both_ends(rng: str) -> None:
    drawn = Streams(rng, 0).draw("x", random("integers:1000"))
    assert np.unique(drawn).tolist() == list(range(-4, 5))
    drawn = Streams(rng, 0).draw("x", random("distinct:1000"))
    assert not np.array_equal(np.sort(drawn), drawn)


def test_largest_integers_are_exact() -> None:
    for rng in ("pcg64", "legacy"):
        drawn = Streams(rng, 0).draw("x", random(f"integers:9,low={2**53},high={2**53}"))
        assert (drawn == 2.0**53).all()


def test_own_shape_goes_before_the_worked_out_one() -> None:
    assert Streams("pcg64", 0).draw("x", random("ones:2x3"), (5,)).shape == (2, 3)


def test_drawing_a_pattern_takes_nothing_from_the_stream() -> None:
    plain = Streams("legacy", 3)
    other = Streams("legacy", 3)
    for kind in ("ones", "zeros", "arange"):
        other.draw("a", kind, (4, 5))
    assert np.array_equal(plain.draw("x", "normal", (4,)), other.draw("x", "normal", (4,)))


@pytest.mark.parametrize("rng", ["pcg64", "legacy"])
@pytest.mark.parametrize("options", ["", ",zero_extend=301x400"])
@pytest.mark.parametrize("kind", KINDS)
def test_draw_bytes_is_the_peak(kind: str, options: str, rng: str) -> None:
    source = random(f"{kind}:300x400{options}")
    Streams(rng, 0).draw("x", kind, (2, 2))
    tracemalloc.start()
    Streams(rng, 0).draw("x", source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    claimed = draw_bytes(source, (300, 400))
    assert 0.9 * claimed < peak < 1.05 * claimed


def test_seeds() -> None:
    check_seed("pcg64", 0)
    check_seed("pcg64", 2**63 - 1)
    check_seed("legacy", 2**32 - 1)
    Streams("pcg64", 2**63 - 1).draw("x", "normal", (2,))
    Streams("legacy", 2**32 - 1).draw("x", "normal", (2,))
    for rng, seed in (("pcg64", -1), ("pcg64", 2**63), ("legacy", 2**32), ("legacy", -1)):
        with pytest.raises(ConfigError, match=f"seed must be from 0 .* but is {seed}"):
            Streams(rng, seed)
    with pytest.raises(ConfigError, match="rng must be one of pcg64, legacy, not 'mt'"):
        Streams("mt", 1)
    with pytest.raises(ConfigError, match="whole number"):
        check_seed("pcg64", True)


def test_values() -> None:
    source = parse_source(from_data({"values": [[1, 2], [3, 4]]}, "here"), "x", None)
    assert isinstance(source, Values)
    array = make_values(source)
    assert array.dtype == np.int64
    assert array.tolist() == [[1, 2], [3, 4]]
    assert values_bytes(source) == 32
    source = parse_source(
        from_data({"values": [[1, "NaN"]], "zero_extend": [2, 3]}, "here"), "x", None
    )
    assert isinstance(source, Values)
    array = make_values(source)
    assert array.dtype == np.float64
    assert np.array_equal(array, np.array([[1, np.nan, 0], [0, 0, 0]]), equal_nan=True)
    assert values_bytes(source) == 64
    scalar = parse_source(from_data({"values": 2.5}, "here"), "x", None)
    assert isinstance(scalar, Values)
    assert make_values(scalar).shape == ()
