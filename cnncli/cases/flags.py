"""Flags as the entries of a case: the same tree that a config file gives, placed at the flag."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cnncli.cases.nearby import near_path
from cnncli.cases.node import Node, from_data
from cnncli.cases.paths import arrays_in, what_is
from cnncli.errors import CnncliError, UsageError
from cnncli.layers.base import Layer
from cnncli.layers.parameters import Switch, parameters


def flag_name(key: str) -> str:
    """Return the flag of a parameter, a setting or a tensor."""
    return "--" + key.replace("_", "-")


def placed(values: Mapping[str, Any]) -> dict[str, Node]:
    """Return the values that were given (not None), each placed at its flag."""
    return {
        key: from_data(value, f"--no-{flag_name(key)[2:]}" if value is False else flag_name(key))
        for key, value in values.items()
        if value is not None
    }


def layer_entries(layer: Layer, values: Mapping[str, Any]) -> dict[str, Node]:
    """Return a command's flags, by name, as the entries of a case of `layer`.

    `values` holds the tensors' texts, the parameters and the settings, None where not given.
    """
    names = [declared.name for declared in parameters(layer.Params)]
    params = placed({name: values.get(name) for name in names})
    for declared in parameters(layer.Params):
        if values.get(declared.name) is False and isinstance(declared.kind, Switch):
            negative = declared.kind.negative or f"--no-{declared.flag[2:]}"
            params[declared.name] = Node(False, negative)
    tensors = placed({name: values.get(name) for name in layer.source_names})
    used = {*names, *layer.source_names}
    entries = placed({name: value for name, value in values.items() if name not in used})
    if params:
        entries["params"] = Node(params, "the command line")
    if tensors:
        entries["tensors"] = Node(tensors, "the command line")
    return entries


def tensors_from(text: str, layer: Layer) -> dict[str, Node]:
    """Return what `--tensors DIR` or `--tensors FILE.npz` gives: every input tensor by its name."""
    found = _named_arrays(text, layer, "--tensors")
    given = {name: node for name, node in found.items() if name in layer.source_names}
    if not given:
        raise UsageError(
            f"{text} holds none of {', '.join(layer.source_names)}; it holds {', '.join(found)}",
            "--tensors",
        )
    # In the order of the flags, which is the order that the legacy generator draws in.
    return {name: given[name] for name in layer.source_names if name in given}


def unjudged_text(text: str, layer: Layer, expected: Collection[str]) -> str | None:
    """Say which results `--tensors` holds that nothing judges, and what would; None: there is none.

    `expected` names the tensors that something is expected of.
    """
    held = _named_arrays(text, layer, "--tensors").keys() - set(expected)
    names = [name for name in (*layer.outputs, *layer.gradient_names) if name in held]
    if not names:
        return None
    if Path(text).is_dir():
        files, flags = [f"{name}.npy" for name in names], f"--expect {text}"
    else:
        files, flags = names, " ".join(f"--expect {name}={text}:{name}" for name in names)
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{', '.join(files)} of {text} {are} not judged: {flags} judges {them}"


def expectations_from(texts: list[str], layer: Layer) -> dict[str, Node]:
    """Return what `--expect SOURCE`, `--expect NAME=SOURCE` and `--expect DIR` ask for."""
    asked: dict[str, list[Node]] = {}
    for text in texts:
        name, separator, source = text.partition("=")
        if separator and name in layer.tensor_names:
            pairs = {name: Node(source, "--expect")}
        elif separator and name.isidentifier() and not what_is(Path(text), "--expect"):
            known = ", ".join(layer.tensor_names)
            raise UsageError(f"{layer.name} has no tensor {name!r}; it has {known}", "--expect")
        elif what_is(Path(text), "--expect") == "folder":
            pairs = _named_arrays(text, layer, "--expect")
            results = (*layer.outputs, *layer.gradient_names)
            if set(results).isdisjoint(pairs):
                raise UsageError(
                    f"{text} holds {', '.join(pairs)}, and nothing that {layer.name} computes: "
                    f"none of {', '.join(results)}",
                    "--expect",
                )
        else:
            pairs = {"y": Node(text, "--expect")}
        for tensor, node in pairs.items():
            asked.setdefault(tensor, []).append(Node({"npy": node}, node.where))
    return {name: Node(list(items), items[0].where) for name, items in asked.items()}


def _named_arrays(text: str, layer: Layer, flag: str) -> dict[str, Node]:
    """Return the source of every array in a folder or .npz, by tensor name; raise UsageError."""
    path = Path(text)
    kind = what_is(path, flag)
    if kind == "folder":
        found = {name: {"npy": str(p)} for name, p in arrays_in(path, flag).items()}
    elif path.suffix.lower() == ".npz":
        from cnncli.cases.files import npz_keys

        try:
            found = {key: {"npz": text, "key": key} for key in npz_keys(path)}
        except CnncliError as error:
            raise error.at(flag) from None
    elif kind is not None:
        raise UsageError(f"{text} is neither a folder nor a .npz file", flag)
    else:
        raise UsageError(f"there is no folder or .npz file {text}{near_path(text)}", flag)
    if not found:
        raise UsageError(f"{text} holds no array", flag)
    for name in found:
        if name not in layer.tensor_names:
            known = ", ".join(layer.tensor_names)
            raise UsageError(
                f"{text} holds {name}, which is no tensor of {layer.name}: {known}", flag
            )
    return {name: from_data(source, f"{flag} {text}") for name, source in found.items()}
