"""Calls of layer commands and of gradcheck that must be refused, and what the message must say."""

from __future__ import annotations

from typing import Any

import pytest

X, W = "normal:2x3x5x4", "normal:4x3x3x2"
_HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 1000, 1000, 125), }"
TERABYTE = b"\x93NUMPY\x01\x00" + len(_HEADER).to_bytes(2, "little") + _HEADER
"""A .npy that claims a terabyte and holds nothing."""

DIGITS = "9" * 4301
"""More than Python reads as a number without complaint."""

CONV = ("conv", "--x", X, "--w", W)
POOL = ("pool", "--x", X)
PAD = ("pad", "--x", X)
BN = ("bn", "--x", X)


def bad(name: str, args: tuple[str, ...], *says: str, stdin: bytes = b"") -> Any:
    return pytest.param(args, says, stdin, id=name)


USAGE = [
    bad("unknown flag", (*CONV, "--strid", "2"), "conv has no option --strid (did", "--stride?)"),
    bad("unknown negative", (*CONV, "--no-shwo"), "--no-shwo (did you mean --no-show?)"),
    bad("flag like none", (*CONV, "--bogus"), "no option --bogus; cnncli conv -h lists"),
    bad("flag that would colour", (*CONV, "--\x1b[31m"), "'--\\x1b[31m'"),
    bad("unknown short flag", (*CONV, "-q"), "cnncli conv has no option -q; "),
    bad(
        "flag of the program", ("--versoin",), "cnncli has no option --versoin (did", "--version?)"
    ),
    bad("unknown command", ("cnov",), "no command 'cnov' (did you mean conv?)"),
    bad("command like none", ("foo",), "no command 'foo'; it has pad, conv, pool, bn, gradcheck"),
    bad("unknown layer", ("gradcheck", "pol"), "gradcheck has no command 'pol' (did you mean pool"),
    bad("a value for a switch", (*CONV, "--show=3"), "'--show'", "cnncli conv -h"),
    bad("flag of another layer", (*PAD, "-p", "1", "--w", W), "--w"),
    bad("probes of a layout", ("gradcheck", "conv", "--layout", "nhwc"), "--layout: the built-in"),
    bad("flag without its value", (*CONV, "--stride"), "--stride"),
    bad("surplus argument", (*CONV, "extra"), "cnncli conv: got", "extra"),
    bad("run without a path", ("run",), "PATH"),
    bad("gradcheck without a layer's name", ("gradcheck", "relu"), "relu"),
    bad("a .bin without a type", (*CONV, "--out", "y.bin"), "--out", "y.bin:float32"),
    bad("a .bin of no type", (*CONV, "--out", "y.bin:flaot16"), "--out", "float16?"),
    bad("a .bin of a shape", (*CONV, "--out", "y.bin:int8:2x3"), "--out", "'int8:2x3'"),
    bad("whole numbers of y", (*CONV, "--out", "y.bin:int8"), "--out", "int8 cannot hold"),
    bad("--out - with --json", (*CONV, "--out", "-", "--json"), "--json", "--out -"),
    bad("--quiet with --json", (*CONV, "--quiet", "--json"), "--json", "--quiet"),
    bad("--rtol with nothing to judge", (*CONV, "--rtol", "1"), "--rtol"),
    bad("--equal-nan with nothing to judge", (*CONV, "--equal-nan"), "--equal-nan"),
    bad("conv without x", ("conv", "--w", W), "conv needs x: --x normal:2x3x8x8 or a file"),
    bad("conv without w", ("conv", "--x", X), "conv needs w: --w"),
    bad("a kind as a call", ("pad", "-p", "1", "--x", "normal(1,1,4)"), "normal:1x1x4?"),
    bad("--tolerance 0", (*CONV, "--expect", "ones", "--tolerance", "0"), "--rtol 0", "no tol"),
    bad("--tolerance 1e-3", (*CONV, "--expect", "ones", "--tolerance", "1e-3"), "--rtol 1e-3"),
    bad("one --out for many probes", ("gradcheck", "pad", "--out", "y.npy"), "--out"),
]

