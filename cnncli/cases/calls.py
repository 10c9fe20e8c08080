"""How a case calls people's own functions: `call: {"dx, dw": "conv_backward(dy, cache)"}`.

The text is parsed, judged form by form, and never evaluated. What comes of it is plain data, which
another process can carry out without a name being looked up anywhere but in that data.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from cnncli.cases.node import Node, nearest
from cnncli.errors import ConfigError, GeometryError
from cnncli.layers.base import Layer, Plan
from cnncli.layers.parameters import parameters

Form: TypeAlias = tuple[Any, ...]
"""A kind and what goes with it, such as ("tensor", "x") or ("tuple", form, form)."""

MAX_TEXT = 2000
MAX_DEPTH = 20
IGNORED = "_"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One result of a call: a tensor that is judged, or a name for a later call."""

    name: str
    judged: bool
    padded: bool = False
    """The gradient of the padded x, all of it, as `pad(dx)` says."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: the function, its arguments as forms, and what its results are."""

    function: str
    targets: tuple[Target, ...]
    arguments: tuple[Form, ...]
    keywords: tuple[tuple[str, Form], ...]
    text: str
    where: str

    @property
    def judged(self) -> tuple[Target, ...]:
        """The results that are tensors of the case."""
        return tuple(target for target in self.targets if target.judged)

    def uses(self, kind: str, name: str | None = None) -> bool:
        """Tell whether a form of `kind`, and of that name, is among the arguments."""
        forms = [*self.arguments, *(form for _, form in self.keywords)]
        return any(_uses(form, kind, name) for form in forms)


def parse_calls(node: Node, layer: Layer) -> tuple[Call, ...]:
    """Return the calls that `call` writes, in order; raise ConfigError at the fault's place."""
    entries = node.mapping("call")
    if not entries:
        raise node.fail("call is an empty mapping, which calls nothing")
    calls: list[Call] = []
    known: set[str] = set()
    for written, value in entries.items():
        call = _parse_call(written, value, layer, known)
        for target in call.targets:
            if target.judged and any(target.name == t.name for c in calls for t in c.judged):
                raise ConfigError(f"{target.name} is the result of two calls", value.key_where)
        known.update(target.name for target in call.targets if target.name != IGNORED)
        calls.append(call)
    if not any(call.judged for call in calls):
        names = ", ".join((*layer.outputs, *layer.gradient_names))
        raise node.fail(f"no result of a call is a tensor of {layer.name}: one of {names}")
    return tuple(calls)


def _parse_call(written: str, value: Node, layer: Layer, known: set[str]) -> Call:
    text = value.string("a call")
    if len(text) > MAX_TEXT or len(written) > MAX_TEXT:
        raise value.fail(f"a call may have at most {MAX_TEXT} characters")
    targets = tuple(_target(part.strip(), value, layer) for part in written.split(","))
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise value.fail(f"not a call such as f(x, stride): {text}") from None
    if not isinstance(tree, ast.Call):
        raise value.fail(f"must be one call such as f(x, stride), not {text}")
    reader = _Reader(layer, known, value)
    keywords = []
    for keyword in tree.keywords:
        if keyword.arg is None:
            raise value.fail("a call takes no ** of anything")
        keywords.append((keyword.arg, reader.form(keyword.value, 0)))
    return Call(
        function=reader.function(tree.func),
        targets=targets,
        arguments=tuple(reader.form(argument, 0) for argument in tree.args),
        keywords=tuple(keywords),
        text=text,
        where=value.where,
    )


def _target(text: str, node: Node, layer: Layer) -> Target:
    padded = text.startswith("pad(") and text.endswith(")")
    name = text[4:-1].strip() if padded else text
    if not name.isidentifier() or name.startswith("__"):
        raise ConfigError(f"a result needs a name, not {text!r}", node.key_where)
    if name in layer.source_names:
        raise ConfigError(f"{name} is an input of {layer.name}, not a result", node.key_where)
    judged = name in (*layer.outputs, *layer.gradient_names)
    if padded and (name != "dx" or layer.name not in ("conv", "pool")):
        raise ConfigError("pad(...) is for dx of conv and pool", node.key_where)
    return Target(name=name, judged=judged, padded=padded)


