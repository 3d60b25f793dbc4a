"""A click group that imports a subcommand only when it is run, so that ``--help`` stays quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

from loopsr.errors import Cancelled, UnknownNameError


class LazyGroup(click.Group):
    """A group over a table of (name, module, help); a module holds its command as ``command``."""

    def __init__(self, *, table: tuple[tuple[str, str, str], ...], **options: Any) -> None:
        super().__init__(**options)
        self._table = {name: (module, text) for name, module, text in table}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table: the most used first."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand, None for a name that is in no row."""
        if cmd_name not in self._table:
            return None
        command = importlib.import_module(self._table[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest ones."""
        if args and args[0] not in self._table and not args[0].startswith("-"):
            raise UnknownNameError("command", args[0], self._table)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; Ctrl-C becomes our own error: click would print a blank line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Cancelled("interrupted; nothing half-written was left") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the rows without importing a single module."""
        rows = [(name, text) for name, (_, text) in self._table.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
