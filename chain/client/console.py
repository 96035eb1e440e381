"""How every command speaks: tables for people, `--json` for programs, errors with a code and a remedy."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from chain.primitives.errors import AssentError, Exit, Noted
from chain.primitives.visible import json_text, one_line, visible

F = TypeVar("F", bound=Callable[..., Any])
FIRST_CHARS = 24
"""What names a row is not folded up to this length."""
HASH_DIGITS = 64
COMMAND = re.compile(r"`[^`]*`|\bassent [a-z][^;,`]*")
FACT_COLUMNS, CELL_GAP = 2, 4
"""A table of so many columns lists facts; so many characters stand between and around two columns."""
Shower = Callable[[str, float, float | None], None]
"""Shows (what is being done, how much of it is, of how much in all) on the live line."""


class Missing(str):
    """Words of a cell that say what is missing: in red, where there are colours."""

    __slots__ = ()


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


OUTPUT_CLOSED = "standard output is closed; give the command one, if only /dev/null"


class OutputFailed(AssentError):
    """Standard output that takes nothing: what was to be said is lost, though what was asked may be done."""

    code = "output"
    exit = Exit.IO


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print one JSON document to standard output, on one line if `lines` says so."""
    with _output():
        _put(json_text(value, None if lines else 1) + "\n", sys.stdout)


def print_text(text: str, *, err: bool = False) -> None:
    """Print one line on standard output or error: foreign words in it cannot begin another."""
    print_lines(one_line(text), err=err)


def print_lines(text: str, *, err: bool = False, newline: bool = True) -> None:
    """Print text of many lines as it is: no markup, and nothing that a terminal would obey."""
    with contextlib.suppress(OSError) if err else _output():
        _put(visible(text) + ("\n" if newline else ""), sys.stderr if err else sys.stdout)


def print_folded(text: str, *, under: int = 2) -> None:
    """Print one line that may be long: on a terminal it goes on between words, so many characters further in.

    A command in it stays in one piece, for whoever copies it. A pipe gets one line, unless COLUMNS is set.
    """
    terminal, line = _terminal(), one_line(text)
    print_lines(
        _folded(line, terminal.width, under) if terminal.is_terminal or "COLUMNS" in os.environ else line
    )


