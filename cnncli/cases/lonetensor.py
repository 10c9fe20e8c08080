"""One tensor outside any case: what `compare` is given, judged by its header, then loaded."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.cases.draws import Streams, draw_bytes, make_values, values_bytes
from cnncli.cases.files import StoredTensor
from cnncli.cases.node import Node
from cnncli.cases.sizes import Shape
from cnncli.cases.sources import (
    FileSource,
    Random,
    Source,
    Values,
    parse_source,
    refuse_shared_standard_input,
)
from cnncli.cases.tensors import naming
from cnncli.errors import TensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACE = "compare"


@dataclass(frozen=True, kw_only=True)
class LoneTensor:
    """A tensor whose shape, stored type and memory are known; none of its data is read."""

    name: str
    source: Source
    shape: Shape
    dtype: str
    order: str | None
    """How the numbers lie in the file; None where there is no file."""
    held_bytes: int
    opened: StoredTensor | None

    def load(self, streams: Streams, stream_name: str) -> NDArray[Any]:
        """Return the numbers; made-up ones are those of tensor `stream_name` of a case."""
        with naming(self.name, self.source):
            if self.opened is not None:
                return self.opened.load()
            if isinstance(self.source, Random):
                return streams.draw(stream_name, self.source, self.shape)
            assert isinstance(self.source, Values)
            return make_values(self.source)


def open_lone_tensors(texts: dict[str, str], stack: ExitStack) -> list[LoneTensor]:
    """Return the tensors that the texts stand for, by name; `stack` closes what was opened.

    A kind without a shape (`zeros`) takes the shape of the tensor before it. Raises CnncliError
    naming the tensor.
    """
    sources: dict[str, Source] = {}
    for name, text in texts.items():
        source = parse_source(Node(text, PLACE), name, None)
        if source is None:
            raise TensorError(f"tensor {name}: none is no tensor; give a file or a kind", PLACE)
        sources[name] = source
    refuse_shared_standard_input(sources)
    found: list[LoneTensor] = []
    for name, source in sources.items():
        with naming(name, source):
            found.append(_open(name, source, found[0].shape if found else None, stack))
    return found


def _open(name: str, source: Source, fallback: Shape | None, stack: ExitStack) -> LoneTensor:
    if isinstance(source, FileSource):
        opened = stack.enter_context(StoredTensor(source))
        stored = opened.stored
        return LoneTensor(
            name=name,
            source=source,
            shape=stored.shape,
            dtype=stored.dtype,
            order=opened.order,
            held_bytes=stored.held_bytes,
            opened=opened,
        )
    if isinstance(source, Values):
        shape, dtype, held = source.zero_extend or source.shape, source.dtype, values_bytes(source)
    else:
        assert isinstance(source, Random)
        known = source.zero_extend or source.shape or fallback
        if known is None:
            raise TensorError(f"{source.text} needs a shape, such as {source.text}:2x3x8x8")
        shape, dtype = known, "float64"
        held = max(draw_bytes(source, source.shape or shape), 8 * math.prod(shape))
    return LoneTensor(
        name=name,
        source=source,
        shape=shape,
        dtype=dtype,
        order=None,
        held_bytes=held,
        opened=None,
    )
