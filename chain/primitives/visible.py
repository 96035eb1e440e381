"""Foreign text made safe to print: what a terminal would obey, or what reorders a line, becomes an escape."""

from __future__ import annotations

import json
from typing import Any

ERROR_CHARS_MAX = 200
"""Of what an exception says about a peer, in one line of a log."""


def visible(text: str) -> str:
    r"""Return text whose lines stay, with all else that is not printable as escapes (`\x1b`, `\u202e`)."""
    if text.isprintable():
        return text
    return "".join([char if char == "\n" or char.isprintable() else _escape(char) for char in text])


def one_line(text: str) -> str:
    r"""Return text with line ends as escapes, too: foreign words in a line cannot begin another."""
    return text if text.isprintable() else visible(text.replace("\n", "\\n"))


def clipped(text: str, most: int) -> str:
    """Return the first `most` characters on one line, `?` for what does not print: bytes of a peer, maybe."""
    return "".join([char if char.isprintable() else "?" for char in text[:most]])


def error_text(error: BaseException, most: int = ERROR_CHARS_MAX) -> str:
    """Return the kind of an exception and what it says, clipped."""
    return clipped(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, most)


def json_text(value: Any, indent: int | None = None) -> str:
    r"""Return JSON that is readable and safe to print: what does not print is JSON's own `\uXXXX`."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join([char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in text])


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
