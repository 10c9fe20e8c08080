"""Make the README's pictures anew: `python -m tests.refresh_pictures`.

Each is what a terminal shows for a command, kept by its own --save-report.
"""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.refresh_readme import ROOT, environment

PICTURES = {
    "samples/pictures/conv.svg": (
        "conv --x samples/image.npy --w samples/filters.npz:edges --padding same --show"
    ),
    "samples/pictures/gradcheck.svg": (
        "gradcheck conv --tensors samples/conv --stride 2,1 --wrt x "
        "--expect dx=samples/conv-student/dx.npy --show"
    ),
    "samples/pictures/explain.svg": (
        "conv --x integers:1x2x5x6 --w integers:3x2x3x2 --b integers --padding 1 "
        "--explain 0,1,0,2 --no-values"
    ),
    "samples/pictures/compare.svg": (
        "compare samples/conv-student/dx.npy samples/conv-golden/dx.npy --show"
    ),
}
"""Where each picture lies, and the command that draws it."""

_TEXT = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)


def draw(command: str, path: str, folder: Path) -> None:
    """Run a command in the README's folder, its picture going to `folder`."""
    arguments = [*shlex.split(command), "--save-report", path]
    # The picture tells its own call, so it must be made with the path that it will have.
    code = (
        "import sys; "
        f"from cnncli.cli.app import main; sys.argv = ['cnncli', *{arguments!r}]; "
        f"sys.exit(main({[*arguments[:-1], str(folder / path)]!r}))"
    )
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"cnncli {command}: {done.stderr.decode()}")


def texts(path: Path) -> list[str]:
    """Return all that can be read in a picture, in order."""
    return [html.unescape(text) for text in _TEXT.findall(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for path, command in PICTURES.items():
        draw(command, path, ROOT)
        print(path)
