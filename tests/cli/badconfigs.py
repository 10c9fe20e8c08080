"""Configs that `run` must refuse, and what the message must say."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = 'layer: pad\nparams: {padding: 1}\ntensors: {x: "normal:2x3x5x4"}\n'
"""A sound config of three lines, to which one fault is added in line 4."""


def bad(name: str, text: str | bytes, *says: str) -> Any:
    raw = text.encode() if isinstance(text, str) else text
    return pytest.param(raw, says, id=name)


def exploding() -> str:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    return "\n".join(lines)


YAML = [
    bad("empty", "", "c.yaml", "empty"),
    bad("only a comment", "# nothing\n", "c.yaml", "empty"),
    bad("not UTF-8", b"layer: pad\nname: \xff\xfe\n", "c.yaml:2", "UTF-8"),
    bad("a NUL", "layer: \0", "c.yaml", "not YAML"),
    bad("not YAML", "layer: [pad\nparams: {", "c.yaml:2", "not YAML"),
    bad("a tab for a space", "params:\n\tpadding: 1", "c.yaml:2", "not YAML"),
    bad("a list", "- layer: pad", "c.yaml:1:1", "mapping", "a list"),
    bad("a word", "pad", "c.yaml:1:1", "mapping", "'pad'"),
    bad("two documents", HEAD + "---\n" + HEAD, "c.yaml:4:1", "one YAML document"),
    bad("a tag", HEAD + "name: !!python/object/apply:os.system [ls]", "c.yaml:4:7", "tags"),
    bad("a tag of plain data", HEAD + "seed: !!int 3", "c.yaml:4:7", "tags"),
    bad("cyclic alias", HEAD + "expect: &a {y: *a}", "c.yaml:4:16", "*a"),
    bad("unknown alias", HEAD + "seed: *nobody", "c.yaml:4:7", "nobody"),
    bad("exploding aliases", exploding(), "c.yaml:", "aliases"),
    bad("deep nesting", HEAD + "expect: " + "[" * 3000, "c.yaml:4:", "nested at most 40"),
    bad("key twice", HEAD + "layer: conv", "c.yaml:4:1", "'layer'", "twice", "1:1"),
    bad("key twice within", HEAD + "expect: {y: {sum: 1, sum: 2}}", "c.yaml:4:22", "'sum'", "4:14"),
    bad("a key of many parts", HEAD + "? [a, b]\n: 1", "c.yaml:4:3", "key"),
]

KEYS = [
    bad(
        "a value that YAML splits",
        "layer: pool\ntensors: {x: 'ones:1x1x4x4'}\nparams: {kernel: 2, stride: 2,1}",
        "c.yaml:3:",
        "2,1 reads as a value and a key of its own: write [2, 1]",
    ),
    bad("unknown key", HEAD + "sede: 3", "c.yaml:4:1", "'sede'", "did you mean seed"),
    bad(
        "unknown parameter", HEAD.replace("padding", "pading"), "c.yaml:2:10", "'pading'", "padding"
    ),
    bad("parameter of another layer", HEAD.replace("padding: 1", "stride: 2"), "c.yaml:2:10"),
    bad("unknown tensor", HEAD.replace("x:", "w:"), "c.yaml:3:11", "'w'", "pad"),
    bad(
        "unquoted options",
        "layer: pad\nparams: {padding: 1}\ntensors: {x: normal:2x3,loc=1}\n",
        *("c.yaml:3:25", "'loc=1'", "quote"),
    ),
    bad("no layer", "params: {padding: 1}", "c.yaml:1:1", "layer", "conv"),
    bad("unknown layer", "layer: pol", "c.yaml:1:8", "'pol'", "pool"),
    bad("layer that is a list", "layer: [pad]", "c.yaml:1:8", "a list"),
    bad("no padding", 'layer: pad\ntensors: {x: "ones:1x1x2x2"}', "c.yaml:1:1", "padding"),
    bad("defaults without cases", "defaults: {seed: 1}\n" + HEAD, "c.yaml:1:1", "cases"),
    bad("cases of nothing", "cases: []", "c.yaml:1:8", "empty list"),
    bad("cases of a mapping", "cases: {a: 1}", "c.yaml:1:8", "a list", "a mapping"),
    bad("a case of text", "cases: [pad]", "c.yaml:1:9", "'pad'"),
    bad("a key beside cases", "cases: [{layer: pad}]\nlayer: pad", "c.yaml:2:1", "'layer'"),
    bad(
        "a name in defaults", "defaults: {name: a}\ncases: [{layer: pad}]", "c.yaml:1:12", "'name'"
    ),
    bad("defaults of text", "defaults: pad\ncases: [{layer: pad}]", "c.yaml:1:11", "'pad'"),
    bad(
        "params of a number in defaults",
        "defaults: {params: 3}\ncases: [{layer: pad, params: {padding: 1}}]",
        *("c.yaml:1:20", "params", "3"),
    ),
]

NAMES = [
    bad(
        "name twice",
        f"defaults: {{{', '.join(HEAD.splitlines())}}}\ncases: [{{name: a}}, {{name: a}}]",
        *("c.yaml:2:27", "'a'", "2:9"),
    ),
    bad("name of a number", HEAD + "name: 3", "c.yaml:4:7", "text", "3"),
    bad("name that climbs", HEAD + "name: ../up", "c.yaml:4:7", "'../up'"),
    bad("name that is absolute", HEAD + "name: /etc", "c.yaml:4:7", "'/etc'"),
    bad("name of nothing", HEAD + 'name: ""', "c.yaml:4:7"),
    bad("name with a line break", HEAD + r'name: "a\nb"', "c.yaml:4:7", r"a\nb"),
    bad("name without end", HEAD + "name: " + "n" * 201, "c.yaml:4:7", "200", "201"),
]

VALUES = [
    bad("params of text", "layer: pad\nparams: one", "c.yaml:2:9", "mapping", "'one'"),
    bad("params of nothing", "layer: pad\nparams:\n", "c.yaml:2:8", "nothing"),
    bad("padding of a truth value", HEAD.replace(": 1", ": true"), "c.yaml:2:19", "True"),
    bad("padding of no numbers", HEAD.replace(": 1", ": []"), "c.yaml:2:19", "empty list"),
    bad("padding of a fraction", HEAD.replace(": 1", ": 1.5"), "c.yaml:2:19", "1.5"),
    bad("padding of four", HEAD.replace(": 1", ": [1, 0, 2, 1]"), "c.yaml:2:19", "4", "2 spatial"),
    bad("a YAML 1.1 truth value", HEAD + "backward: no", "c.yaml:4:11", "'no'"),
    bad("seed of a fraction", HEAD + "seed: 1.5", "c.yaml:4:7", "1.5"),
    bad("seed of nothing", HEAD + "seed:", "c.yaml:4:6", "nothing"),
    bad("dtype", HEAD + "dtype: float61", "c.yaml:4:8", "'float61'", "float64"),
    bad("gradcheck of text", HEAD + "gradcheck: yes", "c.yaml:4:12", "'yes'"),
    bad("unknown key of gradcheck", HEAD + "gradcheck: {elemnts: 3}", "c.yaml:4:13", "elements"),
    bad("negative step", HEAD + "gradcheck: {step: -1}", "c.yaml:4:19", "is -1"),
    bad("wrt", HEAD + "gradcheck: {wrt: [x, w]}", "c.yaml:4:18", "'w'"),
    bad("backward off", HEAD + "backward: false\ngradcheck: true", "c.yaml:4:11", "gradcheck"),
    bad(
        "backward off with dy",
        "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2', dy: normal}\n"
        "backward: false",
        *("c.yaml:4:11", "backward is off, but dy is given", "--dy none"),
    ),
]

SOURCES = [
    bad("no file", HEAD.replace("normal:2x3x5x4", "absent.npy"), "c.yaml:3:14", "absent.npy"),
    bad("a number", HEAD.replace('"normal:2x3x5x4"', "3"), "c.yaml:3:14", "x", "3"),
    bad(
        "a size with an underscore",
        HEAD.replace('"normal:2x3x5x4"', '{random: normal, shape: [1, "1_0"]}'),
        *("c.yaml:3:42", "a size in shape", "'1_0'"),
    ),
    bad(
        "a size in other digits",
        HEAD.replace('"normal:2x3x5x4"', '{random: normal, shape: ["\u0663", 2]}'),
        *("c.yaml:3:39", "a size in shape"),
    ),
    bad("two forms", HEAD.replace('"normal:2x3x5x4"', "{npy: a, npz: b}"), "c.yaml:3:28", "npz"),
    bad(
        "form misspelt", HEAD.replace('"normal:2x3x5x4"', "{vlaues: [1]}"), "c.yaml:3:15", "values"
    ),
    bad(
        "an unknown kind",
        HEAD.replace('"normal:2x3x5x4"', "{random: gauss, shape: [1, 1, 2, 2]}"),
        *("c.yaml:3:23", "'gauss'", "normal"),
    ),
    bad(
        "values that are ragged",
        HEAD.replace('"normal:2x3x5x4"', "{values: [[[[1, 2], [3]]]]}"),
        *("c.yaml:3:34", "1 items", "2"),
    ),
    bad(
        "values of text",
        HEAD.replace('"normal:2x3x5x4"', "{values: [[[[1, two]]]]}"),
        *("c.yaml:3:", "'two'"),
    ),
    bad(
        "zero_extend that shrinks",
        HEAD.replace(
            '"normal:2x3x5x4"', "{random: ones, shape: [1,1,2,2], zero_extend: [1,1,2,1]}"
        ),
        *("c.yaml:3", "1x1x2x1", "1x1x2x2"),
    ),
    bad(
        "bin without a shape",
        HEAD.replace('"normal:2x3x5x4"', "{bin: raw.bin, dtype: float32}"),
        *("c.yaml:3:14", "shape"),
    ),
]

EXPECT = [
    bad("unknown tensor", HEAD + "expect: {z: {sum: 1}}", "c.yaml:4:10", "'z'"),
    bad("gradient of another layer", HEAD + "expect: {dw: {sum: 1}}", "c.yaml:4:10", "'dw'"),
    bad("unknown assertion", HEAD + "expect: {y: {summ: 1}}", "c.yaml:4:14", "'summ'", "sum"),
    bad("no assertion", HEAD + "expect: {y: {rtol: 1}}", "c.yaml:4:13", "checks nothing"),
    bad("empty list", HEAD + "expect: {y: []}", "c.yaml:4:13", "empty list"),
    bad("sum of text", HEAD + "expect: {y: {sum: ten}}", "c.yaml:4:19", "'ten'"),
    bad("sum with an underscore", HEAD + 'expect: {y: {sum: "1_0"}}', "c.yaml:4:19", "'1_0'"),
    bad("sum in other digits", HEAD + 'expect: {y: {sum: "\u0663"}}', "c.yaml:4:19", "a number"),
    bad("points without end", HEAD + "points: .inf", "c.yaml:4:9", "points", "finite"),
    bad(
        "an error below all that there are",
        HEAD + "expect: {y: {sum_squared_error: {npy: y.npy, below: .inf}}}",
        *("c.yaml:4:53", "below", "finite"),
    ),
    bad("shape of a number", HEAD + "expect: {y: {shape: 3}}", "c.yaml:4:21", "a list", "3"),
    bad("negative size", HEAD + "expect: {y: {shape: [2, -3]}}", "c.yaml:4:25", "-3"),
    bad("at without values", HEAD + "expect: {y: {at: [0], sum: 1}}", "c.yaml:4:18", "values"),
    bad("at of a fraction", HEAD + "expect: {y: {at: [0.5], values: 1}}", "c.yaml:4:19", "0.5"),
    bad("at of a step", HEAD + 'expect: {y: {at: ["::2"], values: 1}}', "c.yaml:4:19", "::2"),
    bad("at of a sign", HEAD + 'expect: {y: {at: ["-:"], values: 1}}', "c.yaml:4:19", "-:"),
    bad("at outside", HEAD + "expect: {y: {at: [2], values: [1]}}", "c.yaml:4", "index 2", "has 2"),
    bad(
        "at of five axes",
        HEAD + "expect: {y: {at: [0, 0, 0, 0, 0], values: 1}}",
        *("c.yaml:4", "5 indices", "4 axes"),
    ),
    bad("rtol below 0", HEAD + "expect: {y: {sum: 1, rtol: -1}}", "c.yaml:4:28", "is -1"),
    bad("rtol not a number", HEAD + "expect: {y: {sum: 1, rtol: .nan}}", "c.yaml:4:28", "nan"),
    bad("equal_nan of text", HEAD + "expect: {y: {sum: 1, equal_nan: no}}", "c.yaml:4:33", "'no'"),
    bad(
        "squares without a bound",
        HEAD + "expect: {y: {sum_squared_error: {npy: zeros}}}",
        *("c.yaml:4:33", "below"),
    ),
    bad("npy that is not there", HEAD + "expect: {y: {npy: no.npy}}", "c.yaml:4:19", "no.npy"),
]

ALL = [*YAML, *KEYS, *NAMES, *VALUES, *SOURCES, *EXPECT]

JSON_LINES = [
    bad("not JSON", b'{"layer": "pad"}\n{"layer": pad}\n', "-:2:11", "not JSON"),
    bad(
        "key twice", b'{"layer": "pad"}\n{"layer": "pad", "layer": "bn"}', "-:2", "'layer'", "twice"
    ),
    bad("a digit too many", b'{"layer": "pad"}\n{"seed": ' + b"9" * 5000 + b"}", "-:2", "not JSON"),
    bad("deep", b'{"layer": "pad"}\n{"seed": ' + b"[" * 100_000, "-:2", "deep"),
    bad("a word", b'{"layer": "pad"}\n3\n', "-:2", "mapping", "3"),
    bad("unknown key", b'{"layr": "pad"}\n', "-:1", "'layr'", "layer"),
    bad("nothing", b"", "-", "empty"),
]
