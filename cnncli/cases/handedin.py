"""Which tensors of a case a folder of arrays (`--expect DIR`) should hold and does not."""

from __future__ import annotations

from pathlib import Path

from cnncli.cases.case import Case
from cnncli.cases.paths import arrays_in, is_folder


def results_of(case: Case) -> list[str]:
    """Return the outputs and gradients that a case is about.

    Those that it expects something of, and the gradients that it checks; where it says neither, y
    and the gradients that it computes.
    """
    layer = case.layer
    there = [name for name in layer.gradient_names if name != "db" or "b" in case.sources]
    results = (*layer.outputs, *layer.gradient_names)
    checked: list[str] = []
    if case.gradcheck is not None:
        wrt = case.gradcheck.wrt
        checked = [name for name in there if wrt is None or name[1:] in wrt]
    about = [name for name in results if name in case.expect or name in checked]
    return about or [layer.outputs[0], *(there if case.wants_backward else ())]


def not_handed_in(case: Case, folder: str) -> list[str]:
    """Return which of the results that a case is about a folder lacks, where it holds any array.

    `case` is the case as it is without what the folder's arrays are expected to be.
    """
    held = arrays_in(Path(folder)) if is_folder(Path(folder)) else {}
    return [name for name in results_of(case) if name not in held] if held else []
