"""What of a case its calls do not pass on to people's functions, which then cannot know it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cnncli.cases.calls import Form
from cnncli.cases.case import Case
from cnncli.errors import CnncliError
from cnncli.layers.base import Plan, Request
from cnncli.layers.parameters import parameters

OUTPUT_ONLY = ("b", "gamma", "beta")
"""Inputs that y hangs on wherever they are given; a gradient can be right without them."""


def missing_parameters(case: Case, plan: Plan, *, words: bool) -> dict[str, str]:
    """Return the values, by name, of parameters not at their defaults that no call passes.

    A literal of that value may stand for one. Modes and switches count with `words` alone: what a
    function is for, such as average pooling, may be told by its name.
    """
    literals = {text for call in case.call for text in _literals((*call.arguments, *_named(call)))}
    pads = any(call.uses("pad") or any(t.padded for t in call.targets) for call in case.call)
    found = {}
    for declared in parameters(case.layer.Params):
        name, value = declared.name, plan.params.get(declared.name)
        if value is None or (isinstance(value, bool | str) and not words):
            continue
        if any(call.uses(kind, name) for call in case.call for kind in ("parameter", "number")):
            continue
        text = _text(value)
        is_told = text in literals or (name == "padding" and pads)
        if not is_told and not _is_default(case, plan, declared):
            found[name] = text
    return found


def missing_inputs(case: Case, plan: Plan, judged: set[str]) -> list[str]:
    """Return the inputs that `judged` tensors hang on and that no call passes."""
    needed = ["running_mean", "running_var"] if plan.params.get("training") is False else []
    if not judged.isdisjoint(plan.outputs):
        needed += [name for name in OUTPUT_ONLY if name in case.sources]
    there = [name for name in needed if name in plan.inputs]
    return [n for n in there if not any(call.uses("tensor", n) for call in case.call)]


def missing_text(parameters: dict[str, str], inputs: list[str]) -> str:
    """Say what the call does not pass; nothing where it passes all."""
    texts = [*inputs, *(f"{name}, which is {value}" for name, value in parameters.items())]
    return f"the call does not pass {'; nor '.join(texts)}" if texts else ""


def _is_default(case: Case, plan: Plan, declared: Any) -> bool:
    if declared.required:
        return False
    default = declared.default_for(case.settings.convention)
    request = Request(
        params=replace(case.params, **{declared.name: default}),
        given={},
        tensors={},
        shapes=dict(plan.inputs),
        convention=case.settings.convention,
    )
    try:
        usual = case.layer.plan(request).params.get(declared.name)
    except CnncliError:
        return False  # with the default the case would not even be possible
    return bool(usual == plan.params[declared.name])


def _named(call: Any) -> tuple[Form, ...]:
    return tuple(form for _, form in call.keywords)


def _literals(forms: tuple[Form, ...]) -> Iterator[str]:
    """Yield every literal among forms, and every tuple or list of them, as parameters are told."""
    for form in forms:
        if form[0] == "literal":
            yield _text(form[1])
        elif form[0] in ("tuple", "list"):
            yield from _literals(form[1:])
            if all(one[0] == "literal" for one in form[1:]):
                yield _text(tuple(one[1] for one in form[1:]))
        elif form[0] == "dict":
            yield from _literals(tuple(value for _, value in form[1:]))


def _text(value: Any) -> str:
    """Return a value as a flag takes it: `2`, `2,1`, `0:1,2:1`; once where all axes agree."""
    if not isinstance(value, tuple | list):
        return str(value)
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in value]
    texts = [":".join(str(n) for n in (pair if len(set(pair)) > 1 else pair[:1])) for pair in pairs]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)
