"""The errors a user can cause.

Every one carries the text that the user reads. Inner code raises it plain; the layer that knows
the place (a file with line and column, a flag, a tensor) adds it once with `at`.
"""

from __future__ import annotations

from typing import Self


class CnncliError(Exception):
    """Something the user can put right; `where` names the place, when it is known."""

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def at(self, where: str | None) -> Self:
        """Name the place, unless an inner layer already named a closer one."""
        if self.where is None:
            self.where = where
        return self

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process, place included."""
        return (type(self), (self.message, self.where))


class UsageError(CnncliError):
    """A command line that cannot be carried out."""


class ConfigError(CnncliError):
    """A config file, or a value in one, that cannot be read as what it should be."""


class TensorError(CnncliError):
    """A tensor that cannot be read, made or used."""


class GeometryError(CnncliError):
    """Shapes and parameters that do not fit each other."""


class MemoryBoundError(CnncliError):
    """A case that would need more memory than it may use."""


class MissingExtraError(CnncliError):
    """An optional package that is not installed."""
