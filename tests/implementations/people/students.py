"""Students' functions, each the right one with one fault that real students make."""

from __future__ import annotations

from pathlib import Path

RIGHT = (Path(__file__).parents[3] / "samples/submissions/ana.py").read_text()

# function, what is written for what, words of the cause that must be named
FAULTS: tuple[tuple[str, str, str, str], ...] = (
    # convolution, the 13 faults of the field and more
    ("convolution2D", "    F, _, KH", "    W = W[:, :, ::-1, ::-1]\n    F, _, KH", "flipped kernel"),
    ("convolution2D", "    sh, sw = stride", "    sw, sh = stride", "strides of H and W exchanged"),
    ("convolution2D", "padding(X, padding)", "padding(X, padding[::-1])", "padding"),
    ("convolution2D", "    return out", "    out[1:] = 0\n    return out", "sample"),
    ("convolution2D", "([1, 2, 3], [1, 2, 3])", "([2, 3], [2, 3])).trace(axis1=1, axis2=3) if 0 else np.tensordot(window[:, :1], W[:, :1], axes=([1, 2, 3], [1, 2, 3])", "channel"),
    ("convolution2D", "    return out", "    return out.transpose(0, 2, 3, 1)", "channels-last"),
    ("convolution2D", "    return out", "    return -out", "sign"),
    ("convolution2D", "    return out", "    return 2 * out", "2 times too large"),
    ("convolution2D_backward_filter", "    return dW", "    return dW / X.shape[0]", "too small"),
    ("convolution2D_backward_filter", "(out_grad[:, :, i, j]", "(np.ones_like(out_grad[:, :, i, j])", "ones"),
    ("convolution2D_backward_filter", "dW += np", "dW = np", ""),
    ("convolution2D_backward_filter", "    return dW", "    return dW[:, :, ::-1, ::-1]", "flip"),
    ("convolution2D_backward_input", "] += part", "] = part", "written over each other"),
    ("convolution2D_backward_input", "i, j], W,", "i, j], W[:, :, ::-1, ::-1],", "flip"),
    ("convolution2D_backward_input", "    return dX", "    return -dX", "sign"),
    # pooling
    ("pool_forward", ".max(axis", ".mean(axis", "mean"),
    ("pool_forward", ".max(axis", ".min(axis", "minimum"),
    ("pool_back", "] += grad_pool", "] = grad_pool", "written over each other"),
    ("pool_back", "np.argmax", "np.argmin", ""),
    ("pool_back", "        k, m = np.unravel_index(np.argmax(window), window.shape)\n        dX[n, c, s * i + k, s * j + m] += grad_pool[n, c, i, j]", "        part = (window == window.max()) * grad_pool[n, c, i, j]\n        dX[n, c, s * i : s * i + f, s * j : s * j + f] += part", "every tied maximum"),
    # batch norm
    ("batch_norm_forward", "X.var(", "X.std(", "deviation for the variance"),
    ("batch_norm_forward", "np.sqrt(var + eps)", "np.sqrt(var**0.5)", "deviation for the variance"),
    ("batch_norm_backward", "X.var(", "X.std(", "deviation for the variance"),
    ("batch_norm_backward", "    normal =", "    sigma = np.sqrt(X.std(axis=axes, keepdims=True) + eps)\n    normal =", "deviation for the variance"),
    ("batch_norm_backward", "    mean_dout =", "    sigma = np.sqrt(X.std(axis=axes, keepdims=True) + eps)\n    mean_dout =", "deviation for the variance"),
    ("batch_norm_forward", "gamma[:, None, None] * normal", "normal", "gamma"),
    ("batch_norm_forward", " + beta[:, None, None]", "", "beta"),
    ("batch_norm_forward", "keepdims=True)\n    normal", "keepdims=True, ddof=1)\n    normal", "unbiased"),
    ("batch_norm_backward", "dout - mean_dout -", "dout -", "mean"),
    ("batch_norm_backward", " - normal * mean_both", "", "variance"),
    ("batch_norm_backward", "gamma[:, None, None] / sigma", "1 / sigma", "gamma"),
    ("batch_norm_backward", "/ sigma *", "/ sigma**2 *", "variance in place of the deviation"),
    ("batch_norm_backward", "(dout - mean_dout - normal * mean_both)", "dout", "constants"),
    # the order of arguments
    ("convolution2D", "(X, W, stride, padding)", "(W, X, stride, padding)", "takes x and w the other way round"),
    ("convolution2D", "(X, W, stride, padding)", "(X, W, padding, stride)", "takes stride and padding the other way round"),
    ("convolution2D_backward_filter", "(out_grad, X, W", "(X, out_grad, W", "takes dy and x the other way round"),
    ("convolution2D_backward_input", "(out_grad, X, W", "(W, X, out_grad", "takes dy and w the other way round"),
    ("pool_back", "(grad_pool, X,", "(X, grad_pool,", "takes dy and x the other way round"),
    # pad
    ("zero_padding", "    ph, pw = padding", "    pw, ph = padding", ""),
    ("zero_padding", "np.zeros(", "np.ones(", ""),
)  # fmt: skip


