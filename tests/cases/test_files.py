from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cnncli.cases.files import Stored, StoredTensor, npz_keys
from cnncli.cases.node import Data, from_data
from cnncli.cases.npyheader import DTYPES
from cnncli.cases.sources import FileSource, StandardInput, parse_source
from cnncli.errors import CnncliError, MemoryBoundError, TensorError

Array = NDArray[Any]
FUZZ = settings(
    deadline=None,
    derandomize=True,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STDIN = StandardInput(where="--x")


def source_of(data: Data, folder: Path) -> FileSource:
    source = parse_source(from_data(data, "--x"), "x", folder)
    return cast(FileSource, source)


def read(data: Data, folder: Path) -> Array:
    """Load, having seen that what was announced is what came."""
    with StoredTensor(source_of(data, folder)) as opened:
        return loaded(opened)


def loaded(opened: StoredTensor) -> Array:
    stored = opened.stored
    array = opened.load()
    assert array.shape == stored.shape
    assert array.dtype.name == {"bfloat16": "float32"}.get(stored.dtype, stored.dtype)
    assert array.dtype.isnative
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.owndata
    assert stored.held_bytes >= array.nbytes
    return array


def fault(data: Data, folder: Path) -> str:
    with pytest.raises(CnncliError) as caught:
        read(data, folder)
    assert isinstance(caught.value, TensorError)
    assert caught.value.where is None  # The caller names the tensor.
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy(shape: object, descr: object = "<f8", data: bytes = b"", fortran: object = False) -> bytes:
    """Return a .npy whose header claims what it is told to."""
    return with_header(
        repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode(), data
    )


def with_header(header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + data


def saved(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def sample(dtype: str, shape: tuple[int, ...] = (2, 3, 5)) -> Array:
    rng = np.random.default_rng(5)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, dtype=kind.type, endpoint=True)


# Right files.


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_round_trip(dtype: str, endian: str, order: str, tmp_path: Path) -> None:
    array = sample(dtype)
    stored = np.array(array, endian + np.dtype(dtype).str[1:], order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "x.npy", stored)
    np.savez(tmp_path / "a.npz", x=stored)
    np.savez_compressed(tmp_path / "c.npz", x=stored)
    for text in ("x.npy", "a.npz:x", "a.npz:x.npy", "c.npz:x"):
        assert np.array_equal(read(text, tmp_path), array)
        assert read(text, tmp_path).dtype == array.dtype
    with StoredTensor(STDIN, io.BytesIO(saved(stored))) as opened:
        assert opened.stored.dtype == dtype
        assert np.array_equal(loaded(opened), array)


ORDERS: list[Literal["C", "F"]] = ["C", "F"]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (5, 1), (1, 5), (2,) * 32])
def test_ranks(shape: tuple[int, ...], tmp_path: Path) -> None:
    if len(shape) == 32:
        shape = (1,) * 30 + (2, 3)
    array = sample("float32", shape)
    for order in ORDERS:
        np.save(tmp_path / "x.npy", np.asarray(array, order=order))
        assert np.array_equal(read("x.npy", tmp_path), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(version: tuple[int, int], tmp_path: Path) -> None:
    array = sample("int16")
    with (tmp_path / "x.npy").open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        npy_format.write_array(file, array, version=version)
    assert np.array_equal(read("x.npy", tmp_path), array)


def test_file_of_python_2(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2L,), }"
    (tmp_path / "x.npy").write_bytes(with_header(header, bytes(16)))
    assert read("x.npy", tmp_path).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32"])
def test_raw_round_trip(dtype: str, tmp_path: Path) -> None:
    array = sample(dtype)
    (tmp_path / "d.bin").write_bytes(array.astype(np.dtype(dtype).newbyteorder("<")).tobytes())
    assert np.array_equal(read(f"d.bin:{dtype}:2x3x5", tmp_path), array)
    assert np.array_equal(
        read({"bin": "d.bin", "dtype": dtype, "shape": [5, 6]}, tmp_path), array.reshape(5, 6)
    )


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    known = {0x3F80: 1.0, 0xC040: -3.0, 0x7F80: np.inf, 0x3DCD: 0.10009765625, 0x0001: 2.0**-133}
    (tmp_path / "d.bin").write_bytes(struct.pack("<6H", *known, 0x7FC0))
    array = read("d.bin:bfloat16:2x3", tmp_path)
    assert array.ravel()[:5].tolist() == list(known.values())
    assert np.isnan(array[1, 2])
    every = np.arange(2**16, dtype="<u2").repeat(20)  # More than one chunk.
    (tmp_path / "d.bin").write_bytes(every.tobytes())
    array = read(f"d.bin:bfloat16:20x{2**16}", tmp_path)
    assert np.array_equal(array.view(np.uint32).ravel(), every.astype(np.uint32) << 16)


