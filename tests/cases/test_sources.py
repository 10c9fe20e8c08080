from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.cases.node import Data, from_data
from cnncli.cases.sources import (
    KINDS,
    NpyFile,
    NpzEntry,
    Random,
    RawFile,
    Source,
    StandardInput,
    Values,
    kind_hint,
    parse_source,
    refuse_shared_standard_input,
)
from cnncli.cases.yamltext import read_yaml
from cnncli.errors import CnncliError, TensorError

HERE = "c.yaml:3:5"


def parse(data: Data, folder: Path | None = None) -> Source:
    source = parse_source(from_data(data, HERE), "x", folder)
    assert source is not None
    return source


def parse_yaml(text: str) -> Source:
    source = parse_source(read_yaml(text, "c.yaml"), "x", None)
    assert source is not None
    return source


def random(kind: str, shape: tuple[int, ...] | None, **options: float) -> Random:
    return Random(where=HERE, kind=kind, shape=shape, options=tuple(sorted(options.items())))


def test_none_takes_a_tensor_away() -> None:
    assert parse_source(from_data("none", HERE), "b", None) is None
    assert parse_source(from_data(None, HERE), "b", None) is None


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("normal:2x3x8x8", random("normal", (2, 3, 8, 8))),
        ("normal:2x3x4x5,scale=4,loc=10", random("normal", (2, 3, 4, 5), loc=10, scale=4)),
        ("normal", random("normal", None)),
        ("normal,scale=1e-3", random("normal", None, scale=1e-3)),
        ("uniform:5,low=-1,high=.5", random("uniform", (5,), low=-1, high=0.5)),
        ("integers:5x1,low=-1,high=-1", random("integers", (5, 1), low=-1, high=-1)),
        *((f"{kind}:7x2", random(kind, (7, 2))) for kind in KINDS),
        ("-", StandardInput(where=HERE)),
        ("b.npz:im", NpzEntry(where=HERE, path=Path("b.npz"), written="b.npz", key="im")),
        ("b.NPZ:a:b", NpzEntry(where=HERE, path=Path("b.NPZ"), written="b.NPZ", key="a:b")),
        ("b.npz", NpzEntry(where=HERE, path=Path("b.npz"), written="b.npz", key=None)),
        ("./normal", NpyFile(where=HERE, path=Path("normal"), written="./normal")),
        ("normal.npy", NpyFile(where=HERE, path=Path("normal.npy"), written="normal.npy")),
        ("norml:2x3", NpyFile(where=HERE, path=Path("norml:2x3"), written="norml:2x3")),
        ("a,b=1.npy", NpyFile(where=HERE, path=Path("a,b=1.npy"), written="a,b=1.npy")),
        *(
            (
                f"C:/d.bin:{dtype}:2x64",
                RawFile(
                    where=HERE,
                    path=Path("C:/d.bin"),
                    written="C:/d.bin",
                    dtype=dtype,
                    shape=(2, 64),
                ),
            )
            for dtype in ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32")
        ),
    ],
)
def test_text(text: str, source: Source) -> None:
    assert parse(text) == source
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize(
    "text",
    [
        "normal:2x3x8x8,loc=10,scale=4",
        "normal:2x3,loc=0.1,scale=1e-05",
        "uniform:2x3,high=3,low=-1",
        "integers",
        "zeros:2x3,zero_extend=2x4",
        "b.npz:images",
        "../d.bin:bfloat16:2x3",
        "./x/../y.npy",
        "-",
    ],
)
def test_text_is_shown_as_written_and_reads_back(text: str) -> None:
    assert parse(text).text == text
    assert parse(parse(text).text) == parse(text)


