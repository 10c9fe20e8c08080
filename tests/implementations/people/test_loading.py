"""What is taken from a file or a notebook, and what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.implementations.names import names_files
from cnncli.implementations.people.channel import GarbledError, pack, read_array, unpack
from cnncli.implementations.people.find import find_submissions
from cnncli.implementations.people.isolate import Limits
from cnncli.implementations.people.loading import Loaded, load
from cnncli.implementations.table import resolve


def load_text(tmp_path: Path, text: str, *, run_all: bool = False) -> Loaded:
    path = tmp_path / "a.py"
    path.write_text(text)
    return load(path, run_all=run_all)


def load_cells(tmp_path: Path, *cells: Any) -> Loaded:
    path = tmp_path / "a.ipynb"
    data = [{"cell_type": "code", "source": cell} for cell in cells]
    path.write_text(json.dumps({"cells": data}))
    return load(path, run_all=False)


def test_only_definitions_run(tmp_path: Path) -> None:
    text = """
import math
EPS, (A, B) = 1e-5, (1, [2, 3])
N = 2 * math.pi
square = lambda x: x * x
called = print("never")
items[0] = 3
def f(): return EPS
class C: pass
if __name__ == "__main__":
    raise SystemExit
try:
    import cupy_not_there as np
except ImportError:
    import numpy as np
for i in range(3): LOOPED = 1
raise ValueError("never")
"""
    loaded = load_text(tmp_path, text)
    names = {name for name in loaded.names if not name.startswith("__")}
    assert names == {"math", "EPS", "A", "B", "N", "square", "f", "C", "np"}
    assert loaded.names["np"].__name__ == "numpy"
    assert loaded.broken == []


@pytest.mark.parametrize(
    "value",
    [
        *('float("-inf")', "tuple([0, 2, 3])", "np.float64(1e-5)", "numpy.dtype('float32')"),
        *("-max(1, 2) / len((1, 2))", "dict(a=1)", "np.finfo(np.float32).eps", "slice(None, -1)"),
        *("list(range(3))", "round(2.5, ndigits=1)", "np.float32(np.pi)"),
    ],
)
def test_constants_that_only_make_a_value_are_carried_out(tmp_path: Path, value: str) -> None:
    loaded = load_text(tmp_path, f"import numpy as np, numpy\nA = {value}\n")
    assert "A" in loaded.names
    assert loaded.skipped == {}


@pytest.mark.parametrize(
    "value",
    [
        *("open('x')", "np.load('x')", "max([1], key=lambda x: exit())", "float(exit())"),
        *("str(open)(1)", "numpy.float64(exit())", "tuple(*[exit])", "dict(**exit())"),
        *("os.float64(1)", "np.random.int8(3)", "abs(f(3))", "int(x=input())"),
    ],
)
def test_a_call_that_could_do_more_is_not_and_its_name_is_kept(tmp_path: Path, value: str) -> None:
    text = f"import numpy as np, numpy, os\ndef f(x): return A\nA = {value}\n"
    loaded = load_text(tmp_path, text)
    assert "A" not in loaded.names
    assert loaded.skipped == {"A": f"line 3, A = {value}, was not carried out; --run-all does"}


def test_a_builtin_of_the_submission_s_own_is_no_builtin(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "def float(x): raise SystemExit\nA = float(3)\n")
    assert "A" not in loaded.names


def test_a_name_that_was_not_carried_out_is_told_where_it_is_missed(tmp_path: Path) -> None:
    text = """