def test_zeros_are_appended(tmp_path: Path) -> None:
    array = sample("int16", (2, 3))
    np.save(tmp_path / "x.npy", array)
    grown = read({"npy": "x.npy", "zero_extend": [2, 5]}, tmp_path)
    assert np.array_equal(grown[:, :3], array)
    assert not grown[:, 3:].any()
    for zero_extend in ([2, 2], [2, 3, 4]):
        text = fault({"npy": "x.npy", "zero_extend": list(zero_extend)}, tmp_path)
        assert "zero_extend" in text
        assert "2x3" in text


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("form", ["x.npy", "a.npz:x", "c.npz:x", "x.bin", "grown"])
def test_held_bytes_bounds_the_peak(form: str, order: str, endian: str, tmp_path: Path) -> None:
    array = np.array(sample("float32", (700, 800)), endian + "f4", order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "a.npz", x=array)
    np.savez_compressed(tmp_path / "c.npz", x=np.round(array))
    (tmp_path / "d.bin").write_bytes(array.tobytes())
    data: Data = form
    if form == "x.bin":
        data = "d.bin:bfloat16:1400x800"
    if form == "grown":
        data = {"npy": "x.npy", "zero_extend": [701, 800]}
    read(data, tmp_path)
    with StoredTensor(source_of(data, tmp_path)) as opened:
        tracemalloc.start()
        opened.load()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # The chunks that a zip is read by are bounded, and counted for every file.
    assert opened.stored.held_bytes - (3 << 20) < peak < opened.stored.held_bytes + (1 << 16)


def test_a_stored_tensor_describes_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", sample("float16", (2, 3)))
    with StoredTensor(source_of({"npy": "x.npy", "zero_extend": [4, 3]}, tmp_path)) as opened:
        assert opened.stored == Stored((4, 3), "float16", 36)
        opened.load()
        opened.load()  # A file can be read again.


def test_npz_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(2), w=np.ones(3))
    assert npz_keys(tmp_path / "a.npz") == ("x", "w")
    np.save(tmp_path / "x.npy", np.ones(2))
    for path, message in (("x.npy", "one array"), ("", "folder"), ("no.npz", "no such file")):
        with pytest.raises(TensorError, match=message):
            npz_keys(tmp_path / path)


# Wrong .npy files.

