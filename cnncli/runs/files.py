"""Files that results leave behind: each is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

from cnncli.errors import UsageError
from cnncli.floats import BFLOAT16
from cnncli.runs.result import FORMAT, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_NAME = "result.json"


@contextlib.contextmanager
def whole_file(path: Path, flag: str) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when it is complete; raise UsageError if it cannot.

    It is written through a link, and a file that was there keeps its mode.
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:  # a device or a pipe: there is nothing to replace
                yield stream
            return
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.chmod(temporary, mode)
        os.replace(temporary, target)
        temporary = None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", flag) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def refuse_unwritable(path: Path, flag: str) -> None:
    """Raise UsageError where a file cannot be made, before there is anything to write to it."""
    reason = None
    try:
        folder = path.parent
        if path.is_symlink():
            folder = Path(os.path.realpath(path)).parent
        if path.is_dir():
            reason = "it is a folder"
        elif path.exists() and not path.is_file():  # which of a name that is too long is an error
            reason = None if os.access(path, os.W_OK) else "it may not be written to"
        elif not folder.is_dir():
            reason = f"there is no folder {folder}"
        elif not os.access(folder, os.W_OK):
            reason = f"{folder} may not be written to"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason is not None:
        raise UsageError(f"{path} cannot be written: {reason}", flag)


def refuse_unwritable_folder(path: Path, flag: str) -> None:
    """Raise UsageError where a folder cannot be made or written to, before there is a need to."""
    reason = None
    try:
        there = next((one for one in (path, *path.parents) if one.exists()), Path())
        if not there.is_dir():
            reason = f"{there} is not a folder"
        elif not os.access(there, os.W_OK):
            reason = f"{there} may not be written to"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason is not None:
        raise UsageError(f"folder {path} cannot be made: {reason}", flag)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_array(stream: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array as .npy, to a stream that need not seek."""
    # The parent of a pool judges paths by this module, and needs no NumPy.
    import numpy as np

    # NumPy seeks in whatever it knows to be a file, which a pipe is, too.
    plain = SimpleNamespace(write=stream.write)
    np.lib.format.write_array(plain, np.ascontiguousarray(array), allow_pickle=False)


def write_raw(stream: BinaryIO, array: NDArray[Any], dtype: str) -> None:
    """Write an array as raw little-endian numbers of a type, C order; see RawFile.

    Rounds to the nearest number of a float type; raises UsageError where a type of whole numbers
    cannot hold what is there.
    """
    import numpy as np

    if dtype == "bfloat16":
        raw = (_as_bfloat16(array).view(np.uint32) >> 16).astype("<u2")
    else:
        with np.errstate(all="ignore"):
            raw = array.astype(np.dtype(dtype).newbyteorder("<"))
            lost = (raw != array) if raw.dtype.kind in "iu" else np.zeros((), bool)
        if lost.any():
            number = array[np.unravel_index(int(lost.argmax()), array.shape)]
            raise UsageError(f"{dtype} cannot hold {number:g}: give a float type", "--out")
    stream.write(raw.tobytes())


def _as_bfloat16(array: NDArray[Any]) -> NDArray[Any]:
    """Return the nearest numbers of bfloat16, ties to even, as float32."""
    import numpy as np

    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        least = BFLOAT16.least_exponent + 1 - BFLOAT16.significand
        place = np.maximum(np.frexp(wide)[1] - BFLOAT16.significand, least)
        rounded = np.ldexp(np.rint(np.ldexp(wide, -place)), place).astype(np.float32)
    return np.ascontiguousarray(rounded)


def save_result(result: Result, folder: Path) -> None:
    """Write every tensor as NAME.npy and `result.json`; raise UsageError where that fails.

    Arrays that an earlier result.json in the folder lists and that this result does not have are
    removed, so that the folder never holds tensors of two different results.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or "not a folder"
        raise UsageError(f"folder {folder} cannot be made: {reason}", "--save") from None
    stale = [f"{name}.npy" for name in sorted(_listed(folder) - set(result.tensors))]
    for name in (*stale, RECORD_NAME):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            message = f"{folder / name} cannot be removed: {error.strerror}"
            raise UsageError(message, "--save") from None
    for name, tensor in result.tensors.items():
        with whole_file(folder / f"{name}.npy", "--save") as stream:
            write_array(stream, tensor.outside)
    text = json.dumps(result.record(), allow_nan=False, indent=1)
    with whole_file(folder / RECORD_NAME, "--save") as stream:
        stream.write(text.encode() + b"\n")


def _listed(folder: Path) -> set[str]:
    """Return the tensors that an earlier result in this folder wrote."""
    try:
        data = json.loads((folder / RECORD_NAME).read_bytes())
    except (OSError, ValueError):
        return set()
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        return set()
    tensors = data.get("tensors")
    return {name for name in tensors if name.isidentifier()} if isinstance(tensors, dict) else set()