if __name__ == "__main__": MAIN = 1
for i in range(3): LOOPED = i
with open("x") as stream: import json as j
TABLE = make_a_very_long_table_of_numbers(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
def f(x, n=LOOPED): return x
"""
    loaded = load_text(tmp_path, text)
    assert set(loaded.skipped) == {"i", "LOOPED", "stream", "j", "TABLE"}
    assert loaded.skipped["TABLE"] == "line 5, TABLE = ..., was not carried out; --run-all does"
    (broken,) = loaded.broken
    assert "name 'LOOPED' is not defined; line 3, for i in range(3):" in broken


@pytest.mark.parametrize("terms", [400, 2500])
def test_what_is_nested_deep_is_taken_as_python_takes_it(tmp_path: Path, terms: int) -> None:
    ones = " + ".join(["1"] * terms)
    branches = "".join(f"elif ZERO: B = {n}\n" for n in range(terms))
    text = f"""
ZERO = 0
A = {ones}
SKIPPED = {ones.replace("1", "f()")}
{ones.replace("1", "f()")}
if ZERO: B = 7
{branches}else: B = 1
if f(): C = 3
{branches.replace("B", "C")}
def f(): return A + {ones}
@f({ones})
def g(): return 7
"""
    loaded = load_text(tmp_path, text)
    assert loaded.broken == []
    assert (loaded.names["A"], loaded.names["B"]) == (terms, 1)
    assert loaded.names["f"]() == 2 * terms
    assert set(loaded.skipped) == {"SKIPPED", "C"}
    assert loaded.skipped["SKIPPED"] == "line 4, SKIPPED = ..., was not carried out; --run-all does"
    assert loaded.names["g"]() == 7


def test_a_notebook_in_which_some_things_are_null(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    cells = [
        {"cell_type": "code", "source": one} for one in (None, ["A = 1\n", None], "B='\ud800'")
    ]
    path.write_text(json.dumps({"cells": None, "worksheets": [{"cells": None}, {"cells": cells}]}))
    loaded = load(path, run_all=False)
    assert loaded.broken == []
    assert (loaded.names["A"], loaded.names["B"]) == (1, "?")


def test_the_last_definition_wins_and_it_is_said(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "def f(): return 1\ndef f(): return 2\n")
    assert loaded.names["f"]() == 2
    assert loaded.notes == ["f is defined twice (line 1 and line 2): the last is judged"]


def test_magics_and_shell_lines_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    loaded = load_cells(
        tmp_path,
        ["%matplotlib inline\n", "!pip install x\n", "A = 1\n"],
        "%%time\nB = (7\n% 4)\ndef f():\n    %timeit 3\n    return 5\nfiles = !ls\nf?",
        "%%bash\ndef g(): pass",
        '%cd x\nTEXT = """\n%not a magic\n"""',
        "def broken(:\n",
        "def after(): return 1",
    )
    assert loaded.names["A"] == 1
    assert loaded.names["B"] == 3
    assert loaded.names["f"]() == 5
    assert loaded.names["TEXT"] == "\n%not a magic\n"
    assert "g" not in loaded.names
    assert loaded.names["after"]() == 1
    assert len(loaded.broken) == 1
    assert "cell 5, line 1: def broken(:" in loaded.broken[0]


def test_imports_that_fail_become_stubs_that_complain_when_used(tmp_path: Path) -> None:
    text = """
import not_there.deep as nt
from also_missing import thing, other as o
from math import not_in_it
@nt.function(jit=True)
def f(x: nt.Tensor | None = nt.zero, y: "o" = None) -> nt.Tensor["f"]: return isinstance(x, nt.T)
class M(nt.nn.Module): pass
def g(): return thing(1)
"""
    loaded = load_text(tmp_path, text)
    assert loaded.names["f"](1) is False
    assert any("judged without @nt.function" in note for note in loaded.notes)
    with pytest.raises(ImportError, match=r"also_missing\.thing is used"):
        loaded.names["g"]()
    with pytest.raises(ImportError, match="not installed"):
        loaded.names["M"]()
    assert (
        len([n for n in loaded.notes if " cannot be imported: Mod" in n or "not_in_it" in n]) == 4
    )


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"cells": 3}', b"\xff\xfe", b"[" * 99999])
def test_a_file_that_is_no_notebook(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(raw)
    assert "is no notebook" in load(path, run_all=False).broken[0]


def test_finding(tmp_path: Path) -> None:
    for name in ("a/x.py", "a/y.py", "b/z.ipynb", "b/.ipynb_checkpoints/z.ipynb", "b/n.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    found = find_submissions(str(tmp_path), limits=Limits())
    assert [one.path.name for one in found] == ["x.py", "y.py", "z.ipynb"]
    assert [one.siblings for one in found] == [False, False, True]
    assert len(resolve(f"{tmp_path}/a/*.py")) == 2
    assert [one.by_call for one in resolve(f"{tmp_path}/b")] == [True]
    assert names_files("subs/")
    assert names_files("b", tmp_path)  # a folder beside the config that names it
    assert not names_files("b")
    assert not names_files("torch")


def test_a_library_s_name_means_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "class").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not names_files("torch")
    assert names_files("./torch")
    assert names_files("class")


def test_messages_are_judged_before_use() -> None:
    buffer = bytearray(pack({"a": 1}, b"xyz") + pack({})[:-1])
    assert unpack(buffer) == ({"a": 1}, b"xyz")
    assert unpack(buffer) is None
    with pytest.raises(GarbledError):
        unpack(bytearray(b"\xff" * 16))
    array = read_array({"dtype": "<f8", "shape": [2, 1], "at": 0}, np.arange(2.0).tobytes())
    assert array.tolist() == [[0.0], [1.0]]
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    assert read_array({"dtype": "<f8", "shape": [1] * most, "at": 0}, bytes(8)).ndim == most
    for about in (
        {"dtype": "<f8", "shape": [1] * (most + 1), "at": 0},
        {"dtype": "<f8", "shape": [0, 2**47, 2**47], "at": 0},
        {"dtype": "|O8", "shape": [1], "at": 0},
        {"dtype": "<f8", "shape": [3], "at": 0},
        {"dtype": "<f8", "shape": [-1], "at": 0},
        {"dtype": "<f8", "shape": [1], "at": 9},
        {"dtype": "<f8", "shape": [2**40, 2**40], "at": 0},
        3,
    ):
        with pytest.raises(GarbledError):
            read_array(about, b"0" * 16)
