"""Faults of a convolution, forward and backward: the reference with that one fault."""

from __future__ import annotations

import numpy as np

from cnncli.checks.faults.common import need, need_overlap, planes, swap_spatial
from cnncli.checks.faults.faultbench import FaultBench
from cnncli.kernels.windows import Array, extent


def _direct(b: FaultBench) -> None:
    need(not b.plan.params.get("transposed", False))


def flipped(b: FaultBench) -> list[Array]:
    """Convolution for correlation: the kernel turned round (for dw: the result)."""
    axes = b.space
    if b.name == "dw":
        return [np.flip(b.right, axes)]
    w = b.tensors["w"]
    return [b.redo(w=np.flip(w, axes)), *(b.redo(w=np.flip(w, a)) for a in axes if len(axes) > 1)]


def filters_swapped(b: FaultBench) -> list[Array]:
    """C and F of w exchanged, in memory where the sizes differ; or of the result dw."""
    if b.name == "dw":
        right = b.right
        turned = right.swapaxes(0, 1)
        return [turned, turned.reshape(right.shape), right.reshape(turned.shape).swapaxes(0, 1)]
    w = b.tensors["w"]
    turned = w.swapaxes(0, 1)
    return [b.redo(w=turned.reshape(w.shape)), b.redo(w=w.reshape(turned.shape).swapaxes(0, 1))]


def kernel_axes_swapped(b: FaultBench) -> list[Array]:
    """KH and KW of w exchanged."""
    if b.name == "dw":
        return [swap_spatial(b.right), swap_spatial(b.right).reshape(b.right.shape)]
    w = b.tensors["w"]
    found = [b.redo(w=swap_spatial(w).reshape(w.shape))]
    return [b.redo(w=swap_spatial(w)), *found] if w.shape[-1] == w.shape[-2] else found


def crop_missing(b: FaultBench) -> Array:
    """Dx with its padding still on."""
    _direct(b)
    need(any(map(any, b.pads)))
    spatial = tuple(s + p + q for s, (p, q) in zip(b.plan.spatial, b.pads, strict=True))
    none = tuple((0, 0) for _ in b.pads)
    return b.redo(arguments={"padding": none}, spatial=spatial)


def crop_shifted(b: FaultBench) -> list[Array]:
    """Dx cropped at the wrong place of the padded one: at its start, at its end, one off."""
    full = crop_missing(b)
    sizes = b.plan.spatial
    starts = [tuple(0 for _ in sizes), tuple(p + q for p, q in b.pads)]
    starts += [tuple(p + d for p, _ in b.pads) for d in (1, -1)]
    found = []
    for start in starts:
        inside = zip(start, sizes, full.shape[2:], strict=True)
        if all(s >= 0 and s + size <= most for s, size, most in inside):
            box = (slice(s, s + n) for s, n in zip(start, sizes, strict=True))
            found.append(full[planes(*box)])
    return found


def padding_ignored(b: FaultBench) -> list[Array]:
    """As if there were no padding: windows start at the input's first element."""
    need(any(map(any, b.pads)))
    none = tuple((0, 0) for _ in b.pads)
    return [b.redo(arguments={"padding": none})]


def pads_exchanged(b: FaultBench) -> list[Array]:
    """Padding before and after exchanged, on every axis or on one alone."""
    turned = tuple((q, p) for p, q in b.pads)
    ones = [(*b.pads[:at], turned[at], *b.pads[at + 1 :]) for at in range(len(b.pads))]
    others = [pads for pads in dict.fromkeys([turned, *ones]) if pads != b.pads]
    need(bool(others))
    return [b.redo(arguments={"padding": pads}) for pads in others]


def pads_of_other_axis(b: FaultBench) -> Array:
    """H's padding on W and W's on H, as far as the shapes hold it."""
    need(len(b.pads) == 2 and b.pads[0] != b.pads[1])
    return b.redo(arguments={"padding": b.pads[::-1]})


def _other(b: FaultBench, name: str) -> Array:
    value = b.argument(name)
    need(value != value[::-1])
    return b.redo(arguments={name: value[::-1]})


def strides_exchanged(b: FaultBench) -> Array:
    """H's stride along W and W's along H."""
    return _other(b, "stride")


def dilations_exchanged(b: FaultBench) -> Array:
    """H's dilation along W and W's along H."""
    return _other(b, "dilation")


def stride_ignored(b: FaultBench) -> Array:
    """Windows taken side by side, stride 1, for the same dy."""
    need(any(s > 1 for s in b.argument("stride")))
    return b.redo(arguments={"stride": tuple(1 for _ in b.argument("stride"))})


def dilation_ignored(b: FaultBench) -> list[Array]:
    """As if the kernel had no holes, y as large as that makes it or as it should be."""
    need(any(d > 1 for d in b.argument("dilation")))
    found = b.redo(arguments={"dilation": tuple(1 for _ in b.argument("dilation"))})
    right = b.right.shape
    if b.name != "y" or any(n < r for n, r in zip(found.shape, right, strict=True)):
        return [found]
    return [found, found[tuple(slice(size) for size in right)]]


