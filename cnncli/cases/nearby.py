"""What a path that is not there was meant to be."""

from __future__ import annotations

import os
from pathlib import Path

from cnncli.cases.node import nearest
from cnncli.cases.paths import is_folder

MOST = 2000
CUTOFF = 0.8
"""How near a name must be: files of one folder and one suffix are all somewhat alike."""


def near_path(written: str) -> str:
    """Return ` (did you mean X?)` for the entry of the same folder with the nearest name, or ``.

    Where the folder is missing too, the nearest of its parents' entries is what is offered.
    """
    path = Path(written)
    for missing in (path, *path.parents):
        folder = missing.parent
        if missing == folder or not is_folder(folder):
            continue
        try:
            names = [entry.name for entry, _ in zip(os.scandir(folder), range(MOST), strict=False)]
        except OSError:
            return ""
        hint = nearest(missing.name, names, CUTOFF)
        return (
            hint.replace("(did you mean ", f"(did you mean {folder}{os.sep}")
            if (hint and str(folder) != ".")
            else hint
        )
    return ""
