"""One declaration a flag, expanded into the Typer parameters of a command.

Every value arrives as text (switches as true or false) and None where it was not given, so that
one parser serves flags and YAML, and a flag that equals the default still counts as given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cnncli.cli.completion import Completer, complete_words, when_asked
from cnncli.cli.usage import OneMessage, no_command, one_message

if TYPE_CHECKING:
    from cnncli.layers.parameters import Kind, Parameter


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option of a command."""

    name: str
    names: tuple[str, ...]
    help: str
    group: str
    metavar: str | None = None
    default_text: str | None = None
    is_switch: bool = False
    many: bool = False
    complete: Completer | None = None
    """What a shell may put in for its value."""

    def option(self) -> inspect.Parameter:
        """Return this flag as the parameter of a Typer command."""
        info = typer.Option(
            *self.names,
            help=self.help + (f" [default: {self.default_text}]" if self.default_text else ""),
            metavar=self.metavar,
            show_default=False,
            rich_help_panel=self.group,
            autocompletion=when_asked(self.complete),
        )
        kind: Any = bool if self.is_switch else list[str] if self.many else str
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, info],
        )


def text_flag(
    name: str,
    help: str,
    group: str,
    metavar: str,
    *,
    short: str | None = None,
    many: bool = False,
    complete: Completer | None = None,
) -> Flag:
    """Return a flag that takes text."""
    from cnncli.cases.flags import flag_name

    names = (flag_name(name), *([f"-{short}"] if short else []))
    return Flag(
        name=name,
        names=names,
        help=help,
        group=group,
        metavar=metavar,
        many=many,
        complete=complete,
    )


def switch_flag(name: str, help: str, group: str) -> Flag:
    """Return a flag `--name/--no-name`."""
    from cnncli.cases.flags import flag_name

    long = flag_name(name)
    names = (f"{long}/--no-{long[2:]}",)
    return Flag(name=name, names=names, help=help, group=group, is_switch=True)


def declared_flag(declared: Parameter, group: str) -> Flag:
    """Return the flag of a declared parameter."""
    from cnncli.layers.parameters import Choice, Switch

    kind, names = declared.kind, [declared.flag]
    if isinstance(kind, Switch):
        names = [f"{declared.flag}/{kind.negative or '--no-' + declared.flag[2:]}"]
    if declared.short:
        names.append(f"-{declared.short}")
    metavar = f"[{'|'.join(kind.choices)}]" if isinstance(kind, Choice) else kind.metavar or None
    return Flag(
        name=declared.name,
        names=tuple(names),
        help=declared.help,
        group=group,
        metavar=metavar,
        default_text=declared.default_text(),
        is_switch=isinstance(kind, Switch),
        complete=complete_words(words) if (words := _words(kind)) else None,
    )


def _words(kind: Kind) -> tuple[str, ...]:
    """Return the words that a parameter's value can be."""
    from cnncli.layers.parameters import Choice, Padding, PerAxis

    if isinstance(kind, Choice):
        return kind.choices
    return kind.words if isinstance(kind, PerAxis | Padding) else ()


def with_flags(flags: Sequence[Flag], body: Callable[..., None], name: str) -> Callable[..., None]:
    """Return `body`, which takes the values by name, as a function that Typer can read."""

    def command(**values: Any) -> None:
        body(values)

    command.__signature__ = inspect.Signature([flag.option() for flag in flags])  # type: ignore[attr-defined]  # what inspect.signature reads
    command.__name__ = name
    return command


class GroupedCommand(OneMessage, TyperCommand):
    """A command whose plain help shows its options under their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section a group, in the order of the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                group = getattr(param, "rich_help_panel", None)
                is_argument = param.param_type_name == "argument"
                groups.setdefault(group or ("Arguments" if is_argument else "Other"), []).append(
                    record
                )
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class GroupedGroup(OneMessage, TyperGroup):
    """A group that lists its commands under what people come for, in the order of definition."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands as an app adds them."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is named; raise UsageError, with the nearest, for no name."""
        word = args[0]
        if not ctx.resilient_parsing and word[:1] != "-" and self.get_command(ctx, word) is None:
            raise no_command(ctx.command_path, word, self.list_commands(ctx))
        with one_message(ctx.command_path):
            return super().resolve_command(ctx, args)

    def listed_command(self, ctx: Any, name: str) -> Any:
        """Return what a list shows of a command."""
        return self.get_command(ctx, name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section a panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.listed_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(str(panel), []).append((name, command.get_short_help_str(200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)