ENTRY_MESSAGES = [
    (npy((2, 3), data=bytes(47)), "shape (2, 3) of float64 takes 48 bytes, but 47 bytes follow"),
    (npy((2, 3), data=bytes(49)), "takes 48 bytes, but 49 bytes follow"),
    (npy((2, 3), data=b""), "takes 48 bytes, but 0 bytes follow"),
    (npy((2**37,)), "takes 1099511627776 bytes, but 0 bytes follow"),
    (npy((2**40, 2**40)), "more numbers than any memory"),
    (npy((2**1000,)), "more numbers than any memory"),
    (npy((-2, -3), data=bytes(48)), "every size is 1 or more"),
    (npy((2, 0)), "shape (2, 0), which holds no numbers"),
    (npy((1,) * 33, data=bytes(8)), "at most 32 axes, but this one has 33"),
    (npy((2.0, 3)), "cannot be understood"),
    (npy([2, 3]), "cannot be understood"),
    (npy((2,), fortran="no"), "cannot be understood"),
    (npy((2,), "bogus"), "cannot be understood"),
    (npy((2,), ("<f8", (10**9,))), "cannot be understood"),
    (npy((2,), "<c16", bytes(32)), "dtype is complex128"),
    (npy((2,), "<f16", bytes(32)), "dtype is float128"),
    (npy((2,), "|O", bytes(16)), "pickled objects"),
    (npy((2,), [("a", "|O")], bytes(16)), "pickled objects"),
    (npy((2,), [("a", "<f8"), ("b", "<f8")], bytes(32)), "a structure of 2 fields"),
    (npy((2,), "<V2", bytes(4)), "bfloat16"),
    (npy((2,), "<V8", bytes(16)), "dtype is void64"),
    (npy((2,), "<U2", bytes(16)), "dtype is str64"),
    (npy((2,), "|S2", bytes(4)), "dtype is bytes16"),
    (npy((2,), "<M8[s]", bytes(16)), "dtype is datetime64[s]"),
    (npy((2,), "<m8[s]", bytes(16)), "dtype is timedelta64[s]"),
    (npy((2,), "?", b"\1\2"), "a bool is stored as 0 or 1, but here one is 2"),
    (b"", "nothing in it"),
    (b"\x93NUM", "not a .npy: it begins with"),
    (b"hello, world", "not a .npy: it begins with"),
    (b"\x93NUMPY\1\0\x40", "ends within its header"),
    (with_header(b"{" * 400)[:100], "ends within its header"),
    (with_header(b"{}", version=(9, 1)), "unknown version, 9.1"),
    (with_header(b" " * 10_001), "its header has 10001 bytes; at most 10000"),
    (b"\x93NUMPY\2\0\xff\xff\xff\xff", "its header has 4294967295 bytes"),
    (with_header(b"(" * 9000), "cannot be understood"),
    (with_header(b"-" * 9000 + b"1"), "cannot be understood"),
    (with_header(b"9" * 9000), "cannot be understood"),
    (with_header(b"\xff\0\xfe", version=(3, 0)), "cannot be understood"),
    (with_header(b"__import__('os')"), "cannot be understood"),
]


@pytest.mark.parametrize(("raw", "message"), ENTRY_MESSAGES)
def test_bad_npy(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(raw)
    text = fault("x.npy", tmp_path)
    assert text.startswith(f"{tmp_path / 'x.npy'}: ")
    assert message in text


@pytest.mark.parametrize(("raw", "message"), ENTRY_MESSAGES)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bad_npy_in_npz(method: int, raw: bytes, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", raw)
    text = fault("a.npz:x", tmp_path)
    assert text.startswith(f"{tmp_path / 'a.npz'}:x: ")
    assert message in text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        *((raw, message) for raw, message in ENTRY_MESSAGES if "follow" not in message),
        (npy((2, 3), data=bytes(47)), "takes 48 bytes, but its data ends after 47"),
        (npy((2, 3), data=bytes(49)), "takes 48 bytes, but more data follows"),
        (b"PK\3\4aaaa", "this is a .npz"),
    ],
)
def test_bad_npy_on_standard_input(raw: bytes, message: str) -> None:
    with pytest.raises(TensorError) as caught:
        StoredTensor(STDIN, io.BytesIO(raw)).load()
    assert str(caught.value).startswith("standard input: ")
    assert message in str(caught.value)


