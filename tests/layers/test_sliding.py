from __future__ import annotations

import time

from hypothesis import example, given
from hypothesis import strategies as st

from cnncli.layers.sliding import first_empty_window
from tests.cli.invoke import call, complaint

SMALL = st.integers(1, 9)


@given(
    size=SMALL, outputs=st.integers(1, 30), kernel=SMALL, stride=SMALL,
    before=st.integers(0, 40), dilation=st.integers(1, 14),
)  # fmt: skip
@example(size=2, outputs=9, kernel=9, stride=2, before=11, dilation=5)  # one steps over the input
def test_the_first_empty_window_is_that_of_all_windows(
    size: int, outputs: int, kernel: int, stride: int, before: int, dilation: int
) -> None:
    """Every window written out, as the shape rule did before it had a closed form."""

    def is_empty(o: int) -> bool:
        places = range(o * stride - before, o * stride - before + kernel * dilation, dilation)
        return not any(0 <= place < size for place in places)

    found = first_empty_window(
        size, outputs, kernel=kernel, stride=stride, before=before, dilation=dilation
    )
    assert found == next((o for o in range(outputs) if is_empty(o)), None)


def test_a_billion_windows_are_judged_at_once() -> None:
    """Before any bound on memory: this took 15 s and 816 MB, and 88 s and 5.9 GB."""
    began = time.perf_counter()
    for shape, kernel in (("1x1x4x4", 20_000_000), ("1x1x4", 150_000_000)):
        message = complaint(
            call(
                *("pool", "--x", f"normal:{shape}", "-k", kernel, "-p", kernel - 1, "-s", "1"),
                *("--max-memory", "100M"),
            )
        )
        assert "--max-memory" in message
    assert time.perf_counter() - began < 5


def test_far_apart_elements_are_judged_at_once() -> None:
    far = 10**9
    # Window o starts at o - 2 * far; the element after it stands at o + 1, which must be below 3.
    over = first_empty_window(3, far, kernel=2, stride=1, before=2 * far, dilation=2 * far + 1)
    assert over == 2
    assert first_empty_window(far, far, kernel=3, stride=1, before=far, dilation=far) is None
