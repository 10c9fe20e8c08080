"""Who may import whom, read from the source; and what a call imports, read from a process."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import cnncli

PACKAGE = Path(cnncli.__file__).parent
ROOMS = (
    *("cli", "report", "runs", "checks", "implementations"),
    *("cases", "layers", "kernels", "errors", "floats", "numerals", "process"),
)
"""Each may import itself and what stands to its right."""

LEAVES = ("errors", "floats", "numerals", "process")
"""They import the standard library alone."""

PLAIN_ROOMS = ("runs", "checks", "implementations", *LEAVES)
"""Their imports stand at the top of each module, but for HIDDEN, and run in no circle."""

HIDDEN = {
    # The parent of a pool runs no case, and so needs neither NumPy nor what loads it.
    "runs/job.py": (
        *("cnncli.runs.one", "cnncli.runs.against", "cnncli.runs.exercise"),
        "cnncli.runs.submissions",
    ),
    "runs/batch.py": ("cnncli.runs.cluster",),
    "runs/files.py": ("numpy",),
    "runs/explaining.py": ("cnncli.layers.explain.table",),
    "runs/pool.py": ("numpy", "resource"),
    # Start-up: what judges takes as long to load as what computes, and libraries' ways again.
    "runs/one.py": (
        *("cnncli.runs.verdicts", "cnncli.runs.explaining", "cnncli.implementations.names"),
    ),
    "runs/verdicts.py": ("cnncli.runs.against",),
    # Start-up: the table of faults is for what failed.
    "checks/expect.py": ("cnncli.checks.diagnosis",),
    "checks/gradients.py": ("cnncli.checks.diagnosis",),
    # Not on every system.
    "runs/results.py": ("fcntl",),
    "implementations/people/guard.py": ("resource",),
    # Who asks for the number of cores needs no NumPy.
    "runs/blas.py": ("ctypes", "numpy", "numpy.linalg"),
}
"""What a module of the plain rooms imports in functions, and why; OPTIONAL packages aside."""

ONLY = {"yaml": {"cases"}, "rich": {"report"}, "typer": {"cli"}}
"""The rooms that alone may import a package."""

CORE = {"numpy", "typer", "rich", "yaml"}
OPTIONAL = {
    "torch": {"implementations/torch.py", "implementations/keras.py"},
    "keras": {"implementations/keras.py"},
    "tensorflow": {"implementations/keras.py"},
    "onnx": {"implementations/onnx.py"},
    "onnxruntime": {"implementations/onnx.py"},
    "dask": {"runs/cluster.py"},
    "distributed": {"runs/cluster.py"},
}
"""Packages that may be missing, and the modules of theirs, which alone import them.