def remainder(b: FaultBench) -> list[Array]:
    """Rows that no window reaches cut off, or put before the others in place of after them."""
    if b.layer.name == "conv":
        _direct(b)
    where = b.windows()
    reach = [
        (o - 1) * s + extent(k, d) - before
        for o, s, k, d, before in zip(
            where.output, where.stride, where.kernel, where.dilation, where.before, strict=True
        )
    ]
    left = [max(0, size - r) for size, r in zip(where.spatial, reach, strict=True)]
    need(any(left))
    if b.name == "y":
        return [b.redo(x=np.roll(b.x, [-rest for rest in left], b.space))]
    right = b.right
    if b.name != "dx":
        return [b.redo(x=np.roll(b.x, [-rest for rest in left], b.space))]
    cut = right[
        planes(*(slice(0, size - rest) for size, rest in zip(where.spatial, left, strict=True)))
    ]
    return [cut, np.roll(right, left, b.space)]


def _columns(b: FaultBench) -> Array:
    """What each window gives each of its elements: (C, *K, N, *O)."""
    w, dy, groups = b.tensors["w"], b.dy, b.plan.params["groups"]
    split = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])  # (G, F/G, C/G, *K)
    grads = dy.reshape(dy.shape[0], groups, dy.shape[1] // groups, *dy.shape[2:])
    parts = [np.tensordot(split[g], grads[:, g], ([0], [1])) for g in range(groups)]
    return np.concatenate(parts)


def overwritten(b: FaultBench) -> list[Array]:
    """Overlapping windows written over each other, not added: the last, or the first, stays."""
    _direct(b)
    need_overlap(b)
    columns, where = _columns(b), b.windows()
    found = []
    for turn in (reversed, list):
        dx = np.zeros(b.plan.inputs["x"])
        for _, offset, outputs, inputs in turn(list(where.overlaps())):
            dx[inputs] = columns[offset][outputs].swapaxes(0, 1)
        found.append(dx)
    return found


def one_filter(b: FaultBench) -> list[Array]:
    """The sum over filters missing: only the last, or first, filter's dy."""
    dy = b.dy
    need(dy.shape[1] > 1)
    found = []
    for keep in (0, dy.shape[1] - 1):
        part = np.zeros_like(dy)
        part[:, keep] = dy[:, keep]
        found.append(b.redo(dy=part))
    return found


def one_window(b: FaultBench) -> list[Array]:
    """Dw of the last (or first) window alone: assigned, not added up."""
    dy, found = b.dy, []
    need(dy[0, 0].size > 1)
    for at in (-1, 0):
        part = np.zeros_like(dy)
        part[(..., *(at for _ in b.space))] = dy[(..., *(at for _ in b.space))]
        found.append(b.redo(dy=part))
    for sample in (-1, 0):
        part = np.zeros_like(dy)
        place = (sample, slice(None), *(sample for _ in b.space))
        part[place] = dy[place]
        found.append(b.redo(dy=part))
    return found


def one_channel_summed(b: FaultBench) -> list[Array]:
    """The sum over channels missing: only the first, or last, channel of x."""
    x, found = b.x, []
    need(x.shape[1] > 1)
    for keep in (0, x.shape[1] - 1):
        part = np.zeros_like(x)
        part[:, keep] = x[:, keep]
        found.append(b.redo(x=part))
    return found


def groups_interleaved(b: FaultBench) -> list[Array]:
    """Groups taken as every G-th channel, not as runs of channels."""
    groups = b.plan.params["groups"]
    need(groups > 1)
    x, w = b.x, b.tensors["w"]
    channels = np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
    filters = np.arange(w.shape[0]).reshape(groups, -1).T.reshape(-1)
    found = []
    if b.name == "y":
        found = [b.redo(x=x[:, channels]), b.redo(w=w[filters])]
    elif b.name == "dx":
        found = [b.right[:, channels], b.redo(w=w[filters]), b.redo(dy=b.dy[:, filters])]
    elif b.name == "dw":
        found = [b.redo(x=x[:, channels]), b.right[filters], b.redo(dy=b.dy[:, filters])]
    return found


def groups_ignored(b: FaultBench) -> list[Array]:
    """Every filter reads the channels of the first group."""
    groups = b.plan.params["groups"]
    need(groups > 1)
    each = b.x.shape[1] // groups
    if b.name == "dx":
        dx = b.right
        first = np.zeros_like(dx)
        first[:, :each] = sum(dx[:, g * each : (g + 1) * each] for g in range(groups))
        return [first]
    return [b.redo(x=np.tile(b.x[:, :each], (1, groups) + (1,) * (b.x.ndim - 2)))]


def unpadded_x(b: FaultBench) -> Array:
    """Dw or y from x padded with its edge, not with zeros."""
    _direct(b)
    need(any(map(any, b.pads)))
    padded = np.pad(b.x, [(0, 0), (0, 0), *b.pads], mode="edge")
    none = tuple((0, 0) for _ in b.pads)
    return b.redo(x=padded, arguments={"padding": none}, spatial=padded.shape[2:])


def _bias(b: FaultBench) -> Array:
    return b.tensors["b"].reshape(-1, *(1 for _ in b.space))


def bias_missing(b: FaultBench) -> Array:
    """Y without b."""
    return b.right - _bias(b)


def bias_twice(b: FaultBench) -> list[Array]:
    """Y with b added twice, subtracted, or added once a channel."""
    return [b.right + _bias(b), b.right - 2 * _bias(b), b.right + (b.x.shape[1] - 1) * _bias(b)]