PARAMETERS = [
    bad("stride with an underscore", (*CONV, "--stride", "1_0"), "--stride", "'1_0'"),
    bad("stride in other digits", (*CONV, "--stride", "\u0663"), "--stride", "must be whole"),
    bad("step with an underscore", ("gradcheck", *CONV, "--step", "1_0"), "--step", "'1_0'"),
    bad("step in other digits", ("gradcheck", *CONV, "--step", "\u0663"), "--step", "a number"),
    bad("stride of 4301 digits", (*CONV, "--stride", DIGITS), "--stride", "...", "must be"),
    bad("seed of 4301 digits", (*CONV, "--seed", DIGITS), "--seed", "..."),
    bad("step of 4301 digits", ("gradcheck", *CONV, "--step", DIGITS), "--step", "finite"),
    bad("plane of 4301 digits", (*CONV, "--show", "--plane", DIGITS), "--plane", "..."),
    bad("plane in other digits", (*CONV, "--show", "--plane", "0,\u0663"), "--plane", "0,2"),
    bad("threads of 4301 digits", (*CONV, "--threads", DIGITS), "--threads", "1024", "..."),
    bad("threads in other digits", (*CONV, "--threads", "\u0663"), "--threads", "1024"),
    bad("repeat of 4301 digits", ("bench", "--repeat", DIGITS), "--repeat", "..."),
    bad("repeat in other digits", ("bench", "--repeat", "\u0663"), "--repeat", "whole number"),
    bad("min-time with an underscore", ("bench", "--min-time", "0_1"), "--min-time", "seconds"),
    bad("max-memory in other digits", (*CONV, "--max-memory", "\u0663G"), "--max-memory"),
    bad("jobs of 4301 digits", ("run", "one.yaml", "--jobs", DIGITS), "--jobs", "..."),
    bad("timeout with an underscore", ("run", "one.yaml", "--timeout", "1_0"), "--timeout"),
    bad(
        "set to what is no UTF-8",
        ("run", "one.yaml", "--set", "tensors.x=\udcff"),
        *("--set", "tensors.x", "UTF-8"),
    ),
    bad("kernel written as a shape", (*POOL, "--kernel", "2x2"), "--kernel", "write 2,2"),
    bad("stride 0", (*CONV, "--stride", "0"), "--stride", "at least 1", "is 0"),
    bad("stride of text", (*CONV, "--stride", "two"), "--stride", "'two'"),
    bad("stride of a fraction", (*CONV, "--stride", "1.5"), "--stride", "'1.5'"),
    bad("stride of three axes", (*CONV, "--stride", "1,2,3"), "--stride", "3 numbers", "2 spatial"),
    bad("stride with a hole", (*CONV, "--stride", "1,,2"), "--stride"),
    bad("stride beyond any axis", (*CONV, "--stride", "9" * 20), "--stride", "2147483647"),
    bad("negative dilation", (*CONV, "--dilation", "-1"), "--dilation", "at least 1", "is -1"),
    bad("groups 0", (*CONV, "--groups", "0"), "--groups", "at least 1", "is 0"),
    bad("groups against channels", (*CONV, "--groups", "2"), "--groups", "2 does not", "3 channel"),
    bad(
        "groups against filters",
        ("conv", "--x", X, "--w", "normal:4x1x3x2", "--groups", "3"),
        *("--groups", "3 does not divide", "4 filters"),
    ),
    bad("negative padding in conv", (*CONV, "-p", "-1"), "--padding", "is -1", "only `pad` crops"),
    bad(
        "four numbers of padding for two axes",
        (*CONV, "--padding", "1,0,2,1"),
        *("--padding", "4 numbers", "2 spatial axes", "1:2,0:1", "2:1,1:0"),
    ),
    bad("three pairs for two axes", (*CONV, "-p", "1:1,1:1,1:1"), "--padding", "3 pairs", "2 spat"),
    bad("a pair of three", (*CONV, "-p", "1:2:3"), "--padding", "this has 3"),
    bad("pairs mixed with numbers", (*CONV, "-p", "1:2,3"), "--padding", "mixes"),
    bad("an unknown word of padding", (*CONV, "-p", "full"), "--padding", "'full'", "same-lower"),
    bad("same in pad", (*PAD, "-p", "same"), "--padding", "'same'"),
    bad("pad without padding", PAD, "--padding"),
    bad("pool without kernel", POOL, "--kernel"),
    bad("an unknown mode", (*POOL, "-k", "2", "--mode", "min"), "--mode", "'min'", "max, avg"),
    bad("eps below 0", (*BN, "--eps", "-1"), "--eps", "at least 0", "is -1"),
    bad("eps not a number", (*BN, "--eps", "nan"), "--eps", "nan"),
    bad("eps of text", (*BN, "--eps", "small"), "--eps", "'small'"),
    bad("seed below 0", (*CONV, "--seed", "-1"), "--seed", "at least 0", "is -1"),
    bad("seed beyond legacy", (*CONV, "--seed", "4294967296", "--rng", "legacy"), "4294967296"),
    bad("an unknown rng", (*CONV, "--rng", "mt"), "--rng", "'mt'", "pcg64"),
    bad("an unknown dtype", (*CONV, "--dtype", "float16"), "--dtype", "'float16'", "float32"),
    bad("a size of memory", (*CONV, "--max-memory", "lots"), "--max-memory", "'lots'"),
    bad("no memory", (*CONV, "--max-memory", "0"), "--max-memory", "0"),
    bad("too little memory", (*CONV, "--max-memory", "1k"), "--max-memory", "1.0 KiB", "needs up"),
    bad("rtol below 0", (*CONV, "--expect", "zeros", "--rtol", "-1"), "--rtol", "is -1"),
    bad("rtol not a number", (*CONV, "--expect", "zeros", "--rtol", "nan"), "--rtol", "nan"),
    bad("rtol infinite", (*CONV, "--expect", "zeros", "--rtol", "inf"), "--rtol", "inf"),
    bad("atol of text", (*CONV, "--expect", "zeros", "--atol", "tiny"), "--atol", "'tiny'"),
    bad("step 0", ("gradcheck", *PAD, "-p", "1", "--step", "0"), "--step", "above 0", "is 0"),
    bad("step infinite", ("gradcheck", *PAD, "-p", "1", "--step", "inf"), "--step", "inf"),
    bad("no elements", ("gradcheck", *PAD, "-p", "1", "--elements", "0"), "--elements", "is 0"),
    bad("wrt of an unknown", ("gradcheck", *PAD, "-p", "1", "--wrt", "w"), "--wrt", "'w'", "x"),
]

