"""The README's pictures show what the program shows today."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.refresh_pictures import PICTURES, draw, texts
from tests.refresh_readme import ROOT


@pytest.mark.parametrize("path", sorted(PICTURES))
def test_picture_is_fresh(path: str, tmp_path: Path) -> None:
    draw(PICTURES[path], path, tmp_path)
    assert texts(tmp_path / path) == texts(ROOT / path), "python -m tests.refresh_pictures"
    assert len(texts(ROOT / path)) > 20
