"""A tensor source as one text, `normal:2x3,loc=1` or a path, to a `Source`."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from cnncli.cases.node import nearest
from cnncli.cases.sizes import Shape, read_shape
from cnncli.cases.sourcetypes import (
    KINDS,
    RAW_SIZES,
    NpyFile,
    NpzEntry,
    Random,
    RawFile,
    Source,
    StandardInput,
)
from cnncli.errors import TensorError
from cnncli.numerals import number_of, whole_of

_ARCHIVE = re.compile(r"(?is)(.+?\.np[yz]):(.*)")
_RAW = re.compile(r"(?is)(.+?\.bin)(?::(.*))?")
_CALLED = re.compile(r"([A-Za-z_]+)[(\[]+([0-9]+(?:[,x ]+[0-9]+)*)[,)\]]+")
"""A kind written as a call: normal(1,1,4,4)."""
_ELSEWHERE = {
    **dict.fromkeys(("randn", "gauss", "gaussian"), "normal"),
    **dict.fromkeys(("rand", "random"), "uniform"),
    **dict.fromkeys(("randint", "integer", "ints"), "integers"),
    **dict.fromkeys(("range", "iota"), "arange"),
}
"""What other libraries call our kinds."""


def source_from_text(text: str, where: str, folder: Path | None) -> Source:
    """Return the source that `text` stands for; raise TensorError where it is malformed.

    What begins with a kind is a kind, and anything that is none of the contract's other forms is
    a path, so a misspelt kind is one too; `kind_hint` helps when there is no such file.
    """
    if not text:
        raise TensorError("the text is empty")
    head = re.split("[:,]", text, maxsplit=1)[0]
    if head in KINDS:
        try:
            return _random(text, head, where)
        except TensorError as error:
            raise TensorError(f"{_clip(text)}: {error.message}", error.where) from None
    if text == "-":
        return StandardInput(where=where)
    if archive := _ARCHIVE.fullmatch(text):
        written, key = archive.groups()
        if not key:
            raise TensorError(f"{_clip(text)} names no array after the colon")
        return NpzEntry(where=where, path=path_of(written, folder), written=written, key=key)
    if text.lower().endswith(".npz"):
        return NpzEntry(where=where, path=path_of(text, folder), written=text, key=None)
    parts = text.rsplit(":", 2)
    if len(parts) == 3 and parts[0] and parts[1] in RAW_SIZES:
        written, dtype, sizes = parts
        if written == "-":
            raise TensorError("standard input (-) is read as a .npy only, not as raw numbers")
        return RawFile(
            where=where,
            path=path_of(written, folder),
            written=written,
            dtype=dtype,
            shape=read_shape(sizes),
        )
    if raw := _RAW.fullmatch(text):
        raise _malformed_raw(raw[1], raw[2])
    return NpyFile(where=where, path=path_of(text, folder), written=text)


def raw_target(text: str) -> tuple[str, str] | None:
    """Return the path and the type of `FILE.bin:TYPE`, None for another; raise TensorError.

    A .bin does not tell what it holds, so its type is never left out.
    """
    match = _RAW.fullmatch(text)
    if match is None:
        return None
    if match[2] in RAW_SIZES:
        return match[1], match[2]
    example = f"{match[1]}:float32"
    if match[2] is None:
        raise TensorError(f"raw numbers do not tell what they are: write their type, {example}")
    raise TensorError(
        f"{_clip(match[2])!r} is not a type of raw numbers{nearest(match[2], RAW_SIZES)}; "
        f"known: {', '.join(RAW_SIZES)}, as in {example}"
    )


def path_of(written: str, folder: Path | None) -> Path:
    """Return the path that is meant, relative ones being relative to `folder`."""
    try:
        unusable = not written or b"\0" in os.fsencode(written)
    except UnicodeEncodeError:
        unusable = True
    if unusable:
        raise TensorError(f"{written!r} is not a path")
    return Path(written) if folder is None else folder / written


def kind_hint(written: str) -> str:
    """Return what to add to 'no such file' where the path looks like a misspelt kind, or nothing.

    `norml:2x3` reads as a path, since it is no kind; the hint is ` (did you mean normal:2x3?)`.
    """
    if called := _CALLED.fullmatch(written):
        written = f"{called[1]}:{'x'.join(re.findall('[0-9]+', called[2]))}"
        if called[1] in KINDS:
            return f" (did you mean {written}?)"
    head = re.split("[:,]", written, maxsplit=1)[0]
    rest = written[len(head) :]
    if re.fullmatch(r"[0-9]+(x[0-9]+)+", head):
        return f" (a shape needs a kind before it: normal:{written})"
    if not re.fullmatch(r"[A-Za-z_]+", head):
        return ""
    word = head.lower()
    if hint := nearest(_ELSEWHERE.get(word, word), [*KINDS, "none"]):
        return f"{hint[:-2]}{rest}?)"
    return f" (the kinds are {', '.join(KINDS)})" if re.match(r":[0-9]+(x|,|\Z)", rest) else ""


def _random(text: str, kind: str, where: str) -> Random:
    head, *options = text.split(",")
    sizes = text[len(kind) + 1 :]
    if options and re.fullmatch(r"[0-9, ()\[\]]+", sizes):
        read_shape(sizes)  # Not a shape, and this says what was meant.
    shape = read_shape(head[len(kind) + 1 :]) if ":" in head else None
    given: dict[str, float] = {}
    zero_extend: Shape | None = None
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            hint = "; sizes have an x between them" if whole_of(option) is not None else ""
            raise TensorError(f"{_clip(option)!r} is not an option, which is name=value{hint}")
        if name in given or (name == "zero_extend" and zero_extend):
            raise TensorError(f"{name} is given twice")
        if name == "zero_extend":
            zero_extend = read_shape(value)
        elif name not in KINDS[kind]:
            given[name] = 0.0  # Random says which there are.
        else:
            given[name] = _finite(name, value)
    return Random(
        where=where,
        zero_extend=zero_extend,
        kind=kind,
        shape=shape,
        options=tuple(sorted(given.items())),
    )


def _finite(name: str, value: str) -> float:
    number = number_of(value)
    if number is None or not math.isfinite(number):
        wanted = "a number" if number is None else "a number that is finite"
        raise TensorError(f"{name} must be {wanted}, not {_clip(value)!r}")
    return number


def _malformed_raw(path: str, rest: str | None) -> TensorError:
    example = f"{path}:float32:2x3x8x8"
    dtype, colon, _ = (rest or "").partition(":")
    if rest is None:
        return TensorError(
            f"raw numbers do not tell what they are: write type and shape, {example}"
        )
    if dtype in RAW_SIZES and not colon:
        return TensorError(f"{dtype} must be followed by the shape, as in {path}:{dtype}:2x3x8x8")
    return TensorError(
        f"{_clip(dtype)!r} is not a type of raw numbers{nearest(dtype, RAW_SIZES)}; "
        f"known: {', '.join(RAW_SIZES)}"
    )


def _clip(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