DOES_NOT_APPLY = [
    bad("--call without --against", (*CONV, "--call", "y=f(x)"), "--call", "--against FILE.py"),
    bad("--call of a library", (*CONV, "--against", "loops", "--call", "y=f(x)"), "--call"),
    bad(
        "--call without --against in gradcheck",
        ("gradcheck", *CONV, "--call", "dx=nonsense(dy)"),
        *("--call", "--against FILE.py"),
    ),
    bad("--run-all without --against", (*CONV, "--run-all"), "--run-all", "--against FILE.py"),
    bad("--run-all of the probes", ("gradcheck", "bn", "--run-all"), "--run-all"),
    bad("--tolerance with nothing to judge", (*CONV, "--tolerance", "derived"), "--tolerance: "),
    bad("--show with --json", (*CONV, "--show", "--json"), "--show", "--json"),
    bad("--plane with --quiet", (*CONV, "--plane", "0,0", "--quiet"), "--plane", "--quiet"),
    bad("--values with --out -", (*CONV, "--values", "--out", "-"), "--values", "--out -"),
    bad(
        "--explain with --quiet",
        ("gradcheck", *CONV, "--explain", "0,0,0,0", "--quiet"),
        *("--explain", "--quiet"),
    ),
    *(
        bad(f"{flag} with --as", (*CONV, "--as", "torch", flag, *value), flag, "--as", "no use")
        for flag, *value in [
            *(("--call", "y=f(x)"), ("--run-all",), ("--rtol", "0"), ("--show",)),
            *(("--explain", "0,0,0,0"), ("--save-config", "c.yaml"), ("--threads", "1")),
        ]
    ),
    bad("--seed of files", ("compare", "x.npy", "x.npy", "--seed", "3"), "--seed", "x.npy"),
    bad("--tensor of files", ("compare", "x.npy", "--tensor", "dx"), "--tensor", "x.npy"),
    bad("--show of compare with --json", ("compare", "x.npy", "--show", "--json"), "--show"),
    bad("--values of run without JSON", ("run", "one.yaml", "--values"), "--values", "--results"),
    bad("value of reflect", (*PAD, "-p", "1", "--mode", "reflect", "--value", "0"), "--value"),
    bad(
        "count_include_pad of max, though the default",
        (*POOL, "-k", "2", "--count-include-pad"),
        *("--count-include-pad", "max pooling"),
    ),
    bad(
        "--no-count-include-pad of max",
        (*POOL, "-k", "2", "--no-count-include-pad"),
        "--no-count-include-pad",
    ),
    bad("stride of global", (*POOL, "-k", "global", "-s", "1"), "--stride", "global"),
    bad("output padding, though 0", (*CONV, "--output-padding", "0"), "--output-padding"),
    bad("momentum without running statistics", (*BN, "--momentum", "0.1"), "--momentum"),
    bad("--no-backward of gradcheck", ("gradcheck", *PAD, "-p", "1", "--no-backward"), "backward"),
    bad(
        "--no-backward with dy",
        (*CONV, "--no-backward", "--dy", "normal"),
        *("--no-backward", "dy is given"),
    ),
    bad(
        "--no-backward of an expected gradient",
        (*CONV, "--no-backward", "--expect", "dx=zeros"),
        *("--no-backward", "dx"),
    ),
]

