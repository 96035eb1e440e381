"""Queries: events by subject, contract and height, pages, current and historical state."""

from __future__ import annotations

import pytest

from chain.ledger.batch_executor import SKIPPED
from chain.ledger.block import EventEntry
from chain.ledger.pruned import UnknownHeight
from chain.ledger.testing import GAS, ToyChain, ToyRuntime
from chain.primitives.codec import U64_MAX
from chain.primitives.errors import LimitError
from chain.primitives.runtimeport import Call, map_key
from chain.primitives.values import decode_value, encode_value


@pytest.fixture(scope="module")
def chain() -> ToyChain:
    made = ToyChain()
    for height in range(1, 7):
        made.add(
            made.call("put", {"key": "k", "value": height}),
            made.call("announce", {"subjects": ["dataset:x"], "name": "Asked"}),
            made.call("announce", {"subjects": ["dataset:x", f"job:{height}"], "name": "Zoned"}),
            made.call("fail", {"code": "NO"}, sender="bureau"),
            made.call("put" if height % 2 else "delete", {"key": "odd", "value": height}),
            made.call("announce", {"subjects": [], "name": "Asked"}),
        )
    return made


def where(entries: tuple[EventEntry, ...]) -> list[tuple[int, str]]:
    return [(entry.height, entry.event.name) for entry in entries]


def test_events_of_a_subject_come_in_ledger_order(chain: ToyChain) -> None:
    entries = chain.ledger.read.entries(subject="dataset:x", first=2, last=3).entries
    assert where(entries) == [(2, "Asked"), (2, "Zoned"), (3, "Asked"), (3, "Zoned")]
    assert where(chain.ledger.read.entries(subject="job:4").entries) == [(4, "Zoned")]
    assert chain.ledger.read.entries(subject="job:").entries == ()
    assert chain.ledger.read.entries(subject="dataset:xx").entries == ()


def test_events_of_a_contract_come_in_ledger_order_whatever_their_names(chain: ToyChain) -> None:
    read = chain.ledger.read
    expected = [(2, "Asked"), (2, "Zoned"), (2, "Refused"), (2, "Asked")]
    assert where(read.entries(contract="toy", first=2, last=2).entries) == expected
    assert where(read.entries(contract="toy", name="Zoned", first=5).entries) == [(5, "Zoned"), (6, "Zoned")]
    assert sorted(read.event_names("toy")) == ["Asked", "Refused", "Zoned"]
    assert read.entries(contract="to").entries == ()
    assert where(read.entries(contract="orgs").entries) == [(0, "Registered")] * 4


def test_subject_and_contract_narrow_each_other(chain: ToyChain) -> None:
    read = chain.ledger.read
    assert where(read.entries(subject="org:bureau", contract="orgs").entries) == [(0, "Registered")]
    refused = read.entries(subject="org:bureau", contract="toy", name="Refused").entries
    assert where(refused) == [(height, "Refused") for height in range(1, 7)]


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
@pytest.mark.parametrize(
    "query", [{}, {"subject": "dataset:x"}, {"contract": "toy"}, {"contract": "toy", "name": "Asked"}]
)
def test_pages_join_to_the_whole_without_gap_or_repeat(
    chain: ToyChain, query: dict[str, str], limit: int
) -> None:
    read = chain.ledger.read
    whole = read.entries(
        subject=query.get("subject"), contract=query.get("contract"), name=query.get("name"), limit=1_000
    )
    assert whole.next is None
    joined: list[EventEntry] = []
    after = None
    while True:
        page = read.entries(
            subject=query.get("subject"),
            contract=query.get("contract"),
            name=query.get("name"),
            limit=limit,
            after=after,
        )
        assert len(page.entries) <= limit
        joined += page.entries
        after = page.next
        if after is None:
            break
    assert tuple(joined) == whole.entries


def test_all_events_are_those_of_every_height(chain: ToyChain) -> None:
    read = chain.ledger.read
    heights = [event for height in range(7) for receipt in read.receipts(height) for event in receipt.events]
    assert [entry.event for entry in read.entries(limit=1_000).entries] == heights
    assert len(heights) == chain.ledger.head.events


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 10_001}, {"after": b"x"}, {"name": "Asked"}, {"first": U64_MAX + 1}]
)
def test_a_query_out_of_bounds_is_refused_by_name(chain: ToyChain, query: dict[str, object]) -> None:
    with pytest.raises(LimitError):
        chain.ledger.read.entries(**query)  # type: ignore[arg-type]


def test_state_is_readable_at_every_height(chain: ToyChain) -> None:
    read, key, odd = chain.ledger.read, map_key("values", "k"), map_key("values", "odd")
    assert [read.state_at("toy", key, height) for height in range(7)] == [
        None,
        *[encode_value(height) for height in range(1, 7)],
    ]
    assert [read.state_at("toy", odd, height) is not None for height in range(7)] == [
        False, True, False, True, False, True, False,
    ]  # fmt: skip
    assert read.state("toy", key) == encode_value(6)
    assert read.state("toy", odd) is None
    with pytest.raises(UnknownHeight, match="height 7"):
        read.state_at("toy", key, 7)


def test_a_range_of_a_map_comes_in_pages_in_key_order() -> None:
    chain = ToyChain()
    chain.add(*[chain.call("put", {"key": i, "value": i * i}) for i in (3, 1, 2, 5, 4)])
    read, prefix = chain.ledger.read, b"values/"
    first = read.state_range("toy", prefix, limit=3)
    rest = read.state_range("toy", prefix, limit=3, after=first.next)
    keys = [decode_value(key[len(prefix) :], max_bytes=9) for key, _ in first.rows + rest.rows]
    assert keys == [1, 2, 3, 4, 5]
    assert rest.next is None
    assert read.state_range("to", b"").rows == ()
    assert len(read.state_range("orgs", b"orgs/").rows) == 4


def test_a_view_keeps_to_one_head_while_blocks_are_added() -> None:
    chain = ToyChain()
    chain.add(chain.call("put", {"key": "k", "value": "old"}))
    with chain.ledger.read.view() as view:
        chain.add(chain.call("put", {"key": "k", "value": "new"}))
        args = encode_value({"key": "k"})
        call = Call("toy", "get", args, b"", b"", GAS, view.header.height, view.header.time)
        assert view.header.height == 1
        assert decode_value(ToyRuntime().view(call, view.state).result, max_bytes=9) == "old"


def test_a_skipped_copy_does_not_hide_the_real_receipt() -> None:
    chain = ToyChain()
    call = chain.call("put", {"key": 1, "value": 1})
    chain.add(call)
    chain.add(call)
    assert [receipt.status for receipt in chain.ledger.read.receipts(2)] == [SKIPPED]
    receipt = chain.ledger.read.receipt(call.id)
    assert receipt is not None
    assert receipt.height == 1
    assert chain.ledger.read.transaction(call.id) == call.tx
    assert chain.ledger.read.transaction_bytes(call.id) == call.raw


def test_what_is_unknown_is_none(chain: ToyChain) -> None:
    read = chain.ledger.read
    unknown = bytes(32)
    assert [read.receipt(unknown), read.transaction(unknown), read.position(unknown)] == [None] * 3
    assert [read.header(7), read.block(7), read.certificate(7), read.payload(7), read.batch(0)] == [None] * 5
    assert read.height_of(unknown) is None
    assert read.block(0) is None
    block = read.block(read.height_of(chain.ledger.head.header_hash) or 0)
    assert block is not None
    assert block.header == chain.ledger.head_header
