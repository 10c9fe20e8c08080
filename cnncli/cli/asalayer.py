"""`compare A B --layer NAME --given KEY=VALUE`: what A is, read as a tensor of that layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnncli.cli.flags import Flag, text_flag
from cnncli.cli.layerflags import JUDGING
from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.checks.check import Check
    from cnncli.layers.base import Layer
    from cnncli.runs.one import RunOptions

GIVEN = "--given"


def layer_as_flags() -> list[Flag]:
    """Return the flags that tell which layer's tensor is compared."""
    return [
        text_flag(
            "layer",
            "Where A is wrong, say what is wrong with it as --tensor of this layer.",
            JUDGING,
            "pad|conv|pool|bn",
        ),
        text_flag(
            "given",
            "A tensor or parameter of that layer, such as x=x.npy or stride=2; repeatable.",
            JUDGING,
            "KEY=VALUE",
            many=True,
        ),
    ]


def judge_as_layer(
    name: str, pairs: Sequence[str], tensor: str, source: str, options: RunOptions
) -> Check:
    """Return the check of `source` as tensor `tensor` of a layer, diagnosed where it is wrong.

    Raises UsageError for a layer or a key that is not known, CnncliError for a case that is bad.
    """
    from cnncli.cases.config import Entry
    from cnncli.cases.flags import expectations_from, layer_entries
    from cnncli.cases.node import Node, nearest
    from cnncli.layers.table import LAYERS
    from cnncli.runs.one import run_case

    if name not in LAYERS:
        raise UsageError(
            f"must be one of {', '.join(LAYERS)}, not {name!r}{nearest(name, LAYERS)}", "--layer"
        )
    layer = LAYERS[name]
    if tensor not in (*layer.outputs, *layer.gradient_names):
        known = ", ".join((*layer.outputs, *layer.gradient_names))
        raise UsageError(f"{name} computes {known}, not {tensor!r}", "--tensor")
    if source == "-":
        raise UsageError("A is read twice with --layer: give a file, not standard input", "A")
    entries = layer_entries(layer, read_pairs(pairs, layer))
    entries["layer"] = Node(name, "--layer")
    entries["expect"] = Node(expectations_from([f"{tensor}={source}"], layer), "A")
    case = Entry(name=name, file=None, where="--layer", entries=entries).build()
    (check,) = run_case(case, options).checks
    return check


def read_pairs(pairs: Sequence[str], layer: Layer) -> dict[str, Any]:
    """Return what KEY=VALUE texts give a layer, by name; raise UsageError with the nearest key."""
    from cnncli.cases.case import Settings
    from cnncli.cases.node import nearest
    from cnncli.layers.parameters import Switch, parameters

    declared = {one.name: one for one in (*parameters(layer.Params), *parameters(Settings))}
    known = (*layer.source_names, *declared)
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not separator or key not in known:
            hint = nearest(key, known) or f"; known: {', '.join(known)}"
            raise UsageError(f"takes KEY=VALUE of {layer.name}, not {pair!r}{hint}", GIVEN)
        if key in values:
            raise UsageError(f"gives {key} twice", GIVEN)
        values[key] = value
        if key in declared and isinstance(declared[key].kind, Switch):
            if value not in ("true", "false"):
                raise UsageError(f"{key} must be true or false, not {value!r}", GIVEN)
            values[key] = value == "true"
    return values
