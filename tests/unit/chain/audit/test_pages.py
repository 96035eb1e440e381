"""Packages carry the pages that a history names, and each text is held against its hash."""

from __future__ import annotations

import pytest

from chain.audit.pages import check_page, pages_named
from chain.ledger.block import EventEntry
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import Event, map_key
from chain.primitives.values import Value, encode_value
from contracts.pages.page import page_hash

TEXT = '"""Rows."""\n\n\ndef run(a):\n    release(count(a), to="bank", exact=True)\n'
PAGE = page_hash(TEXT)


def entry(page: Value, name: str = "jobs.JobProposed") -> EventEntry:
    contract, event = name.split(".")
    return EventEntry(7, bytes(32), 0, Event(contract, event, encode_value({"page": page}), ("job:x",)))


def test_every_page_that_a_history_names_is_wanted_once() -> None:
    other = page_hash("other")
    named = [entry(PAGE), entry(b""), entry(other, "programs.ProgramProposed"), entry(PAGE)]
    assert pages_named([*named, entry(other, "grants.GrantUsed")]) == [PAGE, other]


@pytest.mark.parametrize("odd", [3, "page", b"short", None])
def test_an_event_that_names_no_hash_is_refused(odd: Value) -> None:
    with pytest.raises(ProofInvalid, match=r"jobs\.JobProposed at height 7: not as it is told"):
        pages_named([entry(odd)])


def test_a_text_must_be_there_and_have_the_hash_of_its_page() -> None:
    place = map_key("pages", PAGE)
    check_page(PAGE, {place: TEXT})
    check_page(PAGE, {place: None})
    with pytest.raises(ProofInvalid, match="is not in the package"):
        check_page(PAGE, {})
    for odd in (TEXT + " ", b"", 3):
        with pytest.raises(ProofInvalid, match="has another hash"):
            check_page(PAGE, {place: odd})
