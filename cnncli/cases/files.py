"""Tensors from files and standard input, judged by their headers before their data is read.

Nothing unpickles, and no memory is taken for what a header merely claims.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from cnncli.cases.nearby import near_path
from cnncli.cases.npydata import claim, dtype_name, held_bytes, raw_layout, read_numbers
from cnncli.cases.npyheader import ByteStream, IsArchiveError, Layout, read_header
from cnncli.cases.npzfile import example_of, keys_of, open_archive, open_entry, show_keys
from cnncli.cases.sizes import Shape, append_zeros, bytes_with_zeros, extended
from cnncli.cases.sourcetext import kind_hint
from cnncli.cases.sourcetypes import FileSource, NpyFile, NpzEntry, RawFile, StandardInput
from cnncli.errors import MemoryBoundError, TensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """What a file holds, as told by its header: nothing of its data was read."""

    shape: Shape
    """The tensor's shape, zero_extend included."""

    dtype: str
    """The type of the numbers in the file: `float16`, `bfloat16`, ..., `bool`."""

    held_bytes: int
    """The most bytes that loading it takes at any time."""


class StoredTensor:
    """A tensor judged by its header, to be loaded once it is known to fit.

    A file is closed in between. A pipe stays open until it is loaded or closed.
    """

    def __init__(self, source: FileSource, standard_input: BinaryIO | None = None) -> None:
        """Judge the header of `source`; raise TensorError, naming the file, for any fault.

        `standard_input` takes the place of the process's own.
        """
        self._source = source
        self._pipe: BinaryIO | None = None
        self._loaded = False
        with ExitStack() as stack, _errors_of(source):
            if isinstance(source, StandardInput):
                self._pipe = _standard_input(standard_input)
            elif isinstance(source, NpzEntry):
                _refuse_pipe(source.path)
            elif not _is_regular(source.path):
                self._pipe = stack.enter_context(source.path.open("rb"))
            with self._opened() as (stream, size):
                self._layout = _judge(source, stream, size)
            peak = held_bytes(self._layout)
            shape = self._layout.shape
            self.stored = Stored(
                extended(shape, source.zero_extend),
                dtype_name(self._layout),
                bytes_with_zeros(peak, self._layout.held_itemsize, shape, source.zero_extend),
            )
            self._held = stack.pop_all()

    @property
    def order(self) -> str:
        """How the numbers lie, as a header tells it: `little-endian, C order`."""
        native = "little" if sys.byteorder == "little" else "big"
        byte = {"<": "little", ">": "big", "=": native}.get(self._layout.dtype[0])
        if self._layout.dtype == "bfloat16":
            byte = "little"
        lie = "Fortran order" if self._layout.fortran else "C order"
        return f"{byte}-endian, {lie}" if byte else lie

    def load(self) -> NDArray[Any]:
        """Return the numbers: C order, native byte order, writeable; bfloat16 as float32.

        Raises TensorError where there are more or fewer than the header claims, or where the file
        is no longer the one that was judged. A pipe can be loaded once.
        """
        with self, _errors_of(self._source), self._opened() as (stream, size):
            if self._pipe is None:
                if _judge(self._source, stream, size) != self._layout:
                    raise TensorError("it has changed since its header was read")
            elif self._loaded:
                raise TensorError("a pipe can be read once only")
            self._loaded = True
            try:
                array = read_numbers(stream, self._layout)
                array = append_zeros(array, self._source.zero_extend)
            except MemoryError:
                raise MemoryBoundError(
                    f"loading it takes {self.stored.held_bytes} bytes, more than there are"
                ) from None
            if stream.read(1):
                raise TensorError(f"{claim(self._layout)}, but more data follows")
            return array

    def close(self) -> None:
        """Let go of a pipe; standard input itself stays open."""
        self._held.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def _opened(self) -> Iterator[tuple[ByteStream, int | None]]:
        """Yield the stream and how many bytes are left in it, None where that is not known."""
        source = self._source
        if self._pipe is not None:
            yield cast(ByteStream, self._pipe), _bytes_left(self._pipe)
        elif isinstance(source, NpzEntry):
            leave_out = f"{source.written} alone"
            with (
                open_archive(source.path, leave_out) as archive,
                open_entry(archive, source.key, source.written) as entry,
            ):
                yield entry
        else:
            assert not isinstance(source, StandardInput)
            with source.path.open("rb") as file:
                yield file, _bytes_left(file)


def npz_keys(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in a .npz; raise TensorError where it is none."""
    source = NpzEntry(where="", path=path, written=str(path), key=None)
    with _errors_of(source):
        _refuse_pipe(path)
        with open_archive(path, "NAME=PATH") as archive:
            return keys_of(archive)


def _judge(source: FileSource, stream: ByteStream, size: int | None) -> Layout:
    """Return how the numbers lie, having held that against the `size` of the stream."""
    if isinstance(source, RawFile):
        layout = raw_layout(source.dtype, source.shape)
        if size is not None and size != layout.stored_bytes:
            raise TensorError(f"{claim(layout)}, but the file has {size}")
        return layout
    try:
        layout, header = read_header(stream)
    except IsArchiveError as error:
        if not isinstance(source, NpyFile) or size is None:
            raise
        with open_archive(source.path, "") as archive:
            keys, example = show_keys(archive), example_of(archive, source.written)
        raise TensorError(f"{error.message} ({keys}): name one, as in {example}") from None
    if size is not None and size - header != layout.stored_bytes:
        raise TensorError(f"{claim(layout)}, but {size - header} bytes follow its header")
    return layout


def _is_regular(path: Path) -> bool:
    """Tell a file from a pipe; raise TensorError for what is neither."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise TensorError("this is a folder, not a file")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise TensorError("this is neither a file nor a pipe")
    return stat.S_ISREG(mode)


def _refuse_pipe(path: Path) -> None:
    """Raise TensorError where a .npz is none: its index stands at its end, which a pipe has not."""
    if not _is_regular(path):
        raise TensorError("a .npz cannot be read from a pipe or device")


def _standard_input(given: BinaryIO | None) -> BinaryIO:
    if given is not None:
        return given
    if sys.stdin is None or sys.stdin.closed:
        raise TensorError("it is closed")
    return sys.stdin.buffer


def _bytes_left(stream: BinaryIO) -> int | None:
    """Return how many bytes a file still has, None for a pipe; raise TensorError for a terminal."""
    if stream.isatty():
        raise TensorError("this is a terminal, where nobody types a .npy; send a file or a pipe")
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # Not a file of the system's.
        return None
    return status.st_size - stream.tell() if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _errors_of(source: FileSource) -> Iterator[None]:
    """Name the file in every error that opening and reading it causes."""
    shown = "standard input"
    if not isinstance(source, StandardInput):
        # `./normal` stays what it is, for a Path drops the ./
        same = Path(source.written) == source.path
        shown = source.written if same else str(source.path)
        if isinstance(source, NpzEntry) and source.key is not None:
            shown = f"{shown}:{source.key}"
    try:
        yield
    except (TensorError, MemoryBoundError) as error:
        kind = MemoryBoundError if isinstance(error, MemoryBoundError) else TensorError
        raise kind(f"{shown}: {error.message}", error.where) from None
    except FileNotFoundError:
        hint = kind_hint(source.written) if isinstance(source, NpyFile) else ""
        hint = hint or near_path(str(getattr(source, "path", "")))
        raise TensorError(f"{shown}: there is no such file{hint}") from None
    except OSError as error:
        raise TensorError(f"{shown}: {error.strerror or error}") from None