def test_nothing_unpickles(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    objects = np.array([Bomb(), None])
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=objects)
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Bomb()))
    for text in ("x.npy", "a.npz:x", "p.npy"):
        fault(text, tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("text", ["x.npy", "a.npz:x", "d.bin:float64:1000x1000x1000x125", "-"])
def test_a_terabyte_claimed_costs_no_memory(text: str, tmp_path: Path) -> None:
    claim = npy((1000, 1000, 1000, 125), data=bytes(80))
    (tmp_path / "x.npy").write_bytes(claim)
    (tmp_path / "d.bin").write_bytes(claim)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", claim)
    source = source_of(text, tmp_path)
    np.dtype("f8")
    tracemalloc.start()
    if text == "-":  # How much is in a pipe is not known; the caller judges held_bytes.
        with StoredTensor(source, io.BytesIO(claim)) as opened:
            assert opened.stored.held_bytes >= 10**12
    else:
        with pytest.raises(TensorError, match="1000000000000 bytes"):
            StoredTensor(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_memory_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*args: object) -> Array:
        raise MemoryError

    with StoredTensor(STDIN, io.BytesIO(npy((2, 3), data=bytes(48)))) as opened:
        monkeypatch.setattr(np, "empty", empty)
        with pytest.raises(MemoryBoundError, match=r"^standard input: loading it takes \d+ bytes"):
            opened.load()


# Wrong paths.


def test_wrong_paths(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.ones(2), labels=np.ones(2))
    np.save(tmp_path / "x.npy", np.ones(2))
    (tmp_path / "z.npy").write_bytes((tmp_path / "a.npz").read_bytes())
    (tmp_path / "loop").symlink_to("loop")
    for text, message in (
        ("no.npy", "no such file"),
        ("norml:2x3", "did you mean normal:2x3?"),
        ("x.npy/y.npy", "Not a directory"),
        ("loop", "Too many levels"),
        ("n" * 300, "File name too long"),
        (".", "this is a folder"),
        ("d.npz:x", "no such file"),
        ("z.npy", "this is a .npz, which holds several arrays (images, labels): name one, as in"),
        ("z.npy", "as in z.npy:images"),
        ("a.npz", "holds several arrays (images, labels): name one, as in a.npz:images"),
        ("a.npz:image", "no array 'image' in it (did you mean images?); it holds images, labels"),
        ("x.npy:x", "this is a .npy, which holds one array: write x.npy alone"),
        ("a.npz:", "names no array"),
    ):
        if text == "a.npz:":
            with pytest.raises(TensorError, match=message):
                source_of(text, tmp_path)
        else:
            assert message in fault(text, tmp_path)
    (tmp_path / "sub").mkdir()
    assert "folder" in fault("sub", tmp_path)
    assert "folder" in fault({"npz": "sub", "key": "a"}, tmp_path)
    assert read("z.npy:images", tmp_path).tolist() == [1, 1]


def test_the_path_is_shown_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = cast(FileSource, parse_source(from_data("./normal", "--x"), "x", None))
    with pytest.raises(TensorError, match=r"^\./normal: there is no such file$"):
        StoredTensor(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    (tmp_path / "x.npy").chmod(0)
    assert "Permission denied" in fault("x.npy", tmp_path)


def test_a_file_that_changes_in_between(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(4))
    with StoredTensor(source_of("x.npy", tmp_path)) as opened:
        np.save(tmp_path / "x.npy", np.ones((2, 2)))
        with pytest.raises(TensorError, match="it has changed"):
            opened.load()
        (tmp_path / "x.npy").unlink()
        with pytest.raises(TensorError, match="no such file"):
            opened.load()


# Wrong raw files.


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("change", [-1, 1])
def test_raw_length(dtype: str, change: int, tmp_path: Path) -> None:
    need = 6 * {"bfloat16": 2, "float32": 4}[dtype]
    (tmp_path / "d.bin").write_bytes(bytes(need + change))
    text = fault(f"d.bin:{dtype}:2x3", tmp_path)
    assert f"shape (2, 3) of {dtype} takes {need} bytes, but the file has {need + change}" in text


# Wrong .npz files.


def test_an_entry_cannot_claim_what_it_cannot_unfold_to(tmp_path: Path) -> None:
    array = np.zeros(100_000)
    for name, save in (("c.npz", np.savez_compressed), ("a.npz", np.savez)):
        save(tmp_path / name, x=array)
        raw = (tmp_path / name).read_bytes()
        real = struct.pack("<I", 800_128)
        header = npy((2**28 - 16,))
        for claim, message in (
            (800_128 - 8, "bytes follow its header"),
            (800_128 + 8, "bytes follow its header"),
            (len(header) + 2**31, "cannot be"),
        ):
            fake = raw.replace(real, struct.pack("<I", claim))
            assert fake != raw
            (tmp_path / name).write_bytes(fake)
            text = fault(f"{name}:x", tmp_path)
            assert message in text or "cannot be" in text


def test_an_unfolding_bomb_is_announced(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(5_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 60_000
    source = source_of("a.npz:x", tmp_path)
    tracemalloc.start()
    with StoredTensor(source) as opened:
        assert opened.stored.held_bytes >= 40_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound_are_not_read(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", saved(np.zeros(10_000)))
    assert "only deflate is read" in fault("a.npz:x", tmp_path)


def test_damaged_archives(tmp_path: Path) -> None:
    array = sample("float64", (50, 7))
    np.savez(tmp_path / "a.npz", x=array)
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[1000] ^= 1
    (tmp_path / "a.npz").write_bytes(raw)
    assert "not a sound .npz: Bad CRC-32" in fault("a.npz:x", tmp_path)
    (tmp_path / "a.npz").write_bytes(raw[:1500])
    assert "not a sound .npz: File is not a zip file" in fault("a.npz:x", tmp_path)
    (tmp_path / "a.npz").write_bytes(b"")
    assert "not a sound .npz" in fault("a.npz:x", tmp_path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    assert "it holds nothing" in fault("a.npz:x", tmp_path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("x.npy", saved(array))
        archive.writestr("x.npy", saved(array))
    assert "'x.npy' 2 times" in fault("a.npz:x", tmp_path)


def test_encrypted_entry(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    place = raw.index(b"PK\1\2")
    raw[place + 8] |= 1
    (tmp_path / "a.npz").write_bytes(raw)
    assert "'x.npy' in it is encrypted" in fault("a.npz:x", tmp_path)


def test_a_zip_that_points_outside_of_itself(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    end = raw.index(b"PK\5\6")
    raw[end + 16 : end + 20] = b"\xff\xff\xff\x7f"  # Where the directory begins.
    (tmp_path / "a.npz").write_bytes(raw)
    assert "not a sound .npz: it points outside" in fault("a.npz:x", tmp_path)


def test_keys_cannot_break_a_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a\n\x1b[31m.npy", saved(np.ones(1)))
    for text in ("a.npz", "a.npz:b", "a.npz:a"):
        assert fault(text, tmp_path).isprintable()


def test_many_keys_are_cut_short(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"k{i}": np.ones(1) for i in range(30)})  # type: ignore[arg-type]
    assert fault("a.npz:zz", tmp_path).endswith("k18, k19, and 10 more")


# Pipes and devices.


def test_standard_input_of_a_process(tmp_path: Path) -> None:
    array = sample("float32", (300, 500))
    (tmp_path / "x.npy").write_bytes(saved(array))
    code = (
        "from cnncli.cases.files import StoredTensor\n"
        "from cnncli.cases.sources import StandardInput\n"
        "opened = StoredTensor(StandardInput(where='--x'))\n"
        "print(opened.stored.shape, float(opened.load().sum()))\n"
    )
    expected = f"(300, 500) {float(array.sum())}\n"
    piped = subprocess.run(
        [sys.executable, "-c", code], input=saved(array), stdout=subprocess.PIPE, check=True
    )
    assert piped.stdout.decode() == expected
    with (tmp_path / "x.npy").open("rb") as file:
        sent = subprocess.run(
            [sys.executable, "-c", code], stdin=file, stdout=subprocess.PIPE, check=True
        )
    assert sent.stdout.decode() == expected


def test_a_pipe_is_read_once() -> None:
    stream = io.BytesIO(npy((2,), data=bytes(16)))
    opened = StoredTensor(STDIN, stream)
    opened.load()
    with pytest.raises(TensorError, match=r"standard input: .*once only"):
        opened.load()
    with pytest.raises(TensorError, match="standard input: there is nothing in it"):
        StoredTensor(STDIN, stream)


def test_a_pipe_may_give_its_bytes_in_parts() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(3, size or 0))

        def readinto(self, buffer: Any, /) -> int:
            return super().readinto(memoryview(buffer)[:5])

    array = sample("int32")
    assert np.array_equal(loaded(StoredTensor(STDIN, Dribble(saved(array)))), array)


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(TensorError, match="standard input: it is closed"):
        StoredTensor(STDIN)


def test_a_terminal_is_not_waited_for() -> None:
    controller, terminal = os.openpty()
    with (
        os.fdopen(controller, "wb"),
        os.fdopen(terminal, "rb") as stream,
        pytest.raises(TensorError, match="this is a terminal"),
    ):
        StoredTensor(STDIN, stream)


@pytest.mark.parametrize("text", ["fifo", "fifo:float64:300x500"])
def test_named_pipe(text: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    array = sample("float64", (300, 500))
    raw = array.tobytes() if ":" in text else saved(array)

    def feed() -> None:
        (tmp_path / "fifo").write_bytes(raw)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert np.array_equal(read(text, tmp_path), array)
    feeder.join()


def test_a_pipe_is_let_go_when_it_is_not_loaded(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as feeder:
        feeder.write(npy((2,), data=bytes(16)))
    before = len(os.listdir("/dev/fd"))
    with StoredTensor(source_of(f"/dev/fd/{ours}", tmp_path)) as opened:
        assert opened.stored.shape == (2,)
        assert len(os.listdir("/dev/fd")) == before + 1
    assert len(os.listdir("/dev/fd")) == before
    os.close(ours)


def test_devices(tmp_path: Path) -> None:
    assert "not a .npy" in fault("/dev/zero", tmp_path)
    assert "nothing in it" in fault("/dev/null", tmp_path)
    assert "more data follows" in fault("/dev/zero:float32:2x3", tmp_path)
    assert "data ends after 0" in fault("/dev/null:bfloat16:2x3", tmp_path)
    for device in ("/dev/null", "/dev/zero"):
        assert "from a pipe or device" in fault({"npz": device, "key": "x"}, tmp_path)
        with pytest.raises(TensorError, match="from a pipe or device"):
            npz_keys(Path(device))
    os.mkfifo(tmp_path / "fifo.npz")  # Nobody writes to it.
    assert "from a pipe or device" in fault("fifo.npz:x", tmp_path)
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(tmp_path / "s"))
        assert "neither a file nor a pipe" in fault("s", tmp_path)


# Anything at all.


def survives(data: Data, folder: Path, standard_input: BinaryIO | None = None) -> None:
    """Load within 64 MB and let nothing but our own errors out."""
    source = STDIN if standard_input else source_of(data, folder)
    try:
        with StoredTensor(source, standard_input) as opened:
            if opened.stored.held_bytes < 1 << 26:
                loaded(opened)
    except TensorError as error:
        message = str(error)
    else:
        message = ""
    assert message.isprintable()


HEADERS = st.one_of(
    st.binary(max_size=60),
    st.fixed_dictionaries(
        {
            "descr": st.sampled_from(["<f4", ">i2", "|O", "?", "f8,f8", "V2", "<c8", "<U1", "3i4"])
            | st.text(max_size=5)
            | st.lists(st.tuples(st.text(max_size=2), st.sampled_from(["<f4", "|O"])), max_size=2),
            "fortran_order": st.booleans() | st.integers(),
            "shape": st.lists(st.integers(-2, 4) | st.integers() | st.booleans(), max_size=4).map(
                tuple
            )
            | st.integers(),
        }
    ).map(lambda header: repr(header).encode()),
)


@FUZZ
@given(
    header=HEADERS,
    data=st.binary(max_size=64),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0), (1, 1)]),
)
def test_fuzzed_headers(
    header: bytes, data: bytes, version: tuple[int, int], tmp_path: Path
) -> None:
    raw = with_header(header, data, version)
    (tmp_path / "x.npy").write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", raw)
    survives("x.npy", tmp_path)
    survives("a.npz:x", tmp_path)
    survives("-", tmp_path, io.BytesIO(raw))


def _originals() -> list[bytes]:
    found = [saved(sample("float32")), saved(np.asfortranarray(sample("bool")))]
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, x=sample("int16"), y=np.zeros(40))
        found.append(out.getvalue())
    return found


@FUZZ
@given(
    original=st.sampled_from(_originals()),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    cut=st.floats(0, 1.5),
    backwards=st.booleans(),
)
def test_mutated_files(
    original: bytes,
    changes: list[tuple[float, int]],
    cut: float,
    backwards: bool,
    tmp_path: Path,
) -> None:
    raw = bytearray(original)
    for place, value in changes:
        # Most of what decides stands in the first and the last hundreds of bytes.
        at = int(place**3 * (len(raw) - 1))
        raw[-1 - at if backwards else at] = value
    if cut < 1:
        raw = raw[: int(cut * len(raw))]
    (tmp_path / "x").write_bytes(raw)
    survives("x", tmp_path)
    survives({"npz": "x", "key": "x"}, tmp_path)
    survives({"npz": "x", "key": "y"}, tmp_path)
    survives("-", tmp_path, io.BytesIO(raw))


@FUZZ
@given(
    data=st.binary(max_size=200),
    front=st.sampled_from([b"", b"\x93NUMPY", b"PK\3\4", b"PK\5\6"]),
)
def test_random_bytes(data: bytes, front: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(front + data)
    survives("x", tmp_path)
    survives({"npz": "x", "key": "x"}, tmp_path)
    survives({"bin": "x", "dtype": "bfloat16", "shape": [5]}, tmp_path)
    survives("-", tmp_path, io.BytesIO(front + data))