In functions: such a module also writes calls and tells what is missing, which needs no package.
"""

CHOSEN = {("cnncli/implementations/keras.py", "backend"): ("tensorflow", "torch")}
"""What a module's name can be that is no constant: by file and expression."""


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Return every module that a file imports, in functions and for type checkers too."""
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], base]).rstrip(".")
            # `from cnncli.kernels import conv` imports a module, `from x import name` perhaps not.
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0]
            if isinstance(name, ast.Constant):
                names: tuple[str, ...] = (str(name.value),)
            else:
                text = ast.unparse(name)
                place = path.relative_to(PACKAGE.parent).as_posix()
                names = CHOSEN.get((place, text), (f"{text} (not a constant)",))
            found += [(node.lineno, chosen) for chosen in names]
    return found


def lines_in_functions(path: Path) -> set[int]:
    """Return the lines that run only when a function is called."""
    inside: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return inside


def sources() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append((parts[0], path))
    return found


def faults() -> list[str]:
    wrong = []
    for room, path in sources():
        for line, name in imports_of(path):
            top, place = name.split(".")[0], f"{path.relative_to(PACKAGE.parent)}:{line}: {name}"
            if top == "cnncli":
                wrong += _faults_within(room, name, place)
            elif top in ONLY and room not in ONLY[top]:
                wrong.append(f"{place}: only {ONLY[top]} may import {top}")
            elif top in OPTIONAL and path.relative_to(PACKAGE).as_posix() not in OPTIONAL[top]:
                wrong.append(f"{place}: only {sorted(OPTIONAL[top])} may import {top}")
            elif top in OPTIONAL and line not in lines_in_functions(path):
                wrong.append(f"{place}: optional, and so imported in a function")
            elif top not in sys.stdlib_module_names and top not in CORE | set(OPTIONAL):
                wrong.append(f"{place}: not a dependency")
            elif room == "kernels" and top not in sys.stdlib_module_names and top != "numpy":
                wrong.append(f"{place}: kernels import NumPy alone")
            elif room in LEAVES and top not in sys.stdlib_module_names:
                wrong.append(f"{place}: {room} import the standard library alone")
    return wrong


def _faults_within(room: str, name: str, place: str) -> list[str]:
    if room in ("__main__", "__init__"):
        return [] if room == "__main__" else [f"{place}: the package itself imports nothing"]
    other = room_of(name)
    if name == "cnncli.__version__":
        return []
    if other not in ROOMS:
        return [f"{place}: there is no room {other!r}"]
    if ROOMS.index(other) < ROOMS.index(room):
        return [f"{place}: {room} may not import {other}"]
    return []


def test_every_room_is_known() -> None:
    assert {room for room, _ in sources()} <= {*ROOMS, "__init__", "__main__"}
    assert len(sources()) > 40


def test_imports_run_one_way() -> None:
    assert faults() == []


def in_circles(paths: Sequence[Path]) -> list[str]:
    """Return the modules that import themselves, through others of these too."""
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths}
    imports = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): {
            module
            for _, name in imports_of(path)
            for module in (name, name.rpartition(".")[0])
            if module in names
        }
        for path in paths
    }
    # What imports nothing that is left, or is imported by nothing that is left, is in no circle.
    while True:
        imported = set().union(*imports.values())
        ends = {name for name, others in imports.items() if not others or name not in imported}
        if not ends:
            return sorted(imports)
        imports = {n: others - ends for n, others in imports.items() if n not in ends}


def modules_of(room: str) -> list[Path]:
    return [path for other, path in sources() if other == room]


@pytest.mark.parametrize("room", PLAIN_ROOMS)
def test_no_circles_and_nothing_hidden(room: str) -> None:
    assert in_circles(modules_of(room)) == []
    assert hidden_in(modules_of(room)) == []


def hidden_in(paths: Sequence[Path]) -> list[str]:
    """Return what is imported in functions and neither optional nor in HIDDEN."""
    found = []
    for path in paths:
        allowed = (*OPTIONAL, *HIDDEN.get(path.relative_to(PACKAGE).as_posix(), ()))
        for line, name in imports_of(path):
            is_allowed = any(name == one or name.startswith(f"{one}.") for one in allowed)
            if line in lines_in_functions(path) and not is_allowed:
                found.append(f"{path.relative_to(PACKAGE.parent)}:{line}: {name}")
    return found


def test_a_hidden_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "cnncli/runs/one.py").parent.mkdir(parents=True)
    path.write_text(
        "import numpy\n"
        "def f():\n    from cnncli.runs.verdicts import judge_case\n"
        "    import numpy\n    import torch\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "cnncli")
    assert hidden_in([path]) == ["cnncli/runs/one.py:4: numpy"]


def test_a_circle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cnncli/checks"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("from cnncli.checks import b\n")
    (folder / "b.py").write_text("def f():\n    from cnncli.checks.c import name\n")
    (folder / "c.py").write_text("if TYPE_CHECKING:\n    from cnncli.checks.b import name\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "cnncli")
    assert in_circles(modules_of("checks")) == ["cnncli.checks.b", "cnncli.checks.c"]


def test_reader_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cnncli"
    (package / "kernels").mkdir(parents=True)
    (package / "kernels" / "a.py").write_text(
        "import yaml\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import rich.table\n"
        "def f():\n    from cnncli.layers import base\n    from ..cases import node\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", package)
    assert sorted(fault.split(": ")[0] for fault in faults()) == [
        f"cnncli/kernels/a.py:{line}" for line in (1, 4, 6, 7)
    ]


def test_optional_packages_are_imported_where_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import torch\n"
        "def f(name):\n    import torch.nn\n    import scipy\n"
        "    import_module('onnx.helper')\n    import_module(name)\n"
    )
    wrong = {
        "implementations/torch.py": (1, 4, 5, 6),
        "implementations/onnx.py": (1, 3, 4, 6),
        "runs/a.py": (1, 3, 4, 5, 6),
    }
    for file in wrong:
        (tmp_path / "cnncli" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cnncli" / file).write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "cnncli")
    assert sorted(fault.split(": ")[0] for fault in faults()) == sorted(
        f"cnncli/{file}:{line}" for file, lines in wrong.items() for line in lines
    )


def test_core_dependencies_are_four() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    names = {dependency.split(">")[0].split("<")[0] for dependency in project["dependencies"]}
    assert names == {"numpy", "typer", "rich", "pyyaml"}


def imported_by(*args: str) -> set[str]:
    """Return the top-level modules that a call of the command has imported at its end."""
    script = (
        "import sys, json\n"
        "from cnncli.cli.app import main\n"
        f"status = main({list(args)!r})\n"
        "print(json.dumps([status, sorted({m.split('.')[0] for m in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize(
    "args",
    [("--help",), ("--version",), ("conv", "--help"), ("gradcheck", "bn", "-h"), ("run", "-h")],
)
def test_help_imports_little(args: tuple[str, ...]) -> None:
    assert not imported_by(*args) & {"numpy", "yaml", "rich", "torch"}


def test_a_run_imports_only_what_it_uses() -> None:
    args = ("pad", "--x", "normal:1x1x2x2", "-p", "1")
    assert not imported_by(*args, "--json") & {"yaml", "rich", "torch", "onnx"}
    assert not imported_by(*args) & {"yaml", "torch", "onnx"}
    run = ("run", str(PACKAGE.parent / "configs/homework-notebook.yaml"), "--match", "pool/")
    assert not imported_by(*run, "--json") & {"rich", "torch", "onnx", "numpy"}


def test_who_only_hands_cases_out_needs_no_numpy(tmp_path: Path) -> None:
    """Two cases run in a process of the pool; one with checks, since its verdict comes back."""
    case = '{layer: pad, params: {padding: 1}, tensors: {x: "ones:1x1x2x2"}, expect: {y: {sum: 4}}}'
    (path := tmp_path / "c.yaml").write_text(f"cases:\n  - {case}\n  - {case}\n")
    files = ("--results", str(tmp_path / "r.jsonl"), "--junit", str(tmp_path / "j.xml"))
    loaded = imported_by("run", str(path), "--quiet", "--against", "loops", *files)
    assert "numpy" not in loaded


@pytest.mark.parametrize("library", ["torch", "keras", "onnx"])
def test_writing_a_call_imports_no_library(library: str) -> None:
    args = ("pool", "--x", "normal:1x1x4x4", "-k", "2", "--as", library)
    assert not imported_by(*args) & set(OPTIONAL)
