"""The numbers of a file, read straight into the array that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnncli.cases.npyheader import ByteStream, Layout
from cnncli.cases.sizes import Shape
from cnncli.errors import TensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 18


def claim(layout: Layout) -> str:
    """Say what a file claims to hold, for a message."""
    return f"shape {layout.shape} of {dtype_name(layout)} takes {layout.stored_bytes} bytes"


def dtype_name(layout: Layout) -> str:
    """Return the name of the numbers in the file: `float16`, `bfloat16`, ..."""
    if layout.dtype == "bfloat16":
        return layout.dtype
    import numpy as np

    return np.dtype(layout.dtype).name


def raw_layout(dtype: str, shape: Shape) -> Layout:
    """Return how the numbers of a raw file lie: little-endian, the last axis varying first."""
    if dtype == "bfloat16":
        return Layout(shape, dtype, 2)
    import numpy as np

    stored = np.dtype(dtype).newbyteorder("<")
    return Layout(shape, stored.str, stored.itemsize)


def held_bytes(layout: Layout) -> int:
    """Return the peak bytes of `read_numbers`."""
    copies = 2 if layout.fortran and len(layout.shape) > 1 else 1
    # An entry of a zip comes by way of a few chunks, compressed and unfolded.
    chunks = min(8 * _CHUNK, 2 * layout.stored_bytes)
    return copies * layout.count * layout.held_itemsize + chunks


def read_numbers(stream: ByteStream, layout: Layout) -> NDArray[Any]:
    """Return the array at the front of `stream`: C order, native, writeable, its own memory.

    bfloat16 becomes float32, whose upper half it is. Raises TensorError where the stream ends
    too soon or holds a truth value other than 0 and 1.
    """
    import numpy as np

    if layout.dtype == "bfloat16":
        return _read_bfloat16(stream, layout)
    stored = np.dtype(layout.dtype)
    shape = layout.shape[::-1] if layout.fortran else layout.shape
    array: NDArray[Any] = np.empty(shape, stored.newbyteorder("="))
    raw = array.reshape(-1).view(np.uint8)
    _fill(stream, raw.data, layout)
    if not stored.isnative:
        array.byteswap(inplace=True)
    if stored.kind == "b" and raw.max() > 1:
        raise TensorError(f"a bool is stored as 0 or 1, but here one is {raw.max()}")
    return np.array(array.T, order="C") if layout.fortran and array.ndim > 1 else array


def _read_bfloat16(stream: ByteStream, layout: Layout) -> NDArray[Any]:
    import numpy as np

    array = np.empty(layout.shape, np.float32)
    bits = array.reshape(-1).view(np.uint32)
    for start in range(0, layout.count, _CHUNK // 2):
        upper = np.empty(min(_CHUNK // 2, layout.count - start), "<u2")
        _fill(stream, upper.view(np.uint8).data, layout, 2 * start)
        part = bits[start : start + upper.size]
        part[...] = upper
        part <<= 16
    return array


def _fill(stream: ByteStream, view: memoryview, layout: Layout, before: int = 0) -> None:
    """Fill `view`, which comes after `before` bytes of data; raise TensorError at an early end."""
    place = 0
    while place < len(view):
        got = stream.readinto(view[place : place + _CHUNK])
        if not got:
            raise TensorError(f"{claim(layout)}, but its data ends after {before + place}")
        place += got
