"""What stands for a module that cannot be imported: it complains when it is used, not before."""

from __future__ import annotations

from typing import Any, NoReturn


class StubBase:
    """The base of classes whose own base was in a module that is not there."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ImportError(f"{type(self).__name__} needs a module that is not installed here")


class Stub:
    """A module that is not there, or anything in it: may be named, not used."""

    def __init__(self, path: str) -> None:
        self.__dict__["path"] = path

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stub(f"{self.path}.{name}")

    def complain(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ImportError."""
        raise ImportError(f"{self.path} is used, but {self.path.split('.')[0]} cannot be imported")

    __call__ = __iter__ = __len__ = __bool__ = __float__ = __int__ = __index__ = complain
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = complain
    __rtruediv__ = __matmul__ = __rmatmul__ = __neg__ = __enter__ = __exit__ = complain
    __setattr__ = __setitem__ = __array__ = complain

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (StubBase,)

    def __instancecheck__(self, instance: object) -> bool:
        return False  # nothing that exists is of a type that does not

    def __getitem__(self, item: object) -> Stub:
        return self  # in annotations

    def __or__(self, other: object) -> Stub:
        return self  # in annotations

    __ror__ = __or__
