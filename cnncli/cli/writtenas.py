"""`--as torch|keras|onnx`: the case written as a library's call, in place of running it."""

from __future__ import annotations

from typing import Any

from cnncli.cases.case import Case
from cnncli.cases.tensors import open_ingredients, plan_for
from cnncli.errors import CnncliError, UsageError

NOT_WITH = (
    *("json", "quiet", "values", "out", "save", "expect", "against", "call", "run_all"),
    *("rtol", "atol", "equal_nan", "tolerance", "show", "plane", "save_report", "explain"),
    *("save_config", "threads", "max_memory"),
)


def take_library(values: dict[str, Any]) -> str | None:
    """Take the flag out of a command's values; raise UsageError beside one that it leaves idle."""
    library = values.pop("as_library", None)
    if library is None:
        return None
    from cnncli.cases.flags import flag_name
    from cnncli.implementations.table import writer

    writer(library, "--as")
    for name in NOT_WITH:
        if values.get(name) not in (None, []):
            flag = flag_name(name)
            raise UsageError(f"--as prints a call and runs nothing, so {flag} has no use", "--as")
    return str(library)


def written_as(case: Case, library: str) -> str:
    """Return the case as Python that calls a library; raise CnncliError where it has no call."""
    from cnncli.implementations.base import CannotExpressError
    from cnncli.implementations.table import writer

    try:
        with open_ingredients(case) as ingredients:
            plan = plan_for(case, ingredients.shapes)
    except CnncliError as error:
        raise error.at(case.where) from None
    try:
        return writer(library)(plan)
    except CannotExpressError as reason:
        raise UsageError(f"this case has no call: {reason}", "--as") from None