class _Reader:
    """Expressions to forms; whatever is not one of the few allowed is refused."""

    def __init__(self, layer: Layer, known: set[str], node: Node) -> None:
        self.layer, self.known, self.node = layer, set(known), node
        self.parameters = {p.name: p.name for p in parameters(layer.Params)}
        self.shorts = {p.short: p.name for p in parameters(layer.Params) if p.short}
        self.tensors = (*layer.source_names, *layer.outputs)

    def function(self, tree: ast.expr) -> str:
        if isinstance(tree, ast.Attribute) and not tree.attr.startswith("_"):
            return f"{self.function(tree.value)}.{tree.attr}"
        if isinstance(tree, ast.Name) and not tree.id.startswith("__"):
            return tree.id
        raise self.node.fail(f"the function must be a name, not {ast.unparse(tree)}")

    def form(self, tree: ast.expr, depth: int) -> Form:
        if depth > MAX_DEPTH:
            raise self.node.fail(f"nested more than {MAX_DEPTH} deep")
        if isinstance(tree, ast.Constant):
            if isinstance(tree.value, bool | int | float | str) or tree.value is None:
                return ("literal", tree.value)
        elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            inner = self.form(tree.operand, depth + 1)
            if inner[0] == "literal" and isinstance(inner[1], int | float):
                return ("literal", -inner[1])
        elif isinstance(tree, ast.Name):
            return self.name(tree.id)
        elif isinstance(tree, ast.Tuple | ast.List):
            kind = "tuple" if isinstance(tree, ast.Tuple) else "list"
            return (kind, *(self.form(item, depth + 1) for item in tree.elts))
        elif isinstance(tree, ast.Dict):
            pairs = []
            for key, item in zip(tree.keys, tree.values, strict=True):
                if not isinstance(key, ast.Constant) or not isinstance(key.value, str | int):
                    raise self.node.fail("a dict's keys must be text or whole numbers")
                pairs.append((key.value, self.form(item, depth + 1)))
            return ("dict", *pairs)
        elif isinstance(tree, ast.Call):
            return self.padded(tree)
        raise self.node.fail(
            f"{ast.unparse(tree)} is not allowed here: give tensors, parameters, results of "
            "earlier calls, pad(x), literals, tuples, lists and dicts of these"
        )

    def name(self, name: str) -> Form:
        if name in self.known:
            return ("result", name)
        if name in self.tensors:
            return ("tensor", name)
        if name in self.parameters:
            return ("parameter", name)
        if name in self.shorts:
            return ("number", self.shorts[name])
        names = [*self.tensors, *self.parameters, *self.known]
        hint = nearest(name, names) or f"; known: {', '.join([*names, *self.shorts])}"
        raise self.node.fail(f"{name} is no tensor, parameter or earlier result{hint}")

    def padded(self, tree: ast.Call) -> Form:
        one = tree.args[0] if len(tree.args) == 1 and not tree.keywords else None
        is_pad = isinstance(tree.func, ast.Name) and tree.func.id == "pad"
        if not is_pad or not isinstance(one, ast.Name) or one.id != "x":
            raise self.node.fail(f"{ast.unparse(tree)} is not allowed: only pad(x) is called here")
        if self.layer.name not in ("conv", "pool"):
            raise self.node.fail(f"pad(x) is for conv and pool, not {self.layer.name}")
        return ("pad", "x")


def _uses(form: Form, kind: str, name: str | None) -> bool:
    if form[0] == kind and (name is None or form[1] == name):
        return True
    if form[0] in ("tuple", "list"):
        return any(_uses(item, kind, name) for item in form[1:])
    return form[0] == "dict" and any(_uses(item, kind, name) for _, item in form[1:])


def resolve_form(form: Form, plan: Plan, where: str) -> Form:
    """Return a form with its parameters put in; raise GeometryError where one has no such value.

    A parameter is a tuple, one number an axis (padding that differs before and after: pairs); its
    short name is one number, where the axes agree.
    """
    kind = form[0]
    if kind in ("tuple", "list"):
        return (kind, *(resolve_form(item, plan, where) for item in form[1:]))
    if kind == "dict":
        return (kind, *((key, resolve_form(item, plan, where)) for key, item in form[1:]))
    if kind == "tensor" and form[1] not in {*plan.inputs, *plan.outputs, "dy"}:
        raise GeometryError(f"call uses {form[1]}, which this case does not have", where)
    if kind not in ("parameter", "number"):
        return form
    name = form[1]
    if name not in plan.params:
        raise GeometryError(f"call uses {name}, which has no value here", where)
    value = _simplify(plan.params[name])
    if kind == "parameter":
        return _as_form(value)
    if isinstance(value, tuple):
        if len(set(value)) != 1 or isinstance(value[0], tuple):
            raise GeometryError(
                f"call wants {name} as one number, but the axes differ: {value}; "
                f"write {name} for all of them",
                where,
            )
        value = value[0]
    return ("literal", value)


def resolve_call(call: Call, plan: Plan) -> Call:
    """Return a call with its parameters put in; raise GeometryError where one has no such value."""
    return replace(
        call,
        arguments=tuple(resolve_form(form, plan, call.where) for form in call.arguments),
        keywords=tuple((n, resolve_form(form, plan, call.where)) for n, form in call.keywords),
    )


def _simplify(value: Any) -> Any:
    """Return a resolved parameter: pairs that are the same before and after as one number each."""
    if not isinstance(value, tuple | list):
        return value
    if all(isinstance(pair, tuple | list) and len(set(pair)) == 1 for pair in value):
        return tuple(pair[0] for pair in value)
    return tuple(tuple(item) if isinstance(item, list | tuple) else item for item in value)


def _as_form(value: Any) -> Form:
    if isinstance(value, tuple):
        return ("tuple", *(_as_form(item) for item in value))
    return ("literal", value)


def functions_of(calls: tuple[Call, ...]) -> str:
    """Return the functions whose results are judged, as a report's column names them."""
    return " + ".join(dict.fromkeys(call.function for call in calls if call.judged))


def needs_backward(calls: tuple[Call, ...], gradients: Mapping[str, Any] | tuple[str, ...]) -> bool:
    """Tell whether the calls take dy or give a gradient."""
    return any(
        call.uses("tensor", "dy") or any(target.name in gradients for target in call.judged)
        for call in calls
    )