@pytest.mark.parametrize(
    ("mapping", "shown"),
    [
        ({"npy": "../x.npy"}, "../x.npy"),
        ({"npy": "-"}, "-"),
        ({"npy": "x.npz"}, "x.npz"),
        ({"npy": "x.npy", "zero_extend": [2, 3]}, "x.npy,zero_extend=2x3"),
        ({"npz": "batch", "key": "images"}, "batch:images"),
        ({"bin": "d.raw", "dtype": "bfloat16", "shape": [2, 3]}, "d.raw:bfloat16:2x3"),
        ({"bin": "d", "dtype": "int8", "shape": "2x3"}, "d:int8:2x3"),
        ({"random": "normal"}, "normal"),
        (
            {"random": "normal", "shape": [2, 3, 8, 8], "scale": 4, "loc": 10},
            "normal:2x3x8x8,loc=10,scale=4",
        ),
        (
            {"random": "ones", "shape": [2, 7], "zero_extend": [2, 9]},
            "ones:2x7,zero_extend=2x9",
        ),
        ({"values": [[1, 2], [3, 4]], "zero_extend": "3x2"}, "values,zero_extend=3x2"),
    ],
)
def test_mapping(mapping: Data, shown: str) -> None:
    assert parse(mapping).text == shown


def test_paths_are_relative_to_the_folder(tmp_path: Path) -> None:
    forms: list[Data] = ["x.npy", {"npy": "x.npy"}]
    for data in forms:
        source = parse(data, tmp_path)
        assert isinstance(source, NpyFile)
        assert source.path == tmp_path / "x.npy"
        assert source.text == "x.npy"
    forms = ["b.npz:k", {"npz": "b.npz", "key": "k"}]
    for data in forms:
        source = parse(data, tmp_path)
        assert isinstance(source, NpzEntry)
        assert source.path == tmp_path / "b.npz"
    forms = ["d.bin:int8:2", {"bin": "d.bin", "dtype": "int8", "shape": [2]}]
    for data in forms:
        source = parse(data, tmp_path)
        assert isinstance(source, RawFile)
        assert source.path == tmp_path / "d.bin"
    absolute = parse("/a/x.npy", tmp_path)
    assert isinstance(absolute, NpyFile)
    assert absolute.path == Path("/a/x.npy")
    assert parse("-", tmp_path) == StandardInput(where=HERE)


