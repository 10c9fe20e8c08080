"""The flags of the layer commands and of gradcheck, derived from what the layers declare."""

from __future__ import annotations

from cnncli.cases.case import GradcheckOptions, Settings
from cnncli.cli.completion import complete_config, complete_source
from cnncli.cli.flags import Flag, declared_flag, switch_flag, text_flag
from cnncli.cli.pictures import WORST, seeing_flags
from cnncli.cli.threads import threads_flag
from cnncli.layers.base import Layer
from cnncli.layers.parameters import parameters

TENSORS = "Tensors (SOURCE: kind:shape, FILE.npy, FILE.npz:KEY, FILE.bin:DTYPE:SHAPE, - or none)"
PARAMETERS = "Parameters"
COMPUTATION = "Computation"
GRADCHECK = "Gradient check"
JUDGING = "Judging"
OUTPUT = "Output"

RUN_NAMES = ("max_memory", "threads", "json", "quiet", "values", "out", "save")
JUDGING_NAMES = ("expect", "rtol", "atol", "equal_nan")


def layer_flags(layer: Layer) -> list[Flag]:
    """Return the flags of a layer command."""
    derived = text_flag(
        "tolerance",
        "derived: judge each element of whole tensors by the rounding bound of its own sum.",
        JUDGING,
        "derived",
    )
    return [
        *_case_flags(layer),
        *_judging_flags(),
        derived,
        *seeing_flags(),
        *output_flags(),
        _as_flag(),
    ]


def gradcheck_flags(layer: Layer) -> list[Flag]:
    """Return the flags of `gradcheck`: those of the layer, and how gradients are checked."""
    options = [
        declared_flag(declared, GRADCHECK)
        for declared in parameters(GradcheckOptions)
        if declared.name not in JUDGING_NAMES
    ]
    seeing = seeing_flags(WORST)
    return [*_case_flags(layer), *options, *_judging_flags(), *seeing, *output_flags()]


def _case_flags(layer: Layer) -> list[Flag]:
    tensors = [
        text_flag(tensor.name, tensor.help, TENSORS, "SOURCE", complete=complete_source)
        for tensor in layer.inputs
    ]
    return [
        text_flag(
            "config",
            "Start from a case of a config file; flags win over it.",
            "Case",
            "FILE[::NAME]",
            complete=complete_config,
        ),
        *tensors,
        text_flag(
            "dy",
            "Upstream gradient, of y's shape; left out: normal.",
            TENSORS,
            "SOURCE",
            complete=complete_source,
        ),
        text_flag(
            "tensors",
            "Every tensor by its name: NAME.npy in a folder, or a .npz.",
            TENSORS,
            "DIR|FILE.npz",
            complete=complete_source,
        ),
        *(declared_flag(declared, PARAMETERS) for declared in parameters(layer.Params)),
        *(declared_flag(declared, COMPUTATION) for declared in parameters(Settings)),
        memory_flag(),
        threads_flag(COMPUTATION),
    ]


def _as_flag() -> Flag:
    return Flag(
        name="as_library",
        names=("--as",),
        help="Print the case as this library's call, and run nothing.",
        group=OUTPUT,
        metavar="[torch|keras|onnx]",
    )


def memory_flag() -> Flag:
    """Return the flag that bounds memory."""
    return text_flag(
        "max_memory",
        "Refuse a case that needs more, such as 512M or 2G. [default: half of what is free]",
        COMPUTATION,
        "SIZE",
    )


def _judging_flags() -> list[Flag]:
    return [
        text_flag(
            "expect",
            "What y, the tensor NAME, or every tensor in DIR must equal; repeatable.",
            JUDGING,
            "[NAME=]SOURCE|DIR",
            many=True,
            complete=complete_source,
        ),
        against_flag(),
        text_flag(
            "call",
            'How --against FILE is called, such as "y=conv(x, w, stride)"; repeatable.',
            JUDGING,
            "NAMES=CALL",
            many=True,
        ),
        switch_flag("run_all", "Carry out all of FILE, not its definitions alone.", JUDGING),
        text_flag("rtol", "Relative tolerance. [default: by the least precise type]", JUDGING, "X"),
        text_flag("atol", "Absolute tolerance. [default: by the least precise type]", JUDGING, "X"),
        switch_flag("equal_nan", "A NaN equals a NaN.", JUDGING),
    ]


def against_flag() -> Flag:
    """Return the flag that names who else computes the case."""
    return text_flag(
        "against",
        "Judge by what NAME computes: torch, keras, onnx or loops; or judge people's own "
        "functions: FILE.py, FILE.ipynb, a folder or a glob of them; repeatable.",
        JUDGING,
        "NAME|PATH",
        many=True,
    )


def output_flags() -> list[Flag]:
    """Return the flags that say what is written where."""
    return [
        text_flag(
            "out",
            "Write y as .npy, FILE.bin:TYPE as raw numbers; - is standard output.",
            OUTPUT,
            "FILE",
            short="o",
        ),
        text_flag("save", "Write every tensor as NAME.npy, and result.json.", OUTPUT, "DIR"),
        switch_flag(
            "values", "Show outputs whole, or not at all. [default: large ones' corners]", OUTPUT
        ),
        switch_flag("json", "Print JSON in place of tables.", OUTPUT),
        switch_flag("quiet", "Print nothing but errors.", OUTPUT),
    ]
