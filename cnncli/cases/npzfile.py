"""A .npz as a zip: its keys, and one entry opened so that it cannot unfold beyond its claim."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from cnncli.cases.node import nearest
from cnncli.cases.npyheader import MAGIC, ByteStream
from cnncli.errors import TensorError

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)
"""What zipfile raises for damaged or hostile archives, by experiment."""

_ENCRYPTED = 0x1
_DEFLATE_RATIO = 1032
"""The most bytes that one byte of deflate can unfold to (zlib's documentation)."""

_SHOWN = 20


@contextmanager
def open_archive(path: Path, as_npy: str) -> Iterator[zipfile.ZipFile]:
    """Open a .npz; any fault in it, while opening or while reading, becomes one TensorError.

    `as_npy` is what to write in place of `path:key` should it turn out to be a .npy.
    """
    with path.open("rb") as file:
        front = file.read(len(MAGIC))
        if front == MAGIC:
            raise TensorError(f"this is a .npy, which holds one array: write {as_npy}")
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except _BROKEN as error:
            reason = str(error) or "it ends too soon"
            raise TensorError(f"this is not a sound .npz: {reason}") from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise TensorError("this is not a sound .npz: it points outside of itself") from None


def keys_of(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return the names of the arrays, `.npy` left off, in the order of the file."""
    return tuple(dict.fromkeys(name.removesuffix(".npy") for name in archive.namelist()))


def show_keys(archive: zipfile.ZipFile) -> str:
    """Return the keys as a message lists them."""
    keys = keys_of(archive)
    shown = [_printable(key) for key in keys[:_SHOWN]]
    more = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return ", ".join(shown + more) or "nothing"


def example_of(archive: zipfile.ZipFile, written: str) -> str:
    """Return how to name the first array, `batch.npz:images`."""
    return f"{written}:{_printable((keys_of(archive) or ('KEY',))[0])}"


@contextmanager
def open_entry(
    archive: zipfile.ZipFile, key: str | None, written: str
) -> Iterator[tuple[ByteStream, int]]:
    """Open the array `key` and yield it with the bytes it claims to unfold to.

    What is read is never more than that claim, and the claim is one that the compressed bytes can
    meet. Raises TensorError for a missing or ambiguous key and for what is not read: encryption,
    and compressions other than deflate, which could unfold without a bound.
    """
    names = archive.namelist()
    if key is None:
        raise TensorError(
            f"this holds several arrays ({show_keys(archive)}): name one, "
            f"as in {example_of(archive, written)}"
        )
    name = key if key in names else f"{key}.npy"
    if name not in names:
        raise TensorError(
            f"there is no array {key!r} in it{nearest(key, map(_printable, keys_of(archive)))}; "
            f"it holds {show_keys(archive)}"
        )
    if names.count(name) > 1:
        raise TensorError(f"it holds {name!r} {names.count(name)} times")
    info = archive.getinfo(name)
    if info.flag_bits & _ENCRYPTED:
        raise TensorError(f"{name!r} in it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}.get(info.compress_type)
        method = kind or f"method {info.compress_type}"
        raise TensorError(f"{name!r} in it is compressed by {method}; only deflate is read")
    ratio = 1 if info.compress_type == zipfile.ZIP_STORED else _DEFLATE_RATIO
    if info.file_size > info.compress_size * ratio or info.compress_size > _length(archive):
        raise TensorError(
            f"{name!r} in it claims to be {info.file_size} bytes from {info.compress_size} "
            f"compressed ones, in a file of {_length(archive)} bytes, which cannot be"
        )
    with archive.open(info) as stream:
        yield cast(ByteStream, stream), info.file_size


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _length(archive: zipfile.ZipFile) -> int:
    assert archive.fp is not None
    place = archive.fp.tell()
    length = archive.fp.seek(0, 2)
    archive.fp.seek(place)
    return length
