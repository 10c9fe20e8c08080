"""The JSON Schema of a config file, from the same declarations as flags, keys and checks."""

from __future__ import annotations

from typing import Any, TypeAlias

from cnncli.cases.assertions import CHANNEL_STATISTICS, STATISTICS
from cnncli.cases.case import GradcheckOptions, Settings
from cnncli.cases.config import FILE_KEYS, SETTABLE_KEYS
from cnncli.cases.sourcetypes import KINDS, RAW_SIZES
from cnncli.layers.base import Layer
from cnncli.layers.parameters import Parameter, parameters
from cnncli.layers.table import LAYERS

Schema: TypeAlias = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The draft that editors' YAML support reads."""
_NUMBER: Schema = {"type": ["number", "string"]}
_SIZES: Schema = {"type": "array", "items": {"type": "integer", "minimum": 1}}
_SOURCE: Schema = {"$ref": "#/definitions/source"}


def config_schema() -> Schema:
    """Return the schema of a config file: one case, or `cases` with their `defaults`."""
    case = _case(FILE_KEYS, "A case: a layer, its tensors and parameters, and what must hold.")
    defaults = _case([k for k in FILE_KEYS if k != "name"], "What every case begins with.")
    many = {
        "type": "object",
        "additionalProperties": False,
        "required": ["cases"],
        "properties": {
            "defaults": {"$ref": "#/definitions/defaults"},
            "cases": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/case"}},
        },
    }
    return {
        "$schema": DRAFT,
        "title": "A config of cnncli",
        "if": {"type": "object", "required": ["cases"]},
        "then": many,
        "else": {"$ref": "#/definitions/case"},
        "definitions": {
            "case": case,
            "defaults": defaults,
            "source": _source(),
            "assertion": _assertion(),
            **{f"params of {layer.name}": _params(layer) for layer in LAYERS.values()},
        },
    }


def _case(keys: list[str] | tuple[str, ...], description: str) -> Schema:
    known = _keys()
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": {key: known.get(key, {}) for key in keys},
        "allOf": [
            {
                "if": {"required": ["layer"], "properties": {"layer": {"const": layer.name}}},
                "then": {"properties": _of_layer(layer)},
            }
            for layer in LAYERS.values()
        ],
    }


def _keys() -> dict[str, Schema]:
    """Return the schema of every key of a case, whatever its layer."""
    sources = {name: _SOURCE for layer in LAYERS.values() for name in layer.source_names}
    tensors = {name: None for layer in LAYERS.values() for name in layer.tensor_names}
    params = [{"$ref": f"#/definitions/params of {layer.name}"} for layer in LAYERS.values()]
    return {
        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Its name."},
        "layer": {"enum": list(LAYERS), "description": "What is computed."},
        "params": {"anyOf": params, "description": "The layer's parameters."},
        "tensors": {
            **_mapping(sources),
            "description": "Where each tensor comes from; left out: its default.",
        },
        **{declared.name: _declared(declared) for declared in parameters(Settings)},
        "expect": {
            **_mapping({name: _expectations() for name in tensors}),
            "description": "What tensors must be.",
        },
        "gradcheck": {
            "description": "Check the gradients by numeric ones.",
            "anyOf": [
                {"type": "boolean"},
                _mapping({d.name: _declared(d) for d in parameters(GradcheckOptions)}),
            ],
        },
        "against": {
            "description": "Who else computes the case, to be compared with: torch, a file, ...",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "call": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
            "description": "How people's own functions are called: results to call.",
        },
        "points": {"type": "number", "description": "What the case weighs in a grade."},
        "sweep": _sweep(),
        "skip_invalid": {
            "type": "boolean",
            "description": "Skip a combination that the layer's rules refuse, with its reason.",
        },
        "descriptor": {
            "type": "string",
            "pattern": "^[_a-z0-9]",
            "description": "Shapes and windows in benchdnn's form: mb2ic4ih9oc6kh3sh2ph1.",
        },
    }


def _of_layer(layer: Layer) -> dict[str, Schema]:
    """Return what a case of one layer may write, where that is less than any layer's."""
    return {
        "params": {"$ref": f"#/definitions/params of {layer.name}"},
        "tensors": _mapping(dict.fromkeys(layer.source_names, _SOURCE)),
        "expect": _mapping({name: _expectations() for name in layer.tensor_names}),
    }


def _mapping(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _params(layer: Layer) -> Schema:
    # What is required may stand in `defaults` or come from a descriptor or a sweep.
    return _mapping({declared.name: _declared(declared) for declared in parameters(layer.Params)})


def _declared(declared: Parameter) -> Schema:
    text = f"{declared.help} Default: {declared.default_text()}."
    return {**declared.kind.schema(), "description": text}


def _sweep() -> Schema:
    heads = "|".join(SETTABLE_KEYS)
    return {
        "type": "object",
        "minProperties": 1,
        "description": "Dotted keys to lists of values: a case for every combination.",
        "patternProperties": {rf"^({heads})(\..+)?$": {"type": "array", "minItems": 1}},
        "additionalProperties": False,
    }


def _expectations() -> Schema:
    one = {"$ref": "#/definitions/assertion"}
    return {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]}


def _assertion() -> Schema:
    index = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^-?[0-9]*:-?[0-9]*$"}]}
    squared = {
        **_mapping({"npy": _SOURCE, "below": _NUMBER}),
        "required": ["npy", "below"],
        "description": "The sum of squared errors must be below this.",
    }
    values = {"description": "The elements, or with `at` those that stand there."}
    return {
        **_mapping(
            {
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "npy": {**_SOURCE},
                "values": values,
                "at": {"type": "array", "items": index},
                **dict.fromkeys(STATISTICS, _NUMBER),
                **{name: {"type": "array", "items": _NUMBER} for name in CHANNEL_STATISTICS},
                "sum_squared_error": squared,
                "rtol": _NUMBER,
                "atol": _NUMBER,
                "equal_nan": {"type": "boolean"},
            }
        ),
        "minProperties": 1,
        "dependencies": {"at": ["values"]},
    }


def _source() -> Schema:
    extend: dict[str, Schema] = {"zero_extend": {"anyOf": [_SIZES, {"type": "string"}]}}
    shape: Schema = {"anyOf": [_SIZES, {"type": "string"}]}
    options = {name: _NUMBER for kind in KINDS.values() for name in kind}
    text: Schema = {"type": "string"}

    def form(key: str, properties: dict[str, Schema], also: tuple[str, ...] = ()) -> Schema:
        return {**_mapping({**properties, **extend}), "required": [key, *also]}

    return {
        "description": "normal:2x3x8x8, a file, none, or a mapping that says so in full.",
        "anyOf": [
            {"type": ["string", "null"]},
            form("npy", {"npy": text}),
            form("npz", {"npz": text, "key": text}),
            form(
                "bin",
                {"bin": text, "dtype": {"enum": list(RAW_SIZES)}, "shape": shape},
                ("dtype", "shape"),
            ),
            form("random", {"random": {"enum": list(KINDS)}, "shape": shape, **options}),
            form("values", {"values": {}}),
        ],
    }
