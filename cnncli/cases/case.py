"""A case: a layer, its parameters, where its tensors come from, and the checks to make.

Whatever wrote it (a config file, flags, both) is one tree of nodes by the time it comes here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeVar

from cnncli.cases.against import Against, parse_against
from cnncli.cases.assertions import Assertion, Tolerance, parse_expectations
from cnncli.cases.calls import Call, needs_backward, parse_calls
from cnncli.cases.layout import LAYOUTS
from cnncli.cases.node import Node, refuse_unknown
from cnncli.cases.sources import Source, parse_source
from cnncli.errors import CnncliError, ConfigError
from cnncli.layers.base import Layer
from cnncli.layers.parameters import CONVENTIONS, Choice, Kind, Real, Switch, Whole, parameters
from cnncli.layers.parameters import parameter as p
from cnncli.layers.table import LAYERS
from cnncli.numerals import whole_of

T = TypeVar("T")


@dataclass(frozen=True)
class Names(Kind):
    """Some of the tensors' names: `x,w`."""

    metavar: str = "NAME[,NAME...]"

    def parse(self, data: object) -> tuple[str, ...]:
        """Return the names, each once."""
        items = data.split(",") if isinstance(data, str) else data
        if not isinstance(items, list) or not all(isinstance(i, str) and i for i in items):
            raise ConfigError(f"must be names such as x,w, not {data!r}")
        return tuple(dict.fromkeys(item.strip() for item in items))

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the value."""
        names = {"type": "array", "items": {"type": "string"}}
        return {"anyOf": [{"type": "string"}, names]}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a case is computed, whatever its layer; each is a key of a case and a flag."""

    seed: int = p(Whole(minimum=0, maximum=2**63 - 1), "Seed of the random tensors.", default=0)
    rng: str = p(
        Choice(choices=("pcg64", "legacy")),
        "Generator: a stream a tensor, or np.random.seed's one stream.",
        default="pcg64",
    )
    dtype: str | None = p(
        Choice(choices=("float64", "float32")),
        "Precision of the computation.",
        default=None,
        shown_default="float64; max pooling and pad keep x's own",
    )
    convention: str = p(
        Choice(choices=CONVENTIONS),
        "Whose defaults and meanings hold where libraries differ; layer commands and gradcheck "
        "take several, torch,onnx,keras, and show them side by side.",
        default="torch",
    )
    layout: str = p(
        Choice(choices=LAYOUTS),
        "Order of the axes of what is read, shown and written; nhwc: x (N, H, W, C), "
        "w (KH, KW, C/groups, F).",
        default="nchw",
    )
    backward: bool | None = p(
        Switch(),
        "Compute the gradients too.",
        default=None,
        shown_default="where dy is given or a gradient is expected",
    )


@dataclass(frozen=True, kw_only=True)
class GradcheckOptions:
    """How gradients are checked; each is a key of `gradcheck` and a flag."""

    method: str = p(
        Choice(choices=("auto", "central", "complex-step")),
        "How to differentiate; auto: the most accurate one for the layer.",
        default="auto",
    )
    step: float | None = p(
        Real(), "Step of the differences.", default=None, shown_default="chosen by the layer"
    )
    wrt: tuple[str, ...] | None = p(
        Names(), "Inputs to check.", default=None, shown_default="all that have a gradient"
    )
    elements: int | None = p(
        Whole(), "Check K random elements a tensor.", default=None, shown_default="all"
    )
    rtol: float | None = p(
        Real(minimum=0.0, maximum=sys.float_info.max),
        "Relative tolerance.",
        default=None,
        shown_default="1e-6; float32: 1e-3",
    )
    atol: float | None = p(
        Real(minimum=0.0, maximum=sys.float_info.max),
        "Absolute tolerance.",
        default=None,
        shown_default="1e-3*rtol*max|numeric|",
    )
    structure: bool = p(
        Switch(),
        "Move elements together that share no output, and verify that; --no-structure: one by one.",
        default=True,
    )
    allow_vacuous: bool = p(Switch(), "Let a check that could not have failed pass.", default=False)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case, typed and judged but for its shapes."""

    name: str
    file: str | None
    where: str
    layer: Layer
    params: Any
    given: dict[str, str]
    """Where each parameter that the user wrote stands."""
    sources: dict[str, Source]
    """What each tensor that the user gave is, in the order written."""
    settings: Settings
    expect: dict[str, list[Assertion]] = field(default_factory=dict)
    gradcheck: GradcheckOptions | None = None
    against: tuple[Against, ...] = ()
    tolerance: Tolerance = Tolerance()
    """What the command line gives for every comparison."""
    call: tuple[Call, ...] = ()
    """How people's own functions are called on it."""
    points: float = 1.0
    """What it weighs in a report on people's functions."""
    reproduce: str = ""

    @property
    def expected_sources(self) -> list[Source]:
        """What the assertions compare with, where that is a tensor."""
        every = [one for assertions in self.expect.values() for one in assertions]
        return [one.source for one in every if one.source is not None]

    @property
    def wants_backward(self) -> bool:
        """Tell whether gradients are to be computed."""
        if self.settings.backward is not None:
            return self.settings.backward
        gradients = set(self.layer.gradient_names)
        expects = not gradients.isdisjoint(self.expect)
        called = needs_backward(self.call, self.layer.gradient_names)
        return "dy" in self.sources or expects or self.gradcheck is not None or called


