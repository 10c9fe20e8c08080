"""`descriptor: g2mb2ic4ih9oc6kh3sh2ph1`: a layer's shapes and windows in benchdnn's form.

Letters stand before numbers, in any order, `_` anywhere between: g groups; mb, ic, oc the batch
and channels; i, o, k, s, p, d before d, h or w the input, output, kernel, stride, padding and
dilation of an axis (0 is no dilation), `eps` for bn; n"..." is a name. Where an axis is left out
it is as the next one written: `ih9` alone is 9x9. Padding and output size each follow from the
other: `p` alone pads both sides alike, `o` alone pads the least before and the rest after, and
both together leave the end of the axis to what they imply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cnncli.cases.node import Data, Node, from_data
from cnncli.errors import ConfigError
from cnncli.numerals import number_of

_TOKEN = re.compile(r"_*(?:(n)(?:\"([^\"]*)\"|(.+))|(eps)([-+.0-9e]+)|([a-z]+)([0-9]{1,9}))")
_AXES = ("d", "h", "w")
_SIZES = {"conv": "iokspd", "pool": "iokspd", "bn": "i"}
_COUNTS = {"conv": ("g", "mb", "ic", "oc"), "pool": ("mb", "ic"), "bn": ("mb", "ic")}
_SHAPED = {"random", "shape"}


def expand_descriptor(entries: Mapping[str, Node]) -> Mapping[str, Node]:
    """Return a case's entries with `descriptor` written out as params and shapes of tensors.

    Raises ConfigError, at the descriptor, for what it cannot mean, and where the case writes a
    parameter or a shape that the descriptor gives.
    """
    if "descriptor" not in entries:
        return entries
    node = entries["descriptor"]
    text = node.string("descriptor")
    if "layer" not in entries:
        raise node.fail(f"descriptor needs a layer: one of {', '.join(_SIZES)}")
    layer = entries["layer"].value
    if not isinstance(layer, str) or layer not in _SIZES:
        known = ", ".join(_SIZES)
        raise node.fail(f"descriptor is for {known}, but the layer is {entries['layer'].kind()}")
    params = entries["params"].mapping("params") if "params" in entries else {}
    transposed = "transposed" in params and params["transposed"].value is True
    try:
        written = _Descriptor(layer, _numbers(layer, text))
        given, shapes = written.resolve(transposed=transposed)
    except ConfigError as error:
        error.message = f"descriptor {text}: {error.message}"
        raise error.at(node.where) from None
    for name in given:
        if name in params:
            raise params[name].fail(f"{name} is written beside a descriptor, which gives it")
    expanded = {key: value for key, value in entries.items() if key != "descriptor"}
    added = from_data(given, node.where).mapping("params")
    expanded["params"] = Node({**params, **added}, node.where, node.key_where)
    tensors = entries["tensors"].mapping("tensors") if "tensors" in entries else {}
    made = {name: _shaped(tensors.get(name), name, shape, node) for name, shape in shapes.items()}
    expanded["tensors"] = Node({**tensors, **made}, node.where, node.key_where)
    return expanded


def _numbers(layer: str, text: str) -> dict[str, int | float]:
    counts, sizes = _COUNTS[layer], _SIZES[layer]
    known = {*counts, *(size + axis for size in sizes for axis in _AXES)}
    found: dict[str, int | float] = {}
    place = 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ConfigError(
                f"{text[place:]!r} does not read as letters and a number, such as kh3"
            )
        place = match.end()
        if match[1]:
            continue  # a name, which says nothing of the layer
        key = match[4] or match[6]
        if match[4] and layer == "bn":
            eps = number_of(match[5])
            if eps is None:
                raise ConfigError(f"eps must be a number, not {match[5]}")
            value: int | float = eps
        elif key in known:
            value = int(match[7])
        else:
            raise ConfigError(f"{key!r} means nothing here; {layer} has {', '.join(sorted(known))}")
        if key in found:
            raise ConfigError(f"{key} stands twice")
        found[key] = value
    return found


@dataclass(frozen=True)
class _Descriptor:
    layer: str
    numbers: Mapping[str, int | float]

    def resolve(self, *, transposed: bool) -> tuple[dict[str, Data], dict[str, list[int]]]:
        """Return the params that the descriptor gives and the shapes of x and w."""
        axes = self._axes()
        batch, channels = self._count("mb", 2), self._count("ic", None)
        size = [self._size("i", axis, axes, None) for axis in axes]
        shapes = {"x": [batch, channels, *size]}
        if self.layer == "bn":
            eps = {"eps": self.numbers["eps"]} if "eps" in self.numbers else {}
            return dict(eps), shapes
        kernel = [self._size("k", axis, axes, None) for axis in axes]
        stride = [self._size("s", axis, axes, 1) for axis in axes]
        dilation = [1 + self._size("d", axis, axes, 0, least=0) for axis in axes]
        padding: list[Data] = []
        for axis, i, k, s, d in zip(axes, size, kernel, stride, dilation, strict=True):
            padding.append(list(self._padding(axis, axes, i, (k - 1) * d + 1, s, transposed)))
        params: dict[str, Data] = {
            "stride": list(stride),
            "padding": padding,
            "dilation": list(dilation),
        }
        if self.layer == "pool":
            return {"kernel": list(kernel), **params}, shapes
        groups, filters = self._count("g", 1), self._count("oc", None)
        for name, count in (("ic", channels), ("oc", filters)):
            if count % groups:
                raise ConfigError(f"g{groups} does not divide {name}{count}")
        inner = [channels, filters // groups] if transposed else [filters, channels // groups]
        shapes["w"] = [*inner, *kernel]
        return {**params, "groups": groups}, shapes

    def _axes(self) -> tuple[str, ...]:
        """Return the spatial axes: those written for the input, and all after the first of them."""
        written = [axis for axis in _AXES if f"i{axis}" in self.numbers]
        if not written:
            raise ConfigError("it says no input size: id, ih or iw")
        axes = _AXES[_AXES.index(written[0]) :]
        missing = _AXES[: _AXES.index(written[0])]
        for key in self.numbers:
            if key[:-1] in tuple(_SIZES[self.layer]) and key[-1] in missing:
                raise ConfigError(f"{key} is of an axis that the input, {written[0]}, has not")
        return axes

    def _count(self, key: str, default: int | None) -> int:
        value = self.numbers.get(key, default)
        if value is None:
            raise ConfigError(f"it does not say {key}")
        if value < 1:
            raise ConfigError(f"{key} must be at least 1, but is {value}")
        return int(value)

    def _optional(self, size: str, axis: str, axes: tuple[str, ...]) -> int | None:
        """Return a size; an axis left out is as the one before it (w as h, h as d)."""
        for candidate in reversed(axes[: axes.index(axis) + 1]):
            if size + candidate in self.numbers:
                return int(self.numbers[size + candidate])
        return None

    def _size(
        self, size: str, axis: str, axes: tuple[str, ...], default: int | None, least: int = 1
    ) -> int:
        value = self._optional(size, axis, axes)
        if value is None:
            value = default
        if value is None:
            raise ConfigError(f"it does not say {size}{axis}")
        if value < least:
            raise ConfigError(f"{size}{axis} must be at least {least}, but is {value}")
        return value

    def _padding(
        self, axis: str, axes: tuple[str, ...], size: int, extent: int, stride: int, flipped: bool
    ) -> tuple[int, int]:
        """Return the padding before and after, from `p`, from the output size, or from both."""
        before, output = self._optional("p", axis, axes), self._optional("o", axis, axes)
        if output is None:
            return (before or 0, before or 0)
        if output < 1:
            raise ConfigError(f"o{axis} must be at least 1, but is {output}")
        if flipped:
            total = (size - 1) * stride + extent - output
        else:
            total = (output - 1) * stride + extent - size
        if before is None:
            before = max(total, 0) // 2
        after = total - before
        if not flipped and -stride < after < 0:
            after = 0  # rows at the end that no window reaches
        if after < 0:
            raise ConfigError(
                f"o{axis}{output} with p{axis}{before} would crop {-after} from the end of {size}"
            )
        return before, after


def _shaped(written: Node | None, name: str, shape: list[int], node: Node) -> Node:
    """Return a tensor's source with the descriptor's shape; only a kind can be given one."""
    sizes = "x".join(map(str, shape))
    if written is None:
        return Node(f"normal:{sizes}", node.where)
    if isinstance(written.value, str):
        kind, comma, options = written.value.partition(",")
        if kind.isalpha():
            return Node(f"{kind}:{sizes}{comma}{options}", written.where, base=written.base)
    elif isinstance(written.value, dict) and written.value.keys() & _SHAPED == {"random"}:
        given = {**written.value, "shape": from_data(list(shape), node.where)}
        return Node(given, written.where, base=written.base)
    raise written.fail(
        f"tensor {name} is written beside a descriptor, which gives its shape: write a kind alone, "
        "such as normal"
    )
