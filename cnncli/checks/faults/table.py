"""The table of named faults: what diagnosis compares a wrong tensor with.

To add one: a row here, and a function of the fault bench: the tensor with that one fault.
The columns: name, layers, tensors, what it means ({t} is the tensor), what to look at, how to make.
"""

from __future__ import annotations

from typing import Any

from cnncli.checks.faults import batchnorm as bn
from cnncli.checks.faults import common, conv, pool
from cnncli.checks.faults.faultbench import Fault

ANY = "conv pool bn pad"
WINDOWS = "conv pool"
PER_CHANNEL = "dgamma dbeta"
CONV = "y dx dw"
STEP = "check the loop that steps over the output"


def _factors() -> list[Fault]:
    """Return the rows of constant factors and their reciprocals."""
    of = {
        "2": "look for a sum that is counted twice, or the derivative of a square",
        "N": "look for a mean over the batch that should be a sum, or a sum taken twice",
        "C": "look for a sum or mean over the channels that does not belong",
        "OH*OW": "look for a mean over the plane that should be a sum, or a sum repeated",
        "N*OH*OW": "look for a mean over everything that should be a sum",
        "KH*KW": "look for a mean over the window, or a sum over it that is repeated",
    }
    rows = [
        Fault("negated", ANY, EVERY, "{t} has the wrong sign", "look for a minus", common.negated)
    ]
    for what, look in of.items():
        layers = WINDOWS if what == "KH*KW" else ANY
        text = f"{{t}} is {what} times too large"
        rows.append(Fault(f"times {what}", layers, EVERY, text, look, common.times(what)))
        text = f"{{t}} is {what} times too small"
        rows.append(Fault(f"over {what}", layers, EVERY, text, look, common.over(what)))
    return rows