SETTING_KEYS = tuple(f.name for f in fields(Settings))
CASE_KEYS = ("name", "layer", "params", "tensors", *SETTING_KEYS, "expect", "gradcheck", "against")
CASE_KEYS += ("call", "points")
MERGED_KEYS = ("params", "tensors", "expect")


def build_case(
    entries: Mapping[str, Node],
    *,
    name: str,
    file: str | None,
    where: str,
    reproduce: str,
    overrides: Tolerance | None = None,
) -> Case:
    """Return the case that a mapping of nodes describes; raise CnncliError at any fault's place.

    `overrides` is a tolerance given on the command line, which wins over that of any assertion.
    """
    refuse_unknown(entries, CASE_KEYS, "a case")
    layer = read_layer(entries, where)
    settings = read_declared(Settings, entries, SETTING_KEYS)
    params, given = _read_params(entries, layer, where, settings.convention)
    expect = _read_expect(entries, layer, overrides or Tolerance())
    case = Case(
        name=name,
        file=file,
        where=where,
        layer=layer,
        params=params,
        given=given,
        sources=_read_tensors(entries, layer),
        settings=settings,
        expect=expect,
        gradcheck=_read_gradcheck(entries, layer),
        against=parse_against(entries["against"]) if "against" in entries else (),
        tolerance=overrides or Tolerance(),
        call=parse_calls(entries["call"], layer) if "call" in entries else (),
        points=_read_points(entries),
        reproduce=reproduce,
    )
    if not case.wants_backward:
        _refuse_without_backward(case, entries)
    return case


def _read_points(entries: Mapping[str, Node]) -> float:
    if "points" not in entries:
        return 1.0
    return entries["points"].number("points", 0.0, finite=True)


def read_layer(entries: Mapping[str, Node], where: str) -> Layer:
    """Return the layer that `layer` names; raise ConfigError."""
    if "layer" not in entries:
        raise ConfigError(f"a case needs a layer: one of {', '.join(LAYERS)}", where)
    return LAYERS[entries["layer"].choice("layer", LAYERS)]


def read_declared(
    declaration: type[T], entries: Mapping[str, Node], names: tuple[str, ...] | None = None
) -> T:
    """Return a declaration's dataclass from the entries that it knows; raise ConfigError."""
    values = {}
    for declared in parameters(declaration):
        if declared.name in entries and (names is None or declared.name in names):
            values[declared.name] = parse_value(
                declared.kind, entries[declared.name], declared.name
            )
    return declaration(**values)


def parse_value(kind: Kind, node: Node, name: str) -> Any:
    """Return the value a node gives a parameter; raise ConfigError at the node's place."""
    try:
        return kind.parse(node.data())
    except CnncliError as error:
        error.message = f"{name} {error.message}"
        raise error.at(node.where) from None


