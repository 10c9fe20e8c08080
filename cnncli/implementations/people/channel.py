"""Messages between us and a submission's process: a JSON head and raw bytes, never a pickle.

What comes back was sent by a stranger's process, so every number in it is judged before use.
Imports the standard library and NumPy alone.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZES = struct.Struct("<QQ")
MAX_HEAD = 1 << 24
MAX_BODY = 1 << 31
_DTYPE = re.compile(r"[<|](?:b1|[iu][1248]|f[248])\Z")


class GarbledError(Exception):
    """Bytes that are no message."""


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a message as bytes."""
    text = json.dumps(head).encode()
    return _SIZES.pack(len(text), len(body)) + text + body


def unpack(buffer: bytearray) -> tuple[dict[str, Any], bytes] | None:
    """Take the first message off `buffer`; None where it is not all there. Raises GarbledError."""
    if len(buffer) < _SIZES.size:
        return None
    head_size, body_size = _SIZES.unpack_from(buffer)
    if head_size > MAX_HEAD or body_size > MAX_BODY:
        raise GarbledError("sizes out of bounds")
    end = _SIZES.size + head_size + body_size
    if len(buffer) < end:
        return None
    try:
        head = json.loads(bytes(buffer[_SIZES.size : _SIZES.size + head_size]))
    except (ValueError, RecursionError):
        raise GarbledError("the head is not JSON") from None
    if not isinstance(head, dict):
        raise GarbledError("the head is no mapping")
    body = bytes(buffer[_SIZES.size + head_size : end])
    del buffer[:end]
    return head, body


def read_array(about: Any, body: bytes) -> NDArray[Any]:
    """Return the array that `about` (dtype, shape, at) finds in `body`; raise GarbledError."""
    try:
        dtype, shape, at = about["dtype"], about["shape"], about["at"]
    except (TypeError, KeyError):
        raise GarbledError("no array") from None
    whole = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**48 for n in shape)
    if not isinstance(dtype, str) or not _DTYPE.match(dtype) or not whole or type(at) is not int:
        raise GarbledError("no array of numbers")
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not 0 <= at <= at + size <= len(body):
        raise GarbledError("an array outside its message")
    try:
        return np.frombuffer(body, kind, math.prod(shape), at).reshape(shape).copy()
    except ValueError:  # more axes than NumPy has, or no elements in a shape that has no bounds
        raise GarbledError("no array of NumPy's") from None
