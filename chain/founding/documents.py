"""The form of the files of a founding: JSON that people read, with one spelling for each content.

Since a file is only taken if writing its content again gives the same bytes, no byte of it can be changed
without a trace: not even a space, a line end or the case of a digit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from chain.founding.refusals import FoundingAltered, FoundingRefused
from chain.primitives.errors import ConfigError

VERSION = 1
T = TypeVar("T")


def render(kind: str, fields: dict[str, Any]) -> bytes:
    """Return the bytes of a file of this kind."""
    document = {"kind": kind, "version": VERSION, **fields}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def parse(raw: bytes, kind: str, most: int, where: str) -> dict[str, Any]:
    """Return the fields of a file of this kind; raise FoundingRefused naming `where` for any other bytes."""
    if len(raw) > most:
        raise FoundingRefused(f"{where}: {len(raw)} bytes, at most {most}; name the right file")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, an endless number, deep nesting
        raise FoundingAltered(
            f"{where}: not JSON, or cut; it should be a file of kind {kind}: fetch it again, whole"
        ) from None
    if not isinstance(document, dict) or document.get("kind") != kind:
        raise FoundingRefused(f'{where}: not a file of "kind": "{kind}"; name the right file')
    fields = dict(document)
    version = fields.pop("version", None)
    if version != VERSION or type(version) is not int:
        raise FoundingRefused(
            f"{where}: version {str(version)[:20]!r}, this Assent reads {VERSION}; all founders "
            "use one version of Assent"
        )
    del fields["kind"]
    return fields


def read_exactly(raw: bytes, where: str, read: Callable[[], T], write: Callable[[T], bytes]) -> T:
    """Return what `read` makes of a file, if writing that gives the very bytes (FoundingAltered)."""
    try:
        found = read()
        again = write(found)
    except ConfigError as error:
        raise FoundingAltered(f"{error}; fetch the file again from whoever wrote it") from None
    except UnicodeEncodeError:
        raise FoundingAltered(f"{where}: holds half a character; fetch it again") from None
    if again != raw:
        raise FoundingAltered(
            f"{where}: not as Assent wrote it: a byte was changed on its way, maybe a line end by a mail "
            "program; fetch it again, as an attachment"
        )
    return found
