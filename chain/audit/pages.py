"""Pages in an audit package: the texts of all that a history names, each under its own hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chain.ledger.block import EventEntry
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.runtimeport import RESULT_BYTES_MAX, map_key
from chain.primitives.values import Value, decode_value

CONTRACT, TEXTS = "programs", "pages"
_TELLS = frozenset({"jobs.JobProposed", "programs.ProgramProposed", "programs.ProgramCommitted"})


def pages_named(entries: Iterable[EventEntry]) -> list[bytes]:
    """Return the hashes of the pages that a history names, each once."""
    found: dict[bytes, None] = {}
    for entry in entries:
        event = entry.event
        if f"{event.contract}.{event.name}" not in _TELLS:
            continue
        try:
            page = decode_value(event.fields, max_bytes=RESULT_BYTES_MAX)["page"]
        except (DecodeError, KeyError, TypeError):
            page = None
        if type(page) is not bytes or len(page) not in (0, 32):
            raise ProofInvalid(f"{event.contract}.{event.name} at height {entry.height}: not as it is told")
        if page:
            found[page] = None
    return list(found)


def check_page(page: bytes, known: Mapping[bytes, Value]) -> None:
    """Raise ProofInvalid unless the page's row is there, and holds a text of its hash, or nothing any more.

    A page that members did not approve leaves the ledger with its proposal: its absence is proved.
    """
    place = map_key(TEXTS, page)
    if place not in known:
        raise ProofInvalid(f"{CONTRACT}.{TEXTS}[{page.hex()}] is not in the package")
    text = known[place]
    if text is not None and (type(text) is not str or _hash_of(text) != page):
        raise ProofInvalid(f"page {page.hex()[:16]}: the text in the package has another hash")


def _hash_of(text: str) -> bytes:
    return digest("assent/pages/page", text.encode("utf-8", "surrogatepass"))
