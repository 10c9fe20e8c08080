"""Commands that are imported and built when they are run, or their own help is asked for.

`cnncli --help` needs a line of each and no more: building every command's flags would take half as
long again as Typer itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand

from cnncli.cli.flags import GroupedGroup


@dataclass(frozen=True, kw_only=True)
class LazyCommand:
    """What a list of commands shows of one, and what adds the command itself to an app."""

    name: str
    help: str
    panel: str
    add: Callable[[typer.Typer], object]

    def stub(self) -> TyperCommand:
        """Return a command that can be listed, not run."""
        return TyperCommand(self.name, help=self.help, rich_help_panel=self.panel)

    def build(self) -> Any:
        """Return the command."""
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.callback()(_nothing)  # an app of one command would be that command, whatever its name
        self.add(app)
        group = typer.main.get_command(app)
        return group.commands[self.name]  # type: ignore[attr-defined]  # it is a group


class LazyGroup(GroupedGroup):
    """A group of lazy commands, before those that were added to the app itself."""

    lazy: ClassVar[dict[str, LazyCommand]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, lazy commands first, in the order of definition."""
        return [*self.lazy, *(name for name in self.commands if name not in self.lazy)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, built; None where there is none of that name."""
        if cmd_name in self.lazy and cmd_name not in self.commands:
            self.commands[cmd_name] = self.lazy[cmd_name].build()
        return self.commands.get(cmd_name)

    def listed_command(self, ctx: Any, name: str) -> Any:
        """Return what a list shows of a command."""
        if name in self.lazy and name not in self.commands:
            return self.lazy[name].stub()
        return self.get_command(ctx, name)


def _nothing() -> None:
    return
