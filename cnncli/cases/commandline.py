"""A case as the command line that runs it: `cnncli conv --x normal:1x1x3x3 --stride 2 ...`.

The words come from what the layer and the settings declare, so that nothing that is declared can be
left out of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from cnncli.cases.case import Case, Settings
from cnncli.cases.flags import flag_name
from cnncli.cases.sources import Values
from cnncli.layers.parameters import Parameter, Switch, parameters, show


def command_line(case: Case, *more: str) -> str:
    """Return the command of a case, one line for a shell, with `more` words at its end.

    Written are its tensors, every parameter and setting that is not at its default, how close is
    close enough and how people's functions are called; not what it expects, nor its gradient check.
    Tensors are drawn in the order of the flags, which `rng: legacy` minds. Files are named as the
    case names them, and numbers that a config writes out have no flag.
    """
    words = ["cnncli", case.layer.name]
    for name in case.layer.source_names:
        if name in case.sources:
            assert not isinstance(case.sources[name], Values)
            words += [flag_name(name), case.sources[name].text]
    for declared in parameters(case.layer.Params):
        default = declared.default_for(case.settings.convention)
        words += _flag(declared, getattr(case.params, declared.name), default)
    for declared in parameters(Settings):
        words += _flag(declared, getattr(case.settings, declared.name), declared.default)
    words += _tolerance(case)
    for call in case.call:
        targets = ", ".join(f"pad({t.name})" if t.padded else t.name for t in call.targets)
        words += ["--call", f"{targets}={call.text}"]
    return shlex.join([*words, *more])


def _flag(declared: Parameter, value: Any, default: Any) -> list[str]:
    """Return the words that give a value, none where it is the default."""
    if value is None or (value == default and not declared.required):
        return []
    if isinstance(declared.kind, Switch):
        negative = declared.kind.negative or f"--no-{declared.flag[2:]}"
        return [declared.flag if value else negative]
    text = show(value)
    return [f"{declared.flag}={text}"] if text.startswith("-") else [declared.flag, text]


def _tolerance(case: Case) -> Iterator[str]:
    given = case.tolerance
    for name in ("rtol", "atol"):
        if getattr(given, name) is not None:
            yield from (flag_name(name), repr(getattr(given, name)))
    if given.equal_nan is not None:
        yield "--equal-nan" if given.equal_nan else "--no-equal-nan"
    if given.derived:
        yield from ("--tolerance", "derived")
