"""The header of a .npy: what it claims, judged before a byte of data is read."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cnncli.cases.sizes import MAX_BYTES, Shape, check_shape
from cnncli.errors import TensorError

if TYPE_CHECKING:
    from typing import Any

    import numpy as np

MAGIC = b"\x93NUMPY"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
MAX_HEADER = 10_000
"""The longest header that NumPy itself reads without being told to trust the file."""

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


class ByteStream(Protocol):
    """What can be read from its front: a file, a pipe, an entry of a zip."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the front of `buffer` and return how many bytes that were."""


@dataclass(frozen=True)
class Layout:
    """How an array lies in a file; `dtype` is NumPy's text, `<f4`, or `bfloat16`."""

    shape: Shape
    dtype: str
    itemsize: int
    fortran: bool = False

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def stored_bytes(self) -> int:
        """How many bytes they take in the file."""
        return self.count * self.itemsize

    @property
    def held_itemsize(self) -> int:
        """How many bytes one of them takes in memory, where bfloat16 is float32."""
        return 4 if self.dtype == "bfloat16" else self.itemsize


class IsArchiveError(TensorError):
    """What was opened as a .npy is a zip."""


def read_header(stream: ByteStream) -> tuple[Layout, int]:
    """Return what the .npy at the front of `stream` claims, and the bytes its header takes.

    Reads the header and nothing more, so the data is next. Raises TensorError for what is not a
    .npy, and for dtypes and shapes that are not taken.
    """
    front = read_up_to(stream, 8)
    if front.startswith(ZIP_MAGICS):
        raise IsArchiveError("this is a .npz, which holds several arrays")
    if not front:
        raise TensorError("there is nothing in it")
    if not front.startswith(MAGIC):
        raise TensorError(f"this is not a .npy: it begins with {front[:6]!r}, not {MAGIC!r}")
    version = tuple(front[6:])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise TensorError(f"this is a .npy of an unknown version, {'.'.join(map(str, version))}")
    digits = 2 if version == (1, 0) else 4
    length_field = read_up_to(stream, digits)
    length = int.from_bytes(length_field, "little")
    if length > MAX_HEADER:
        raise TensorError(f"its header has {length} bytes; at most {MAX_HEADER} are taken")
    header = read_up_to(stream, length)
    if len(length_field) < digits or len(header) < length:
        raise TensorError("it ends within its header")
    return _layout(length_field + header, version), 8 + digits + length


def read_up_to(stream: ByteStream, size: int) -> bytes:
    """Return the next `size` bytes, fewer only at the end; a pipe may give them in parts."""
    parts = b""
    while len(parts) < size and (part := stream.read(size - len(parts))):
        parts += part
    return parts


def _layout(header: bytes, version: tuple[int, ...]) -> Layout:
    from numpy.lib import format as npy

    # Version 3 is version 2 with UTF-8 names of fields, and fields are not taken.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Files of Python 2 are fine.
            shape, fortran, dtype = read(io.BytesIO(header))
    except Exception:  # Hostile text ends in almost any error, RecursionError among them.
        text = header[4:].decode("latin-1").strip()
        text = text if len(text) <= 80 else text[:77] + "..."
        raise TensorError(f"its header cannot be understood: {text!r}") from None
    _judge_dtype(dtype)
    shape = tuple(int(size) for size in shape)
    if 0 in shape:
        raise TensorError(f"it has shape {shape}, which holds no numbers")
    layout = Layout(check_shape(shape), dtype.str, dtype.itemsize, bool(fortran))
    assert layout.stored_bytes <= MAX_BYTES  # check_shape counts 8 bytes a number.
    return layout


def _judge_dtype(dtype: np.dtype[Any]) -> None:
    """Raise TensorError, naming it, for a dtype that is not taken."""
    if dtype.names is None and dtype.subdtype is None and dtype.name in DTYPES:
        return
    if dtype.hasobject:
        raise TensorError("it holds pickled objects (dtype object), which are never loaded")
    name = dtype.name if dtype.names is None else f"a structure of {len(dtype.names)} fields"
    hint = "; bfloat16 numbers are saved that way: save them as float32" if name == "void16" else ""
    raise TensorError(f"its dtype is {name}{hint}; the dtypes taken are {', '.join(DTYPES)}")
