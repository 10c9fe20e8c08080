"""What the parser of the command line complains of, as one message of ours.

By itself it prints the usage and a hint before its own message, and names three options that share
a letter with what was typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from cnncli.errors import UsageError

HELP_ITSELF = "NoArgsIsHelpError"
"""The parser's error that is a group's help, of a call that names no command."""


@contextmanager
def one_message(command: str) -> Iterator[None]:
    """Raise what the parser says of `command`, such as `cnncli conv`, as a UsageError."""
    try:
        yield
    except typer.TyperException as error:
        tell = getattr(error, "format_message", None)
        if tell is None or type(error).__name__ == HELP_ITSELF:
            raise
        option = getattr(error, "option_name", None)
        if hasattr(error, "possibilities"):
            raise _no_option(command, str(option), error.possibilities or ()) from None
        text = str(tell()).rstrip(".")
        text = text[:1].lower() + text[1:]
        raise UsageError(f"{command}: {text}; {command} -h tells what it takes") from None


def _no_option(command: str, option: str, near: Sequence[str]) -> UsageError:
    from cnncli.cases.node import nearest

    # Without the dashes, which make all of them alike.
    names = {name.lstrip("-"): name for name in near}
    hint = nearest(option.lstrip("-"), names)
    for name, written in names.items():
        hint = hint.replace(f"mean {name}?", f"mean {written}?")
    shown = option if option.isprintable() else repr(option)
    return UsageError(f"{command} has no option {shown}{hint}; {command} -h lists what it has")


def no_command(group: str, word: str, commands: Sequence[str]) -> UsageError:
    """Return the error that `group` has no command `word`, with the nearest of those it has."""
    from cnncli.cases.node import nearest

    hint = nearest(word, commands) or f"; it has {', '.join(commands)}"
    return UsageError(f"{group} has no command {word!r}{hint}")


class OneMessage:
    """A command, or a group of them, whose parser's complaints are one message each."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parse the command line; raise UsageError where it is wrong."""
        above = f"{parent.command_path} " if parent is not None else ""
        with one_message(f"{above}{info_name}"):
            return super().make_context(info_name, args, parent, **extra)  # type: ignore[misc]  # of the command it is mixed into
