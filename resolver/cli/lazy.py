"""Groups of commands: in the order and under the headings that their file gives them, each line of --help whole, a
wrong name answered with the nearest right one. A lazy group imports a command's file only when it is called, so that
--help and completion are quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from resolver.errors import instead


class Group(click.Group):
    """A group whose commands are there already."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def says(self, ctx: click.Context) -> dict[str, str]:
        """Command -> its line in --help."""
        return {name: command.get_short_help_str(limit=200) for name, command in self.commands.items()}

    def headings(self, ctx: click.Context) -> Mapping[str, tuple[str, ...]]:
        """Heading -> commands below it."""
        return {"Commands": tuple(self.list_commands(ctx))}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]}; {instead(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        says = self.says(ctx)
        width = max(len(name) for name in says)
        for heading, names in self.headings(ctx).items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), says[name]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=does) for name, does in self.says(ctx).items() if name.startswith(incomplete)]


class Lazy(Group):
    """`commands_at`: command -> where it is defined (module:name) and its line in --help, which must not need an
    import. `under`: heading -> commands, where there are several headings."""

    def __init__(
        self,
        *arguments: Any,
        commands_at: Mapping[str, tuple[str, str]],
        under: Mapping[str, tuple[str, ...]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.commands_at = commands_at
        self.under = under

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands_at)

    def says(self, ctx: click.Context) -> dict[str, str]:
        return {name: does for name, (_, does) in self.commands_at.items()}

    def headings(self, ctx: click.Context) -> Mapping[str, tuple[str, ...]]:
        return self.under or super().headings(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands_at:
            return None
        module, _, attribute = self.commands_at[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command
