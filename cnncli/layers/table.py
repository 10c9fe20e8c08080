"""The table of layers, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

from cnncli.layers.base import Layer


def _pad() -> Layer:
    from cnncli.layers.pad import Pad

    return Pad()


def _conv() -> Layer:
    from cnncli.layers.conv import Conv

    return Conv()


def _pool() -> Layer:
    from cnncli.layers.pool import Pool

    return Pool()


def _bn() -> Layer:
    from cnncli.layers.batchnorm import BatchNorm

    return BatchNorm()


_MAKERS: dict[str, Callable[[], Layer]] = {"pad": _pad, "conv": _conv, "pool": _pool, "bn": _bn}


@cache
def _made(name: str) -> Layer:
    return _MAKERS[name]()


class _Layers(Mapping[str, Layer]):
    def __getitem__(self, name: str) -> Layer:
        return _made(name)

    def __contains__(self, name: object) -> bool:
        return name in _MAKERS

    def __iter__(self) -> Iterator[str]:
        return iter(_MAKERS)

    def __len__(self) -> int:
        return len(_MAKERS)


LAYERS: Mapping[str, Layer] = _Layers()