@pytest.mark.parametrize(
    ("values", "numbers", "shape", "dtype"),
    [
        ([[1, 2], [3, 4]], (1, 2, 3, 4), (2, 2), "int64"),
        ([[1], [2.0]], (1.0, 2.0), (2, 1), "float64"),
        ([[[1]], [[2]]], (1, 2), (2, 1, 1), "int64"),
        (5, (5,), (), "int64"),
        ([2**62, 0.5], (2.0**62, 0.5), (2,), "float64"),
        (["Infinity", "-Infinity"], (float("inf"), float("-inf")), (2,), "float64"),
        ([-(2**63), 2**63 - 1], (-(2**63), 2**63 - 1), (2,), "int64"),
    ],
)
def test_values(
    values: Data, numbers: tuple[float, ...], shape: tuple[int, ...], dtype: str
) -> None:
    source = parse({"values": values})
    assert isinstance(source, Values)
    assert (source.numbers, source.shape, source.dtype) == (numbers, shape, dtype)
    assert {type(number) for number in source.numbers} == {int if dtype == "int64" else float}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("values: [[1, 2], [3]]", "1:18", "has 1 items, the one before it 2"),
        ("values: [[1], [2, 3]]", "1:15", "has 2 items, the one before it 1"),
        ("values: [[1, 2], 3]", "1:18", "3 where a list of 2 stands"),
        ("values: [1, [2]]", "1:13", "a list where a number stands"),
        ("values: [[[1], [2]], [[1], 2]]", "1:28", "2 where a list of 1 stands"),
        ("values: [1, two]", "1:13", "numbers, not 'two'"),
        ("values: [1, true]", "1:13", "numbers, not true"),
        ("values: [1, ~]", "1:13", "numbers, not nothing"),
        ("values: [1, {a: 1}]", "1:13", "numbers, not a mapping"),
        ("values: []", "1:9", "empty"),
        ("values: [[1], []]", "1:15", "empty"),
        ("values: [1, 9223372036854775808]", "1:13", "does not fit int64"),
        (f"values: [1.5, 1{'0' * 310}]", "1:15", "does not fit float64"),
        ("values: " + "[" * 33 + "1" + "]" * 33, "1:41", "at most 32 deep"),
        ("{values: [1], zero_extend: [2, 2]}", "1:1", "zero_extend 2x2"),
        ("{values: [1, 2], zero_extend: [1]}", "1:1", "zero_extend 1 must"),
        ("{npy: a, npz: b}", "1:15", "npy or npz, not both"),
        ("{npy: a, kye: b}", "1:10", "unknown key 'kye'"),
        ("{npz: a, kye: b}", "1:10", "did you mean key?"),
        ("{rnadom: ones}", "1:2", "did you mean random?"),
        ("{shape: [2]}", "1:2", "unknown key 'shape'"),
        ("{zero_extend: [2]}", "1:1", "one of the keys npy"),
        ("{}", "1:1", "one of the keys npy"),
        ("{npy: 5}", "1:7", "npy must be text"),
        ("{npy: ''}", "1:1", "not a path"),
        ("{npz: '-', key: a}", "1:7", "standard input"),
        ("{bin: a, shape: [2]}", "1:1", "bin needs dtype"),
        ("{bin: a, dtype: int8}", "1:1", "bin needs shape"),
        ("{bin: a, dtype: int64, shape: [2]}", "1:17", "dtype must be one of float16"),
        ("{random: norml}", "1:10", "one of normal, uniform"),
        ("{random: normal, low: 1}", "1:18", "unknown key 'low'"),
        ("{random: normal, loc: a}", "1:23", "loc must be a number"),
        ("{random: normal, loc: .inf}", "1:1", "finite"),
        ("{random: ones, shape: [2, 0]}", "1:23", "2x0 has 0"),
        ("{random: ones, shape: [2, -1]}", "1:23", "has -1"),
        ("{random: ones, shape: [2, 1.5]}", "1:27", "whole number"),
        ("{random: ones, shape: [2, true]}", "1:27", "whole number"),
        ("{random: ones, shape: 0x3}", "1:23", "0x3 has 0"),
        ("{random: ones, shape: []}", "1:23", "empty"),
        ("{random: ones, zero_extend: [2]}", "1:1", "needs the shape"),
        ("[1, 2]", "1:1", "{values: [[1, 2], [3, 4]]}"),
        ("7", "1:1", "not 7"),
        ("true", "1:1", "not true"),
    ],
)
def test_bad_yaml_names_the_place(text: str, place: str, message: str) -> None:
    with pytest.raises(CnncliError) as caught:
        parse_yaml(text)
    assert str(caught.value).startswith(f"c.yaml:{place}: tensor x: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("normal:", "'' is not a shape"),
        ("normal:2,3", "between them: 2x3"),
        ("normal:2,3,loc=1", "'3' is not an option, which is name=value; sizes have an x"),
        ("normal:2X3", "between them: 2x3"),
        ("normal:(2, 3)", "between them: 2x3"),
        ("normal:2x", "is not a shape"),
        ("normal:2x-3", "is not a shape"),
        ("normal:+2x3", "is not a shape"),
        ("normal:2_0x3", "is not a shape"),
        ("normal:٣x3", "is not a shape"),
        ("normal:2x3\n", "is not a shape"),
        ("normal:2x0", "2x0 has 0"),
        ("normal:00", "has 0"),
        ("normal:" + "9" * 31, "is not a shape"),
        ("normal:4294967296x4294967296", "more numbers than any memory"),
        ("normal:1152921504606846976x2", "more numbers than any memory"),
        ("normal:" + "x".join("1" * 33), "at most 32 axes, but this one has 33"),
        ("normal:images", "'images' is not a shape"),
        ("ones:2x3,loc=1", "ones has no option 'loc'; it takes no options"),
        ("normal:2x3,lco=1", "did you mean loc?"),
        ("uniform:2,loc=1", "it takes low and high"),
        ("normal:2,loc=1,loc=1", "loc is given twice"),
        ("normal:2,loc=", "loc must be a number, not ''"),
        ("normal:2,loc=nan", "loc must be a number"),
        ("normal:2,loc=1_0", "loc must be a number"),
        ("normal:2,loc=1e999", "finite"),
        ("normal:2,", "is not a shape"),
        ("normal:2x3,", "'' is not an option"),
        ("normal:2,scale=-1", "scale must be at least 0, but is -1"),
        ("normal:2,scale=1e307", "overflow"),
        ("uniform:2,low=1", "low is 1 and high is 1"),
        ("uniform:2,low=-1e308,high=1e308", "too far apart"),
        ("integers:2,low=5", "low is 5 and high is 4"),
        ("integers:2,low=0.5", "whole"),
        ("integers:2,high=1e17", "at most 2**53"),
        ("ones:2x3,zero_extend=3", "must have the axes"),
        ("ones:2x3,zero_extend=2x2", "nowhere smaller"),
        ("b.npz:", "names no array"),
        ("d.bin", "d.bin:float32:2x3x8x8"),
        ("d.bin:float16", "d.bin:float16:2x3x8x8"),
        ("d.bin:flaot16:2x3", "did you mean float16?"),
        ("d.bin:int64:2x3", "'int64' is not a type of raw numbers"),
        ("d.bin:float16:2,3", "between them: 2x3"),
        ("-:float16:2", "standard input"),
        ("a\0b", "not a path"),
        ("\ud800", "not a path"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(TensorError) as caught:
        parse_source(from_data(text, "--x"), "x", None)
    assert str(caught.value).startswith("--x: ")
    assert "tensor x" not in str(caught.value)  # which the flag has said
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("norml:2x3", " (did you mean normal:2x3?)"),
        ("Normal:2x3,loc=1", " (did you mean normal:2x3,loc=1?)"),
        ("randn:2x3", " (did you mean normal:2x3?)"),
        ("unifrom", " (did you mean uniform?)"),
        ("None", " (did you mean none?)"),
        ("2x3x8x8", " (a shape needs a kind before it: normal:2x3x8x8)"),
        ("bogus:2x3", " (the kinds are normal,"),
        ("x.npy", ""),
        ("samples/normal", ""),
        ("bogus", ""),
    ],
)
def test_a_misspelt_kind_is_recognised(written: str, hint: str) -> None:
    assert kind_hint(written).startswith(hint)
    assert bool(kind_hint(written)) == bool(hint)


