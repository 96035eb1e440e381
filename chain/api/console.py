"""How every command speaks: tables for people, `--json` for programs, errors with a code and a remedy."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from chain.primitives.errors import AssentError

F = TypeVar("F", bound=Callable[..., Any])
console = Console(highlight=False, soft_wrap=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a title; a column whose name starts with `#` holds numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column.startswith("#") else "left"
        table.add_column(column.removeprefix("#"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*["" if cell is None else str(cell) for cell in row])
    console.print(table)


def reports_errors(command: F) -> F:
    """Decorate a command: a declared error becomes one message on standard error and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AssentError as error:
            if kwargs.get("as_json"):
                print_json({"error": {"code": error.code, "message": str(error)}})
            else:
                click.echo(f"error [{error.code}]: {error}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]
