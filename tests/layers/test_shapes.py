"""The shape rules, against closed forms and against windows counted one by one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import CnncliError, GeometryError
from cnncli.layers.base import Request
from cnncli.layers.parameters import CONVENTIONS, parameters
from cnncli.layers.table import LAYERS
from tests.layers.cases import plan, sized

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)
SMALL = st.integers(1, 5)


def windows_that_fit(size: int, span: int, stride: int, before: int, after: int) -> int:
    """Count windows by placing them, one after another."""
    start, count = -before, 0
    while start + span <= size + after:
        start, count = start + stride, count + 1
    return count


@SETTINGS
@given(st.integers(1, 12), SMALL, SMALL, st.integers(1, 3), st.integers(0, 4), st.integers(0, 4))
def test_conv_counts_windows(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> None:
    params = {"stride": stride, "dilation": dilation, "padding": [[before, after]]}
    tensors = {"x": sized("ones", 1, 1, size), "w": sized("ones", 1, 1, kernel)}
    expected = windows_that_fit(size, dilation * (kernel - 1) + 1, stride, before, after)
    if expected:
        assert plan("conv", params, tensors).plan.upstream == (1, 1, expected)
    else:
        with pytest.raises(GeometryError, match="covers"):
            plan("conv", params, tensors)


@SETTINGS
@given(
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["max", "avg"]),
)
def test_a_pooling_too_large_is_told_a_kernel_that_fits(
    size: int, kernel: int, before: int, after: int, stride: int | None, mode: str
) -> None:
    params = {"kernel": kernel, "padding": [[before, after]], "mode": mode}
    params |= {} if stride is None else {"stride": stride}
    tensors = {"x": sized("ones", 1, 1, size)}
    if kernel <= size + before + after:
        return
    with pytest.raises(GeometryError, match="covers") as refused:
        plan("pool", params, tensors)
    text = str(refused.value)
    assert "--padding" not in text  # half a kernel is the most that other libraries take
    (fits,) = re.findall(r"; a kernel of (\d+) along W fits", text)
    assert plan("pool", {**params, "kernel": int(fits)}, tensors).plan.upstream == (1, 1, 1)
    assert plan("pool", {"kernel": "global", "mode": mode}, tensors).plan.upstream == (1, 1, 1)


def test_a_dilated_pooling_too_large_is_told_what_to_make_smaller() -> None:
    with pytest.raises(GeometryError, match="smaller kernel or dilation, or --kernel global"):
        plan("pool", {"kernel": 3, "dilation": 4}, {"x": sized("ones", 1, 1, 8)})


@SETTINGS
@given(st.integers(1, 30), st.integers(1, 6), SMALL, st.integers(1, 3), st.booleans())
def test_same_pads_the_least(
    size: int, kernel: int, stride: int, dilation: int, lower: bool
) -> None:
    params = {"stride": stride, "dilation": dilation, "padding": "same-lower" if lower else "same"}
    tensors = {"x": sized("ones", 1, 1, size), "w": sized("ones", 1, 1, kernel)}
    made = plan("conv", params, tensors).plan
    wanted = -(-size // stride)
    assert made.upstream == (1, 1, wanted)
    ((before, after),) = made.params["padding"]
    span = dilation * (kernel - 1) + 1
    least = next(
        total
        for total in range(size + span * stride)
        if windows_that_fit(size, span, stride, 0, total) >= wanted
    )
    assert before + after == least
    assert (before - after if lower else after - before) in (0, 1)


def test_same_of_a_known_network() -> None:
    made = plan("conv", {"stride": 2, "padding": "same"}, {"x": "ones:1x1x224", "w": "ones:1x1x7"})
    assert made.plan.params["padding"] == ((2, 3),)


@SETTINGS
@given(st.integers(1, 6), SMALL, st.integers(1, 3), st.integers(1, 3), st.data())
def test_transposed_is_the_shape_that_convolves_back(
    size: int, kernel: int, stride: int, dilation: int, data: st.DataObject
) -> None:
    span = dilation * (kernel - 1) + 1
    before, after = data.draw(st.integers(0, span)), data.draw(st.integers(0, span))
    extra = data.draw(st.integers(0, 3))
    params = {
        "transposed": True,
        "stride": stride,
        "dilation": dilation,
        "padding": [[before, after]],
        "output_padding": extra,
    }
    tensors = {"x": sized("ones", 1, 1, size), "w": sized("ones", 1, 1, kernel)}
    wanted = (size - 1) * stride + span - before - after + extra
    if extra >= max(stride, dilation) or wanted < 1:
        with pytest.raises(CnncliError):
            plan("conv", params, tensors)
        return
    made = plan("conv", params, tensors).plan
    assert made.upstream == (1, 1, wanted)
    if extra < stride and wanted + before + after >= span:
        assert windows_that_fit(wanted, span, stride, before, after) == size


@SETTINGS
@given(st.integers(1, 12), SMALL, SMALL, st.integers(1, 2), st.integers(0, 4), st.booleans())
def test_every_max_window_has_a_real_element(
    size: int, kernel: int, stride: int, dilation: int, pad: int, ceil_mode: bool
) -> None:
    params = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": pad}
    span = dilation * (kernel - 1) + 1
    try:
        made = plan("pool", {**params, "ceil_mode": ceil_mode}, {"x": sized("ones", 1, 1, size)})
    except GeometryError as error:
        made = None
        fault = str(error)
    count = windows_that_fit(size, span, stride, pad, pad)
    if ceil_mode and count * stride - pad < size:
        # One more, which starts in the input or before it and ends less than a stride too late;
        # the windows before it leave out something at the end.
        left_out = not count or (count - 1) * stride + span < size + 2 * pad
        count += left_out and count * stride + span < size + 2 * pad + stride
    starts = [o * stride - pad for o in range(count)]
    empty = [s for s in starts if not any(0 <= s + i * dilation < size for i in range(kernel))]
    if made is None:
        assert ("covers" in fault and not count) or ("padding alone" in fault and empty)
    else:
        assert not empty
        assert made.plan.upstream == (1, 1, count)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_number_stands_for_every_axis(rank: int) -> None:
    x = sized("ones", 2, 3, *[5] * rank)
    made = plan("pool", {"kernel": 2, "padding": [[0, 1]], "mode": "avg"}, {"x": x}).plan
    assert made.params["kernel"] == (2,) * rank
    assert made.params["stride"] == (2,) * rank
    assert made.params["padding"] == ((0, 1),) * rank
    assert made.upstream == (2, 3, *[3] * rank)


@pytest.mark.parametrize("kernel", ["global", "2,3"])
def test_kernels_as_text(kernel: str) -> None:
    made = plan("pool", {"kernel": kernel}, {"x": "ones:1x1x4x9"}).plan
    assert made.upstream[2:] == ((1, 1) if kernel == "global" else (2, 3))


@pytest.mark.parametrize("layer", LAYERS)
def test_declarations_are_whole(layer: str) -> None:
    for declared in parameters(LAYERS[layer].Params):
        assert declared.help.endswith(".")
        assert declared.kind.schema()
        assert set(declared.conventions) < set(CONVENTIONS)
        if not declared.required and declared.default is not None:
            assert declared.kind.parse(declared.default) == declared.default


def test_request_tells_four_numbers_in_both_orders_in_3d() -> None:
    layer = LAYERS["pad"]
    request = Request(
        params=layer.Params(padding=(1, 2, 3, 4, 5, 6)),
        given={"padding": "--padding"},
        tensors={},
        shapes={"x": (1, 1, 9, 9, 9)},
    )
    with pytest.raises(GeometryError, match=r"1:4,2:5,3:6.*5:6,3:4,1:2") as caught:
        layer.plan(request)
    assert caught.value.where == "--padding"
