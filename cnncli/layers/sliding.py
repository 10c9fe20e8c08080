"""The shape rule that convolution and pooling share: windows that slide over padded axes."""

from __future__ import annotations

from cnncli.errors import GeometryError
from cnncli.layers.base import SPATIAL_AXES, Request, Shape
from cnncli.layers.parameters import Ints, Pairs


def resolve_padding(request: Request, spatial: Shape, kernel: Ints, **windows: Ints) -> Pairs:
    """Return the padding as before:after pairs, `same` and `valid` resolved.

    `same` pads the least that gives ceil(size / stride) outputs, the surplus at the end (TensorFlow
    and ONNX SAME_UPPER); `same-lower` puts the surplus at the start. Raises GeometryError.
    """
    from cnncli.kernels.windows import extent

    value = request.params.padding
    rank = len(spatial)
    if not isinstance(value, str):
        return request.pairs("padding", rank)
    if value == "valid":
        return ((0, 0),) * rank
    pairs = []
    stride, dilation = windows["stride"], windows["dilation"]
    for size, k, s, d in zip(spatial, kernel, stride, dilation, strict=True):
        outputs = -(-size // s)
        total = max((outputs - 1) * s + extent(k, d) - size, 0)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if value == "same" else (more, less))
    return tuple(pairs)


def output_spatial(
    request: Request,
    spatial: Shape,
    kernel: Ints,
    *,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    ceil_mode: bool = False,
) -> Shape:
    """Return the output's spatial shape; raise GeometryError where a window does not fit.

    With `ceil_mode` even the first window may overhang the end, by less than the stride (torch).
    """
    from cnncli.kernels.windows import extent, output_size

    axes = SPATIAL_AXES[len(spatial)]
    sizes = []
    for axis, size, k, s, (before, after), d in zip(
        axes, spatial, kernel, stride, padding, dilation, strict=True
    ):
        padded = size + before + after
        if extent(k, d) > padded + (s - 1 if ceil_mode else 0):
            dilated = f" (dilation {d}*({k}-1)+1)" if d > 1 else ""
            padded_text = f"{padded} ({before}+{size}+{after})" if before or after else f"{size}"
            raise GeometryError(
                f"the window covers {extent(k, d)}{dilated} along {axis}, "
                f"but the padded input has only {padded_text}; "
                + _remedy(request, axis, extent(k, d), padded, d)
            )
        sizes.append(output_size(size, k, s, before, after, d, ceil_mode))
    return tuple(sizes)


def _remedy(request: Request, axis: str, covered: int, padded: int, d: int) -> str:
    """Say what makes a window fit.

    For a convolution, padding. A pooling's kernel is free, and more padding is no help there:
    other libraries take at most half a kernel of it, and a maximum must not be of padding alone.
    """
    if not hasattr(request.params, "kernel"):
        return f"{covered - padded} more of --padding along {axis} would do"
    if d > 1:
        return "take a smaller kernel or dilation, or --kernel global alone for the whole plane"
    return f"a kernel of {padded} along {axis} fits; --kernel global alone takes the whole plane"


def refuse_empty_windows(
    request: Request,
    spatial: Shape,
    output: Shape,
    kernel: Ints,
    *,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
) -> None:
    """Raise GeometryError at the first window that holds padding alone."""
    for axis, size, outputs, k, s, (before, _), d in zip(
        SPATIAL_AXES[len(spatial)], spatial, output, kernel, stride, padding, dilation, strict=True
    ):
        o = first_empty_window(size, outputs, kernel=k, stride=s, before=before, dilation=d)
        if o is not None:
            raise request.fault(
                "padding",
                f"of {before} makes window {o} along {axis} hold padding alone: its {k} "
                f"elements, {d} apart, start at {o * s - before} and miss the {size} real ones",
            )


def first_empty_window(
    size: int, outputs: int, *, kernel: int, stride: int, before: int, dilation: int
) -> int | None:
    """Return the first of `outputs` windows along an axis that holds padding alone, or None.

    A closed form: an axis may have a billion windows, and none of them has been paid for yet.
    """
    if before > (kernel - 1) * dilation:
        return 0  # which ends before the input; no later one does where the first does not
    # A window that starts before the input steps over it where its first element that is not
    # before it is after it: where (o * stride - before) mod dilation is `size` or more.
    over = None
    if dilation > size:
        low, high = (size + before) % dilation, (before - 1) % dilation
        over = 0 if low > high else _first_within(stride, dilation, low, high)
    if over is not None and over * stride < before and over < outputs:
        return over
    beyond = -(-(size + before) // stride)  # the first that starts after the input
    return beyond if beyond < outputs else None


def _first_within(factor: int, modulus: int, low: int, high: int) -> int | None:
    """Return the least n >= 0 with low <= n * factor mod modulus <= high, or None.

    As Euclid's algorithm does, it goes from (factor, modulus) to (-modulus mod factor, factor):
    n * factor = m * modulus + v, where no multiple of `factor` is within low..high, tells by v
    which m are possible.
    """
    if low == 0:
        return 0
    factor %= modulus
    if factor == 0:
        return None
    n = -(-low // factor)
    if n * factor <= high:
        return n
    turns = _first_within(-modulus % factor, factor, low % factor, high % factor)
    return None if turns is None else -(-(turns * modulus + low) // factor)