def test_two_tensors_cannot_share_standard_input() -> None:
    first, other = StandardInput(where="--x"), StandardInput(where="--w")
    refuse_shared_standard_input({"x": first, "b": None, "w": parse("ones")})
    with pytest.raises(TensorError, match=r"^--w: .*x and w are both"):
        refuse_shared_standard_input({"x": first, "b": None, "w": other})


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.from_regex(
        r"(normal|ones|integers|uniform|d\.bin|b\.npz|-|none)?[:,]?[0-9x:,=.eE+-]{0,12}"
        r"(,?(loc|low|zero_extend)=[0-9x.e-]{0,6})?",
        fullmatch=True,
    ),
)
KEYS = ["npy", "npz", "key", "bin", "dtype", "random", "shape", "values", "loc", "low"]
KEYS += ["zero_extend", "other"]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner | st.sampled_from(["normal", "float16", [2, 3]]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(PLAIN)
def test_anything_is_a_source_or_one_error(data: Data) -> None:
    fault: CnncliError | None = None
    source: Source | None = None
    try:
        source = parse_source(from_data(data, HERE), "x", Path("folder"))
    except CnncliError as error:
        fault = error
    if fault is not None:
        assert fault.where == HERE
        assert fault.message.startswith("tensor x: ")
    elif source is not None:
        assert source.text
        assert source.where == HERE


def test_parsing_imports_no_numpy() -> None:
    code = (
        "import sys, cnncli.cases.sources as s, cnncli.cases.files, cnncli.cases.draws\n"
        "from cnncli.cases.node import Node\n"
        "s.parse_source(Node('normal:2x3', ''), 'x', None)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
