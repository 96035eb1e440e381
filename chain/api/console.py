"""How every command speaks: tables for people, `--json` for programs, errors with a code and a remedy."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from chain.primitives.errors import AssentError
from chain.primitives.visible import json_text, one_line, visible

F = TypeVar("F", bound=Callable[..., Any])
FIRST_CHARS = 24
"""What names a row is not folded up to this length."""
Shower = Callable[[str, float, float | None], None]
"""Shows (what is being done, how much of it is, of how much in all) on the live line."""
_console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print one JSON document to standard output, on one line if `lines` says so."""
    click.echo(json_text(value, None if lines else 1))


def print_text(text: str, *, err: bool = False, newline: bool = True) -> None:
    """Print text as it is, on standard output or error: no markup, and nothing that a terminal would obey."""
    click.echo(visible(text), nl=newline, err=err)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a title; `#` before a column says numbers; a list is a line an item."""
    table = Table(title=_text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        names = [str(row[0] or "") for row in rows] if number == 0 else []
        least = min(FIRST_CHARS, max(map(len, names), default=0)) or None
        justify: JustifyMethod = "right" if column.startswith("#") else "left"
        table.add_column(_text(column.removeprefix("#")), justify=justify, overflow="fold", min_width=least)
    for row in rows:
        table.add_row(*[_cell(cell) for cell in row])
    _console.print(table)


def _cell(value: Any) -> Text:
    if isinstance(value, list):
        return Text("\n").join([_text(str(item)) for item in value])
    return _text("" if value is None else str(value))


def _text(words: str, style: str = "") -> Text:
    return Text(one_line(words), style)


@contextlib.contextmanager
def progress_line(waiting: str) -> Iterator[Shower | None]:
    """Yield what shows (text, done, total) on a live line; None where no person looks at a terminal."""
    if not _console.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console, transient=True) as progress:
        task = progress.add_task(waiting, total=None)

        def show(text: str, done: float, total: float | None) -> None:
            progress.update(task, description=one_line(text), completed=done, total=total)

        yield show


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
                print_text(f"error [{error.code}]: {error}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]