GEOMETRY = [
    bad("x of two axes", ("pad", "--x", "normal:3x4", "-p", "1"), "3 to 5 axes", "has 2"),
    bad("x of six axes", ("pad", "--x", "normal:2x3x4x5x6x7", "-p", "1"), "3 to 5 axes", "has 6"),
    bad("w of other axes", ("conv", "--x", X, "--w", "normal:4x3x3"), "w", "axes as x, 4", "has 3"),
    bad("w of other channels", ("conv", "--x", X, "--w", "normal:4x2x3x2"), "w", "2 channels", "3"),
    bad(
        "transposed w of other channels",
        ("conv", "--x", X, "--w", "normal:4x3x3x2", "--transposed"),
        *("transposed w", "for 4 channels", "x has 3"),
    ),
    bad("window above x", ("conv", "--x", X, "--w", "normal:4x3x6x2"), "covers 6", "only 5"),
    bad("dilated window above x", (*CONV, "-d", "3"), "covers 7", "dilation 3", "only 5"),
    bad("window above padded x", (*POOL, "-k", "9", "-p", "1"), "covers 9", "7 (1+5+1)"),
    bad("empty max window before x", (*POOL, "-k", "2", "-p", "2", "-s", "1"), "--padding", "of 2"),
    bad(
        "empty max window by dilation",
        ("pool", "--x", "normal:1x1x1x1", "-k", "2", "-d", "2", "-p", "1"),
        *("--padding", "padding alone"),
    ),
    bad(
        "empty average window that counts no padding",
        (*POOL, "-k", "2", "-p", "2", "-s", "1", "--mode", "avg", "--no-count-include-pad"),
        *("--padding", "padding alone"),
    ),
    bad("all cropped", (*PAD, "-p", "-3,0"), "--padding", "-3:-3", "all 5 rows"),
    bad("reflect of too few rows", (*PAD, "-p", "5,0", "--mode", "reflect"), "--padding", "is 4"),
    bad("circular of too few", (*PAD, "-p", "0,5", "--mode", "circular"), "5 along W", "is 4"),
    bad("b of another size", (*CONV, "--b", "normal:3"), "b must be 4", "but is 3"),
    bad("dy of another shape", (*CONV, "--dy", "ones:2x4x3x4"), "dy must be 2x4x3x3", "is 2x4x3x4"),
    bad("gamma of another size", (*BN, "--gamma", "ones:4"), "gamma must be 3", "but is 4"),
    bad(
        "output padding of the stride",
        ("conv", "--x", X, "--w", "normal:3x4x3x2", "--transposed", "--output-padding", "1"),
        *("--output-padding", "1 must be smaller", "stride 1"),
    ),
    bad(
        "transposed output all cropped",
        ("conv", "--x", "normal:2x3x1x1", "--w", "normal:3x4x2x2", "--transposed", "-p", "1"),
        *("--padding", "1+1", "all 2 rows"),
    ),
    bad("inference without statistics", (*BN, "--inference"), "--inference", "running_mean"),
    bad("one running statistic", (*BN, "--running-mean", "zeros:3"), "running_mean", "running_var"),
    bad(
        "one value for an unbiased variance",
        (
            *("bn", "--x", "normal:1x3x1x1", "--training"),
            *("--running-mean", "zeros", "--running-var", "ones"),
        ),
        *("N*H*W - 1", "is 1"),
    ),
    bad(
        "negative running variance",
        (*BN, "--running-mean", "zeros", "--running-var", "arange,zero_extend=3"),
        "--running-var",
    ),
]

