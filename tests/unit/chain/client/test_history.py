"""A client takes a history only if it is proved to be whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chain.client.client import Client
from chain.ledger.proof.proofs import ProvedHistory
from chain.primitives.errors import ProofInvalid
from tests.unit.chain.audit.conftest import Story
from tests.unit.chain.audit.ledgersource import LedgerSource

SUBJECT = "grant:bureau/g1"


class Lying(LedgerSource):
    """A node that shows another history than it proves."""

    change: Any = None

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        return self.change(await super().history(subject, first, last))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def story() -> Story:
    told = Story()
    told.tell()
    return told


def client_of(story: Story, change: Any) -> Client:
    client = Client("http://127.0.0.1:1", story.genesis)
    source: Any = Lying(story.ledger.read, story.ledger.prove)
    source.change = change
    client.proofs = source
    return client


async def test_a_whole_history_is_taken(story: Story) -> None:
    last = story.ledger.certified_height
    entries = await client_of(story, lambda found: found).history(SUBJECT, 0, last)
    assert [entry.event.name for entry in entries][:3] == [
        "GrantRequested",
        "GrantApproved",
        "GrantActivated",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: dataclasses.replace(found, entries=found.entries[1:]),
        lambda found: dataclasses.replace(found, entries=found.entries[:-1]),
        lambda found: dataclasses.replace(found, subject="grant:bureau/other"),
        lambda found: dataclasses.replace(found, last=found.last - 1),
    ],
)
async def test_a_history_that_lacks_an_entry_or_is_of_something_else_is_refused(
    story: Story, change: Any
) -> None:
    with pytest.raises(ProofInvalid):
        await client_of(story, change).history(SUBJECT, 0, story.ledger.certified_height)