def write(function: str, old: str, new: str) -> str:
    """Return the right submission with one function changed."""
    start = RIGHT.index(f"def {function}(")
    end = RIGHT.find("\n\n\ndef ", start)
    end = len(RIGHT) if end < 0 else end
    body = RIGHT[start:end]
    assert old in body, (function, old)
    return RIGHT[:start] + body.replace(old, new) + RIGHT[end:]


GENERAL = """
import numpy as np

def conv(x, w, b, stride, padding, dilation, groups):
    sh, sw = stride
    (top, bottom), (left, right) = padding
    dh, dw = dilation
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH = (H - dh * (KH - 1) - 1) // sh + 1
    OW = (W - dw * (KW - 1) - 1) // sw + 1
    y = np.zeros((N, F, OH, OW))
    for f in range(F):
        first = f // (F // groups) * (C // groups)
        for c in range(C // groups):
            for k in range(KH):
                for m in range(KW):
                    part = x[:, first + c, k * dh :: sh, m * dw :: sw][:, :OH, :OW]
                    y[:, f] += w[f, c, k, m] * part
    return y + b[:, None, None]
"""

GENERAL_CONFIG = """
layer: conv
tensors: {x: "normal:2x4x9x12", w: "normal:6x2x3x3", b: normal}
params: {stride: [2, 1], padding: [[2, 1], [0, 3]], dilation: [1, 2], groups: 2}
call: {y: "conv(x, w, b, stride, padding, dilation, groups)"}
"""

GENERAL_FAULTS = (
    ("    sh, sw = stride", "    sh, sw = stride\n    w = w.transpose(0, 1, 3, 2)", "KH and KW"),
    ("(top, bottom), (left, right) = padding", "(bottom, top), (right, left) = padding", "padding"),
    ("first = f // (F // groups) * (C // groups)", "first = 0", "group"),
    (" + b[:, None, None]", "", "bias"),
    (
        "k * dh :: sh, m * dw :: sw][:, :OH, :OW]",
        "k :: sh, m :: sw][:, :OH, :OW]",
        "dilation",
    ),
)

SAME = """
import numpy as np

def pads(size, k, s, lower=False):
    total = max((-(-size // s) - 1) * s + k - size, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)

def conv(x, w, stride):
    F, _, KH, KW = w.shape
    sh, sw = stride
    x = np.pad(x, ((0, 0), (0, 0), pads(x.shape[2], KH, sh), pads(x.shape[3], KW, sw)))
    OH, OW = (x.shape[2] - KH) // sh + 1, (x.shape[3] - KW) // sw + 1
    y = np.zeros((len(x), F, OH, OW))
    for i in range(OH):
        for j in range(OW):
            part = x[:, :, i * sh : i * sh + KH, j * sw : j * sw + KW]
            y[:, :, i, j] = np.tensordot(part, w, ([1, 2, 3], [1, 2, 3]))
    return y

def pool(x, k, stride, mode):
    sh, sw = stride
    edge = -np.inf if mode == "max" else np.nan
    rows, columns = pads(x.shape[2], k, sh), pads(x.shape[3], k, sw)
    x = np.pad(x, ((0, 0), (0, 0), rows, columns), constant_values=edge)
    OH, OW = (x.shape[2] - k) // sh + 1, (x.shape[3] - k) // sw + 1
    y = np.zeros((*x.shape[:2], OH, OW))
    for i in range(OH):
        for j in range(OW):
            part = x[:, :, i * sh : i * sh + k, j * sw : j * sw + k]
            y[:, :, i, j] = (np.max if mode == "max" else np.nanmean)(part, axis=(2, 3))
    return y
"""
"""`same` as TensorFlow has it: the odd row at the end."""

SAME_CONFIG = """
defaults: {params: {padding: same}}
cases:
  - name: conv
    layer: conv
    tensors: {x: "normal:2x3x9x8", w: "normal:4x3x4x2"}
    call: {y: "conv(x, w, stride)"}
  - name: strided
    layer: conv
    tensors: {x: "normal:2x3x10x8", w: "normal:4x3x5x5"}
    params: {stride: 2}
    call: {y: "conv(x, w, stride)"}
  - name: max
    layer: pool
    tensors: {x: "normal:2x3x10x8"}
    params: {kernel: 3, stride: 2, mode: max}
    call: {y: "pool(x, k, stride, 'max')"}
  - name: avg
    layer: pool
    tensors: {x: "normal:2x3x10x8"}
    params: {kernel: 3, stride: 2, mode: avg, count_include_pad: false}
    call: {y: "pool(x, k, stride, 'avg')"}
"""

SAME_FAULTS = (
    ("lower=False", "lower=True"),  # same-lower
    ("x.shape[2], KH, sh", "x.shape[2], KH, sh, lower=True"),
    ("x.shape[3], KW, sw", "x.shape[3], KW, sw, lower=True"),
    ("x.shape[2], k, sh", "x.shape[2], k, sh, lower=True"),
    ("x.shape[3], k, sw", "x.shape[3], k, sw, lower=True"),
    # As torch must: the larger number on both sides.
    ("(total // 2, total - total // 2)", "(total - total // 2, total - total // 2)"),
)