TENSORS = [
    bad("no x", ("conv", "--w", W), "needs x: --x", "normal:2x3x8x8"),
    bad("no w", ("conv", "--x", X), "needs w: --w"),
    bad("x taken away", (*CONV, "--x", "none"), "needs x: --x"),
    bad("x without a shape", ("conv", "--x", "normal", "--w", W), "x needs a shape"),
    bad("empty text", ("pad", "-p", "1", "--x", ""), "--x", "empty"),
    bad("misspelt kind", ("pad", "-p", "1", "--x", "norml:2x3x4x5"), "--x", "normal:2x3x4x5"),
    bad("shape without kind", ("pad", "-p", "1", "--x", "2x3x4x5"), "--x", "normal:2x3x4x5"),
    bad("shape with commas", ("pad", "-p", "1", "--x", "normal:2,3,4,5"), "--x", "2x3x4x5"),
    bad("size 0", ("pad", "-p", "1", "--x", "normal:2x0x4x5"), "--x", "has 0"),
    bad("a shape too large", ("pad", "-p", "1", "--x", "ones:" + "x".join(["9" * 9] * 4)), "--x"),
    bad("more than memory", ("pad", "-p", "1", "--x", "ones:9000x9000x900x900"), "free memory"),
    bad(
        "more than memory, expected",
        (*CONV, "--expect", "normal:9000x9000x900x900"),
        "free memory",
    ),
    bad("unknown option of a kind", (*PAD, "-p", "1", "--x", X + ",scael=2"), "--x", "scale"),
    bad("option twice", ("pad", "-p", "1", "--x", X + ",loc=1,loc=2"), "--x", "loc", "twice"),
    bad("option not finite", ("pad", "-p", "1", "--x", X + ",loc=inf"), "--x", "loc", "'inf'"),
    bad("negative scale", ("pad", "-p", "1", "--x", X + ",scale=-1"), "--x", "scale", "is -1"),
    bad(
        "low above high",
        ("pad", "-p", "1", "--x", "integers:1x1x2x2,low=5"),
        "low is 5",
        "high is 4",
    ),
    bad("no file", ("pad", "-p", "1", "--x", "absent.npy"), "--x", "absent.npy", "no such file"),
    bad("a folder", ("pad", "-p", "1", "--x", "folder"), "--x", "folder"),
    bad("text for a .npy", ("pad", "-p", "1", "--x", "text.npy"), "--x", "text.npy", "not a .npy"),
    bad("an empty .npy", ("pad", "-p", "1", "--x", "empty.npy"), "--x", "empty.npy", "nothing"),
    bad(
        "a .npy cut short", ("pad", "-p", "1", "--x", "short.npy"), "--x", "short.npy", "960", "950"
    ),
    bad(
        "a .npy of objects",
        ("pad", "-p", "1", "--x", "objects.npy"),
        "--x",
        "objects.npy",
        "object",
    ),
    bad("complex numbers", ("pad", "-p", "1", "--x", "complex.npy"), "--x", "complex128"),
    bad("1 TB", ("pad", "-p", "1", "--x", "terabyte.npy"), "--x", "terabyte.npy"),
    bad("1 TB to conv", ("conv", "--x", X, "--w", "terabyte.npy"), "--w", "terabyte.npy"),
    bad("1 TB expected", (*CONV, "--expect", "terabyte.npy"), "--expect", "terabyte.npy"),
    bad(
        "1 TB on standard input",
        ("pad", "-p", "1", "--x", "-"),
        "free memory",
        stdin=TERABYTE,
    ),
    bad(".npz without a key", ("pad", "-p", "1", "--x", "b.npz"), "--x", "b.npz", "images"),
    bad(".npz with a misspelt key", ("pad", "-p", "1", "--x", "b.npz:image"), "--x", "images"),
    bad(".npz that is a .npy", ("pad", "-p", "1", "--x", "fake.npz:x"), "--x", "fake.npz"),
    bad(".bin without a type", ("pad", "-p", "1", "--x", "raw.bin"), "--x", "raw.bin", "float32"),
    bad(
        ".bin of another length",
        ("pad", "-p", "1", "--x", "raw.bin:float32:1x1x2x2"),
        *("--x", "raw.bin", "16", "20"),
    ),
    bad(
        ".bin of an unknown type", ("pad", "-p", "1", "--x", "raw.bin:float8:5"), "--x", "'float8'"
    ),
    bad("standard input twice", ("conv", "--x", "-", "--w", "-"), "x and w", "standard input"),
    bad(
        "standard input expected twice",
        (*CONV, "--expect", "-", "--expect", "-"),
        *("--expect", "standard input", "one tensor"),
    ),
    bad("nothing on standard input", ("pad", "-p", "1", "--x", "-"), "--x", "standard input"),
    bad(
        "rubbish on standard input",
        ("pad", "-p", "1", "--x", "-"),
        *("--x", "standard input", "not a .npy"),
        stdin=b"hello world",
    ),
    bad(
        "a value beyond a float32",
        ("pad", "-p", "1", "--x", X, "--dtype", "float32", "--value", "1e39"),
        "value 1e+39 cannot stand in x, whose float32 ends at 3.40282e+38",
    ),
    bad(
        "a value that whole numbers cannot hold",
        ("pad", "-p", "1", "--x", "whole.npy", "--value", "0.5"),
        *("0.5", "int64"),
    ),
    bad("--tensors of nothing", ("pad", "-p", "1", "--tensors", "absent"), "--tensors", "absent"),
    bad("--tensors of a file", ("pad", "-p", "1", "--tensors", "x.npy"), "--tensors", "x.npy"),
    bad("--tensors of an empty folder", ("pad", "-p", "1", "--tensors", "folder"), "--tensors"),
    bad(
        "--tensors of another layer",
        ("pad", "-p", "1", "--tensors", "b.npz"),
        "--tensors",
        "images",
    ),
]