EVERY = "y dx dw db dgamma dbeta new_running_mean new_running_var"
GRADIENTS = "dx dw db dgamma dbeta"
# fmt: off
ROWS: tuple[tuple[Any, ...], ...] = (
    # nothing: the plain cause goes first, others may give zeros too
    ("zero", ANY, EVERY, "{t} is all zero: never computed", "check that {t} is written, and to the right array", common.zero),
    # axes and memory
    ("dy swapped", WINDOWS, "dx dw", "{t} is right for dy with its H and W axes swapped", "check the order of the loop indices on dy", common.dy_swapped),
    ("dy transposed in memory", WINDOWS, "dx dw", "{t} is right for dy whose memory was read as (N, F, OW, OH)", "check the shape that dy is reshaped to", common.dy_transposed_in_memory),
    ("H and W swapped", ANY, "y dx", "{t} has its H and W axes swapped", "check the order of the indices where {t} is written", common.result_swapped),
    ("x swapped", ANY, "y", "{t} is right for x whose memory was read as (N, C, W, H)", "check the shape that x is reshaped to", common.x_swapped),
    ("turned round", ANY, "y dx", "{t} is turned round: flipped along every spatial axis", "check for a [::-1] on the result", common.rotated),
    ("reshaped", ANY, "y dx dw", "{t} was reshaped where two axes should be transposed", "use transpose (or swapaxes) in place of reshape", common.reshaped),
    ("first axes exchanged", ANY, "y dx", "{t} has its first two axes exchanged", "check the transpose before {t} is returned", common.axes_exchanged),
    ("channels last", ANY, "y dx dw", "{t} is channels-last (NHWC), or read so", "move the channels: NCHW is np.moveaxis(a, -1, 1)", common.channels_last_out),
    ("x channels last", ANY, "y dw", "{t} is right for x whose NHWC memory was read as NCHW", "move x's channels, do not reshape: np.moveaxis(x, -1, 1)", common.channels_last_in),
    # samples, channels
    ("one sample", ANY, "y dx", "{t} is right in one sample and zero in the others", "check the loop over N", common.one_sample_only),
    ("sample repeated", ANY, "y dx", "{t} holds one sample's result for all", "check the index of the sample", common.first_sample_repeated),
    ("one channel", ANY, "y dx", "{t} is right in one channel and zero in the others", "check the loop over channels", common.one_channel_only),
    ("sum over N missing", ANY, "dw db dgamma dbeta", "{t} lacks the sum over the samples", "add up over N: += in the loop over samples, or axis 0 in the sum", common.one_sample_summed),
    ("last row missing", WINDOWS, GRADIENTS, "{t} leaves out the last row or column of dy", "check where the loops over OH and OW end", common.last_row_missing),
    ("bias axes", "conv", "db", "{t} is dy summed over the wrong axes", "sum over all axes but the channels': dy.sum(axis=(0, 2, 3))", common.bias_axes),
    # dy
    ("dy ignored", ANY, GRADIENTS, "{t} is right for a dy of ones: dy is ignored", "multiply with dy", common.dy_ignored),
    ("dy averaged", ANY, GRADIENTS, "{t} is right for dy replaced by its mean", "use every element of dy, not its mean", common.dy_constant),
    # convolution
    ("kernel flipped", "conv", CONV, "{t} is right for a flipped kernel: convolution in place of correlation, or the reverse", "check for [::-1] on the kernel, or convolve2d in place of correlate2d", conv.flipped),
    ("C and F swapped", "conv", CONV, "{t} has w's C and F axes swapped", "check the first two axes of w", conv.filters_swapped),
    ("kernel axes swapped", "conv", CONV, "{t} has KH and KW swapped", "check the order of the kernel's loop indices", conv.kernel_axes_swapped),
    ("crop missing", "conv", "dx", "{t} still has its padding: it is the gradient of the padded x", "cut the padding off: dx[:, :, ph:-ph, pw:-pw], unless it is 0", conv.crop_missing),
    ("crop shifted", "conv", "dx", "{t} was cut out of the padded gradient at the wrong place", "start at the padding before: dx[:, :, ph:ph+H, pw:pw+W]", conv.crop_shifted),
    ("padding ignored", "conv", CONV, "{t} is computed as if there were no padding", "pad x (or shift the index by the padding) here too", conv.padding_ignored),
    ("pads exchanged", "conv", CONV, "{t} has the padding before and after exchanged, as same and same-lower have", "check which end of the axis gets which number (the odd row of `same`)", conv.pads_exchanged),
    ("pads of the other axis", "conv", CONV, "{t} has H's padding on W and W's on H", "check the order of the padding's numbers", conv.pads_of_other_axis),
    ("strides exchanged", "conv", CONV, "{t} has the strides of H and W exchanged", "check which stride each loop index is multiplied with", conv.strides_exchanged),
    ("stride ignored", "conv", "dx dw", "{t} is computed as if the stride were 1", "multiply the output's index with the stride here too", conv.stride_ignored),
    ("dilation ignored", "conv", CONV, "{t} is computed as if the dilation were 1", "multiply the kernel's index with the dilation", conv.dilation_ignored),
    ("dilations exchanged", "conv", CONV, "{t} has the dilations of H and W exchanged", "check which dilation each kernel index is multiplied with", conv.dilations_exchanged),
    ("remainder rows", WINDOWS, CONV, "{t} has the rows that no window reaches cut off, or at the start", "make dx of x's own shape, and start windows at its first row", conv.remainder),
    ("overwritten", "conv", "dx", "{t} has overlapping windows written over each other, not added", "use += in place of = where windows overlap", conv.overwritten),
    ("one filter", "conv", "dx", "{t} lacks the sum over the filters", "add up over F: += in the loop over filters", conv.one_filter),
    ("one window", "conv", "dw db", "{t} holds one window's part: assigned, not added up", "use += in the loops over windows", conv.one_window),
    ("one input channel", "conv", "y", "{t} lacks the sum over x's channels", "add up over C", conv.one_channel_summed),
    ("groups ignored", "conv", CONV, "{t} has every filter read the first group's channels", "group g has channels g*C/G to (g+1)*C/G", conv.groups_ignored),
    ("groups interleaved", "conv", CONV, "{t} takes every G-th channel for a group, not runs of channels", "group g has channels g*C/G to (g+1)*C/G", conv.groups_interleaved),
    ("edge for zero padding", "conv", "y dw", "{t} is right for x padded with its edge, not with zeros", "pad with zeros", conv.unpadded_x),
    ("bias missing", "conv", "y", "{t} lacks the bias b", "add b[f] to filter f's output", conv.bias_missing),
    ("bias repeated", "conv", "y", "{t} has the bias b added too often, or subtracted", "add b once, outside the loop over channels", conv.bias_twice),
    # pooling
    ("ties all paid", "pool", "dx", "{t} pays every tied maximum the window's whole dy", "pay one of them (argmax), not all that equal the maximum", pool.all_maxima_paid),
    ("ties shared", "pool", "dx", "{t} shares dy among a window's tied maxima; ours pays the first", "pay one of them: argmax takes the first", pool.ties_shared),
    ("last of the tied", "pool", "dx", "{t} pays the last of a window's tied maxima; ours pays the first", "seek the maximum with >, not >=", pool.last_tied),
    ("overwritten", "pool", "dx", "{t} has overlapping windows written over each other, not added", "use += in place of = where windows overlap", pool.overwritten),
    ("winner in the padding", "pool", "y dx", "{t} lets padding win: zeros beat negative elements", "pad with minus infinity, or keep windows inside", pool.padding_wins),
    ("other mode", "pool", "y dx", "{t} is that of the other mode: mean for maximum, or the reverse", "check the mode", pool.other_mode),
    ("from zero", "pool", "y", "{t} is never below zero: each maximum started at 0", "start at -inf, or at the window's first element", pool.from_zero),
    ("minimum", "pool", "y dx", "{t} is that of the minimum, not the maximum", "check argmin against argmax, < against >", pool.least),
    ("divisor", "pool", "y dx", "{t} divides by another count: padding in or out, or always the kernel's size", "check count_include_pad, and windows that reach into the padding", pool.divisor),
    ("divisor missing", "pool", "y dx", "{t} is that of a sum: not divided by the window's size", "divide by the number of elements in the window", pool.divisor_missing),
    ("stride is the kernel", "pool", "dx", "{t} is computed as if windows lay a kernel apart", "multiply the output's index with the stride, not the kernel's size", pool.stride_is_kernel),
    ("kernel exchanged", "pool", "dx", "{t} has KH and KW exchanged", "check the order of the kernel's numbers", pool.kernel_exchanged),
    ("first element", "pool", "dx", "{t} pays each window's first element, whatever it holds", "find the maximum's place (argmax) in each window", pool.first_element),
    ("stride ignored", "pool", "dx", "{t} is computed as if the stride were 1", "multiply the output's index with the stride here too", conv.stride_ignored),
    ("strides exchanged", "pool", "y dx", "{t} has the strides of H and W exchanged", "check which stride each loop index is multiplied with", conv.strides_exchanged),
    ("dilation ignored", "pool", "y dx", "{t} is computed as if the dilation were 1", "multiply the kernel's index with the dilation", conv.dilation_ignored),
    ("padding ignored", "pool", "y dx", "{t} is computed as if there were no padding", "shift the index by the padding before", conv.padding_ignored),
    ("pads exchanged", "pool", "y dx", "{t} has the padding before and after exchanged, as same and same-lower have", "check which end of the axis gets which number (the odd row of `same`)", conv.pads_exchanged),
    # batch normalisation
    ("mean term missing", "bn", "dx", "{t} lacks the part that goes through the mean", "subtract the mean of dy (times gamma)", bn.mean_term_missing),
    ("variance term missing", "bn", "dx", "{t} lacks the part that goes through the variance", "subtract xhat * mean(dy * xhat)", bn.var_term_missing),
    ("statistics constant", "bn", "dx", "{t} takes mean and variance for constants", "differentiate through both: they depend on x", bn.statistics_constant),
    ("divided by N", "bn", "dx", "{t} averages over N, not over N*H*W", "the means of dx are over N, H and W", bn.divided_by_n),
    ("divided by H*W", "bn", "dx", "{t} averages over H*W, not over N*H*W", "the means of dx are over N, H and W", bn.divided_by_plane),
    ("means not divided", "bn", "dx", "{t} has sums where means belong", "divide the sums by N*H*W", bn.means_not_divided),
    ("gamma forgotten", "bn", "y dx", "{t} lacks gamma", "multiply with gamma", bn.gamma_forgotten),
    ("gamma twice", "bn", "y dx", "{t} has gamma applied twice", "multiply with gamma once", bn.gamma_twice),
    ("1/var for 1/sigma", "bn", "y dx dgamma", "{t} divides by the variance in place of the deviation", "take the square root of var + eps", bn.var_for_sigma),
    ("std for var", "bn", "y dx dgamma", "{t} takes the deviation for the variance: sqrt(std + eps)", "sqrt(var + eps): X.var, not X.std, under the root", bn.std_for_var),
    ("sigma missing", "bn", "y dx dgamma", "{t} is not divided by the deviation", "divide by sqrt(var + eps)", bn.sigma_missing),
    ("variance with ddof 1", "bn", "y dx dgamma", "{t} normalises with the unbiased variance, divided by m - 1", "normalisation divides by m = N*H*W (ddof=0)", bn.unbiased),
    ("eps 1e-5", "bn", "y dx dgamma", "{t} is right for eps 1e-5, torch's and ONNX's", "check eps; --eps", bn.eps_is(1e-5)),
    ("eps 1e-3", "bn", "y dx dgamma", "{t} is right for eps 1e-3, Keras's", "check eps; --eps", bn.eps_is(1e-3)),
    ("eps missing", "bn", "y dx dgamma", "{t} is right for eps 0", "add eps to the variance", bn.eps_is(0.0)),
    ("eps outside the root", "bn", "y dx dgamma", "{t} adds eps to the deviation, outside the root", "sqrt(var + eps), not sqrt(var) + eps", bn.eps_outside),
    ("statistics per sample", "bn", "y dx dgamma", "{t} has statistics of each sample over C, H, W (layer normalisation)", "mean and variance are over N, H and W", bn.per_sample),
    ("statistics over N alone", "bn", "y dgamma", "{t} has statistics over N alone", "mean and variance are over N, H and W", bn.over_n_alone),
    ("statistics over H and W alone", "bn", "y dgamma", "{t} has statistics of each plane (instance normalisation)", "mean and variance are over N, H and W", bn.over_plane_alone),
    ("other statistics", "bn", "y dx dgamma", "{t} uses the batch's statistics in inference, or the running ones in training", "check training against inference", bn.other_statistics),
    ("beta missing", "bn", "y", "{t} lacks beta", "add beta", bn.beta_missing),
    ("gamma and beta exchanged", "bn", "y dgamma dbeta", "{t} has gamma and beta exchanged", "check the order of the arguments", bn.roles_exchanged),
    ("mean not subtracted", "bn", "y dgamma", "{t} is not centred: x in place of x - mean", "subtract the mean", bn.mean_not_subtracted),
    ("x for xhat", "bn", "dgamma", "{t} is the sum of dy * x, not of dy * xhat", "use the normalised x", bn.raw_x),
    ("y for xhat", "bn", "dgamma", "{t} is the sum of dy * y, not of dy * xhat", "use the normalised x, before gamma and beta", bn.y_for_hat),
    ("times gamma", "bn", PER_CHANNEL, "{t} is multiplied with gamma", "gamma is no part of {t}", bn.times_gamma),
    ("wrong axes", "bn", PER_CHANNEL, "{t} is summed over the wrong axes", "sum over N, H and W: axis=(0, 2, 3)", bn.wrong_axes),
    ("momentum reversed", "bn", "new_running_mean new_running_var", "{t} weighs old and new the other way round", "torch's momentum weighs the new value, ONNX's and Keras's the old", bn.momentum_reversed),
    ("other running variance", "bn", "new_running_var", "{t} has the biased variance where the unbiased belongs, or the reverse", "torch: m - 1; ONNX and Keras: m", bn.other_running_variance),
    ("not updated", "bn", "new_running_mean new_running_var", "{t} is the old running value, or the batch's alone", "mix old and new by the momentum", bn.not_updated),
    ("deviation for variance", "bn", "new_running_var", "{t} is of the deviation, not of the variance", "do not take the root: X.var, not X.std", bn.deviation_for_variance),
    # padding
    ("not cropped", "pad", "dx", "{t} is dy itself: the border is still on", "cut the border off", pool.pad_not_cropped),
    ("crop shifted", "pad", "dx", "{t} was cut out of dy at the wrong place", "start at the padding before", pool.pad_shifted),
    ("border dropped", "pad", "dx", "{t} lacks what the border's copies give back", "add dy of the border to the elements that it copies", pool.pad_border_dropped),
    ("border not zero", "pad", "y dx", "{t} is that of mode replicate", "check the mode", pool.pad_other_mode("replicate")),
    ("reflected", "pad", "y dx", "{t} is that of mode reflect, which leaves the edge out", "check the mode: reflect leaves the edge out, symmetric repeats it", pool.pad_other_mode("reflect")),
    ("mirrored with the edge", "pad", "y dx", "{t} is that of mode symmetric, which repeats the edge", "check the mode: reflect leaves the edge out, symmetric repeats it", pool.pad_other_mode("symmetric")),
    ("wrapped", "pad", "y dx", "{t} is that of mode circular", "check the mode", pool.pad_other_mode("circular")),
    ("zeros around", "pad", "y", "{t} is that of mode constant", "check the mode", pool.pad_other_mode("constant")),
    ("pads exchanged", "pad", "y dx", "{t} has the rows before and after exchanged", "check which end gets which number", pool.pads_exchanged),
    ("pads of the other axis", "pad", "y dx", "{t} has H's padding on W and W's on H", "torch's F.pad takes the last axis first, ONNX all befores first", pool.pads_of_other_axis),
    ("other value", "pad", "y", "{t} has another value in the border", "check --value", pool.pad_value),
)
# fmt: on
FAULTS: tuple[Fault, ...] = (*(Fault(*row) for row in ROWS), *_factors())