def _read_params(
    entries: Mapping[str, Node], layer: Layer, where: str, convention: str
) -> tuple[Any, dict[str, str]]:
    written = entries["params"].mapping("params") if "params" in entries else {}
    declared = parameters(layer.Params)
    _refuse_split_values(written)
    refuse_unknown(written, [param.name for param in declared], f"the params of {layer.name}")
    values = {}
    for param in declared:
        if param.name in written:
            values[param.name] = parse_value(param.kind, written[param.name], param.name)
        elif param.required:
            place = entries["params"].where if "params" in entries else where
            raise ConfigError(
                f"{layer.name} needs a {param.name} ({param.flag}, or {param.name} in params)",
                place,
            )
        else:
            values[param.name] = param.default_for(convention)
    return layer.Params(**values), {name: written[name].where for name in written}


def _refuse_split_values(written: Mapping[str, Node]) -> None:
    """Raise ConfigError where YAML read `{stride: 2,1}` as two keys."""
    keys = list(written)
    for before, key in pairwise(keys):
        if written[key].value is None and whole_of(key) is not None:
            numbers = [str(written[before].value)]
            for later in keys[keys.index(key) :]:
                if written[later].value is not None or whole_of(later) is None:
                    break
                numbers.append(later)
            raise ConfigError(
                f"{','.join(numbers)} reads as a value and a key of its own: "
                f"write [{', '.join(numbers)}], or quote it",
                written[key].key_where,
            )


def _read_tensors(entries: Mapping[str, Node], layer: Layer) -> dict[str, Source]:
    written = entries["tensors"].mapping("tensors") if "tensors" in entries else {}
    for key, node in written.items():
        if key not in layer.source_names and "=" in key and node.value is None:
            raise ConfigError(
                f"{key!r} reads as a key of its own: quote the whole tensor, "
                'such as x: "normal:2x3,loc=1"',
                node.key_where,
            )
    refuse_unknown(written, layer.source_names, f"the tensors of {layer.name}")
    sources = {}
    for name, node in written.items():
        source = parse_source(node, name, node.base)
        if source is not None:
            sources[name] = source
    return sources


def _read_expect(
    entries: Mapping[str, Node], layer: Layer, overrides: Tolerance
) -> dict[str, list[Assertion]]:
    written = entries["expect"].mapping("expect") if "expect" in entries else {}
    refuse_unknown(written, layer.tensor_names, f"what {layer.name} can expect")
    return {
        name: [_override(found, overrides) for found in parse_expectations(node, name)]
        for name, node in written.items()
    }


def _override(assertion: Assertion, tolerance: Tolerance) -> Assertion:
    from dataclasses import replace

    if tolerance.derived and not assertion.is_whole:
        tolerance = replace(tolerance, derived=False)  # which is for whole tensors
    return replace(assertion, tolerance=tolerance.over(assertion.tolerance))


def _read_gradcheck(entries: Mapping[str, Node], layer: Layer) -> GradcheckOptions | None:
    if "gradcheck" not in entries:
        return None
    node = entries["gradcheck"]
    if isinstance(node.value, bool):
        return GradcheckOptions() if node.value else None
    written = node.mapping("gradcheck, unless true or false,")
    names = [declared.name for declared in parameters(GradcheckOptions)]
    refuse_unknown(written, names, "gradcheck")
    options = read_declared(GradcheckOptions, written)
    known = [name[1:] for name in layer.gradient_names]
    for name in options.wrt or ():
        if name not in known:
            raise written["wrt"].fail(
                f"wrt: {layer.name} has no gradient of {name!r}; it has those of {', '.join(known)}"
            )
    if options.step is not None and not 0 < options.step < math.inf:
        raise written["step"].fail(f"step must be above 0 and finite, but is {options.step:g}")
    return options


def _refuse_without_backward(case: Case, entries: Mapping[str, Node]) -> None:
    place = entries["backward"].where if "backward" in entries else case.where
    if case.gradcheck is not None:
        raise ConfigError("backward is off, but gradcheck needs the gradients", place)
    for name in case.expect:
        if name in case.layer.gradient_names:
            raise ConfigError(f"backward is off, but {name} is expected", place)
    if "dy" in case.sources:
        reason = "backward is off, but dy is given, which only gradients need"
        raise ConfigError(f"{reason}; --dy none takes it away", place)
    if needs_backward(case.call, case.layer.gradient_names):
        raise ConfigError("backward is off, but a call needs dy or gives a gradient", place)