EXPECTED = [
    bad("expect of an unknown tensor", (*CONV, "--expect", "z=zeros"), "--expect", "'z'"),
    bad("expect of no file", (*CONV, "--expect", "absent.npy"), "--expect", "absent.npy"),
    bad("expect of no tensor", (*CONV, "--expect", "y=none"), "--expect", "none"),
    bad("db without a bias", (*CONV, "--expect", "db=zeros"), "--expect", "--b"),
    bad(
        "indices of a mean", (*POOL, "-k", "2", "--mode", "avg", "--expect", "indices=zeros"), "max"
    ),
    bad("dy without backward", (*CONV, "--expect", "dy=zeros"), "--expect", "backward"),
    bad("an empty folder expected", (*CONV, "--expect", "folder"), "--expect", "folder"),
]

PLACES = [
    bad("--out in no folder", (*CONV, "--out", "absent/y.npy"), "--out", "absent/y.npy"),
    bad("--out on a folder", (*CONV, "--out", "folder"), "--out", "folder"),
    bad("--save on a file", (*CONV, "--save", "x.npy"), "--save", "x.npy"),
    bad("--save over a folder result.json", (*CONV, "--save", "blocked"), "--save", "result.json"),
]

CONFIGS = [
    bad("a line end in a name", ("pad", "--config", "a\nerror: b.yaml"), r"a\nerror: b.yaml"),
    bad("a line end in a tensor's name", ("pad", "-p", "1", "--x", "a\nb.npy"), r"a\nb.npy"),
    bad("no config", ("conv", "--config", "absent.yaml"), "absent.yaml", "No such file"),
    bad("config of several cases", ("pad", "--config", "two.yaml"), "two.yaml", "2 cases", "two#1"),
    bad("config without that case", ("pad", "--config", "two.yaml::two#3"), "two#3", "two#2"),
    bad("config of another layer", ("pool", "--config", "one.yaml"), "one.yaml:1:8", "pad", "pool"),
    bad("flag over config", ("pad", "--config", "one.yaml", "-p", "-9"), "--padding", "-9:-9", "5"),
]

LAYER_CALLS = [
    *USAGE,
    *PARAMETERS,
    *DOES_NOT_APPLY,
    *GEOMETRY,
    *TENSORS,
    *EXPECTED,
    *PLACES,
    *CONFIGS,
]