def _folded(line: str, width: int, under: int) -> str:
    whole = COMMAND.sub(lambda found: found[0].replace(" ", "\0"), line)
    parts = textwrap.wrap(
        whole, max(width, under + 1), subsequent_indent=" " * under, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(parts).replace("\0", " ")


def _print_error(text: str) -> None:
    """Print an error; on a terminal its lines are folded, further in than any line of ours begins."""
    if sys.stderr is not None and sys.stderr.isatty():
        text = folded_lines(text, _terminal().width)
    print_lines(text, err=True)


def folded_lines(text: str, width: int) -> str:
    """Return text whose lines go on between words within a width; a command stays in one piece."""
    return "\n".join(_folded(line, width, 6) for line in text.split("\n"))


def _terminal() -> Console:
    """Return where tables go: it is as wide now as COLUMNS or the terminal says, not as it was at first."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def can_ask() -> bool:
    """Tell whether there is a person to ask: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> bool:
    """Ask a question of our own and return whether the answer is yes; an empty line is no."""
    with _output():
        return click.confirm(one_line(question), default=False)


def _put(text: str, stream: TextIO | None) -> None:
    """Write text that is safe to print, in the stream's own encoding: click's would be UTF-8 for ASCII."""
    if stream is not None:
        stream.write(text)
        stream.flush()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, whole: int = 1) -> None:
    """Print rows under a title; `#` before a column says numbers; a list is a line an item.

    The cells of the first `whole` columns are not folded as long as they have at most FIRST_CHARS.
    A hash in the last column of a list of facts stays in one piece, for whoever copies it: the names before
    it are folded between words, and only where a word is too long is the line wider than the terminal.
    """
    terminal = _terminal()
    facts = len(columns) <= FACT_COLUMNS and any(_has_hash(row[-1]) for row in rows)
    words = [len(word) for row in rows for word in str(row[0] or "").split()] if len(columns) > 1 else []
    room = max(terminal.width - CELL_GAP - HASH_DIGITS, *words, 1) if facts and words else None
    table = Table(
        title=_text(title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for number, column in enumerate(columns):
        names = ["" if row[number] is None else str(row[number]) for row in rows] if number < whole else []
        longest = max(map(len, names), default=0)
        least = min(FIRST_CHARS, room or FIRST_CHARS, longest) or None
        justify: JustifyMethod = "right" if column.startswith("#") else "left"
        least = HASH_DIGITS if facts and number == len(columns) - 1 else least
        table.add_column(
            _text(column.removeprefix("#")),
            justify=justify,
            overflow="fold",
            min_width=least,
            no_wrap=number < whole and longest <= FIRST_CHARS and not facts,
            max_width=room if number == 0 else None,
        )
    for row in rows:
        table.add_row(*[_cell(cell) for cell in row])
    width = max(terminal.width, (room or 0) + CELL_GAP + HASH_DIGITS) if facts else None
    with _output():
        terminal.print(table, width=width, crop=False)


def room_beside(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Return how many characters one column more may have beside these, on one line of the terminal."""
    wide = [max(len(name.removeprefix("#")), *(len(str(row[number] or "")) for row in rows), 0)
            for number, name in enumerate(columns)]  # fmt: skip
    return _terminal().width - sum(wide) - CELL_GAP // FACT_COLUMNS * (len(columns) + 1)


@contextlib.contextmanager
def _output() -> Iterator[None]:
    """Raise OutputFailed where standard output is closed or cannot be written; a closed pipe ends quietly."""
    if sys.stdout is None:
        raise OutputFailed(OUTPUT_CLOSED)
    try:
        yield
    except BrokenPipeError:
        _give_up_output()
        raise
    except OSError as error:
        _give_up_output()
        raise OutputFailed(_unwritable(error)) from None


def _unwritable(error: OSError) -> str:
    return f"standard output cannot be written ({error.strerror}); make room, or send it elsewhere"


def _give_up_output() -> None:
    """Let what Python still holds for standard output go nowhere, so that its own exit does not fail, too."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _has_hash(cell: Any) -> bool:
    items = cell if isinstance(cell, list) else [cell]
    return any(len(word) >= HASH_DIGITS for item in items for word in str(item).split())


def _cell(value: Any) -> Text:
    if isinstance(value, list):
        return Text("\n").join([_cell(item) for item in value])
    return _text("" if value is None else str(value), "bold red" if isinstance(value, Missing) else "")


def _text(words: str, style: str = "") -> Text:
    shown = one_line(words)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return Text(shown.encode(encoding, "backslashreplace").decode(encoding), style)  # before it is laid out


@contextlib.contextmanager
def progress_line(waiting: str) -> Iterator[Shower | None]:
    """Yield what shows (text, done, total) on a live line; None where no person looks at a terminal."""
    terminal = _terminal()
    if not terminal.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task(waiting, total=None)

        def show(text: str, done: float, total: float | None) -> None:
            progress.update(task, description=one_line(text), completed=done, total=total)

        yield show


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """Let a whole process print what its output's encoding lacks as escapes, and end with words and a status.

    What is no declared error is the system's (a file, the output) or a fault of ours: the traceback is for
    the report of it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except AssentError as error:
        print_lines(f"error [{error.code}]: {error}", err=True)
        sys.exit(error.exit)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if not where:
            _give_up_output()
        if not where and error.errno == errno.ENOSPC:  # click's own words, such as those of --help
            print_text(f"error [{OutputFailed.code}]: {_unwritable(error)}", err=True)
        else:
            print_text(f"error [system]: {where}{error.strerror or error}", err=True)
        sys.exit(Exit.IO)
    except Exception as error:
        print_lines(traceback.format_exc(), err=True, newline=False)
        print_text(
            f"error [bug]: {type(error).__name__}: a fault of Assent; please report the lines above", err=True
        )
        sys.exit(Exit.BUG)


def reports_errors(command: F) -> F:
    """Decorate a command: a declared error becomes one message on standard error, and its exit status.

    A call that was noted until other keys make it, too, is no error: it is told on standard output.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Noted as noted:
            if kwargs.get("as_json"):
                print_json({"noted": dict(noted.facts)})
            else:
                print_lines(str(noted))
            sys.exit(noted.exit)
        except AssentError as error:
            if kwargs.get("as_json") and not isinstance(error, OutputFailed):
                print_json({"error": {"code": error.code, "message": str(error)}})
            else:
                _print_error(f"error [{error.code}]: {error}")
            sys.exit(error.exit)

    return wrapped  # type: ignore[return-value]
