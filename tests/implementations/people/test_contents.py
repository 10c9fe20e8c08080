"""What people's code depends on: the file, and the local modules that its imports reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnncli.implementations.people.contents import code_key
from tests.cli.invoke import call

FILES = {
    "a.py": "import helper\nfrom package import part, name\nimport numpy as np\n",
    "helper.py": "def f():\n    import deep\n",
    "deep.py": "x = 1\n",
    "package/__init__.py": "from .inner import y\nname = 1\n",
    "package/part.py": "from ..package.far import z\nfrom . import beside\n",
    "package/inner.py": "y = 1\n",
    "package/far.py": "z = 1\n",
    "package/beside.py": "w = 1\n",
    "unused.py": "u = 1\n",
    "package/unused.py": "u = 1\n",
    "data.txt": "1",
}
USED = {
    *("a.py", "helper.py", "deep.py", "package/__init__.py", "package/part.py"),
    *("package/inner.py", "package/far.py", "package/beside.py"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_change_counts_where_imports_reach_it(name: str) -> None:
    """In functions, of packages, relative to them: as the syntax tree shows them."""
    before = code_key(Path("a.py"), siblings=True)
    alone = code_key(Path("a.py"), siblings=False)
    Path(name).write_text(FILES[name] + "# changed\n")
    assert (code_key(Path("a.py"), siblings=True) != before) == (name in USED)
    # Where other submissions lie beside it, nothing beside it can be imported.
    assert (code_key(Path("a.py"), siblings=False) != alone) == (name == "a.py")


def test_a_module_that_comes_or_goes_is_a_change() -> None:
    before = code_key(Path("a.py"), siblings=True)
    Path("deep.py").unlink()
    without = code_key(Path("a.py"), siblings=True)
    Path("numpy.py").write_text("")  # which would be imported in place of the library
    keys = {before, without, code_key(Path("a.py"), siblings=True)}
    assert len(keys) == 3


def test_modules_that_import_each_other_and_files_that_do_not_parse_are_followed_once() -> None:
    Path("deep.py").write_text("import helper\nimport a\n")
    Path("package/inner.py").write_text("def (:\n")
    first = code_key(Path("a.py"), siblings=True)
    Path("package/inner.py").write_text("def (:  # changed\n")
    assert code_key(Path("a.py"), siblings=True) != first


def test_the_place_of_a_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name, text in FILES.items():
        (tmp_path / "elsewhere" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / name).write_text(text)
    assert code_key(Path("elsewhere/a.py"), siblings=True) == code_key(Path("a.py"), siblings=True)


def test_the_cells_of_a_notebook_import_too() -> None:
    def notebook(text: str) -> None:
        cells = [{"cell_type": "code", "source": [text]}]
        Path("n.ipynb").write_text(json.dumps({"cells": cells}))

    notebook("import helper")
    before = code_key(Path("n.ipynb"), siblings=True)
    Path("deep.py").write_text("x = 2\n")
    assert code_key(Path("n.ipynb"), siblings=True) != before


PAD = "import numpy as np\ndef f(x, p):\n    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))\n"
CONFIG = """
layer: pad
params: {padding: 1}
tensors: {x: "normal:1x2x3x4"}
call: {y: "f(x, p)"}
against: subs
"""


def judged(*flags: str) -> dict[str, str]:
    """Return the status of every submission of the config's own folder, of a resumed run."""
    results = ("--results", "r.jsonl", "--resume", "--json")
    ended = call("run", "c.yaml", *results, *flags)
    theirs = [one for one in ended.results if "implementation" in one]  # not the case's own
    return {Path(one["implementation"]).name: one["status"] for one in theirs}


@pytest.mark.parametrize("flags", [(), ("--against", "subs")])
def test_a_submission_that_was_broken_is_judged_anew(flags: tuple[str, ...]) -> None:
    Path("c.yaml").write_text(CONFIG)
    Path("subs/b").mkdir(parents=True)
    for name in ("subs/a.py", "subs/d.py"):
        Path(name).write_text(PAD)
    assert judged(*flags) == {"a.py": "passed", "d.py": "passed"}
    Path("subs/a.py").write_text(PAD.replace("(p, p)", "(p, 0)"))
    assert judged(*flags) == {"a.py": "failed", "d.py": "passed"}
    Path("subs/d.py").write_text(PAD + "# a comment\n")
    assert judged(*flags) == {"a.py": "failed", "d.py": "passed"}
    assert len(Path("r.jsonl").read_text().splitlines()) == (2 if flags else 3)


@pytest.mark.parametrize("flags", [(), ("--against", "subs/a.py")])
def test_a_submission_whose_module_was_broken_is_judged_anew(flags: tuple[str, ...]) -> None:
    Path("c.yaml").write_text(CONFIG.replace("against: subs", "against: subs/a.py"))
    Path("subs").mkdir()
    Path("subs/a.py").write_text("def f(x, p):\n    from helper import f\n    return f(x, p)\n")
    Path("subs/helper.txt").write_text("")
    Path("subs/helper.py").write_text(PAD)
    if judged(*flags) != {"a.py": "passed"}:
        pytest.fail(Path("r.jsonl").read_text())
    Path("subs/helper.py").write_text(PAD.replace("(p, p)", "(p, 0)"))
    assert judged(*flags) == {"a.py": "failed"}
