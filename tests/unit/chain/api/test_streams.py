"""Subscriptions cost little for every certified height, and nothing is left out of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from chain.api import methods, streams
from chain.api.methods import events, history, membership, state
from chain.api.methods.table import method_table
from chain.api.streams import EMPTY_EVERY, EventStream, Streams
from chain.client.client import Client
from chain.ledger.queries import Queries
from chain.ledger.testing import ToyChain
from chain.node.status import NodeStatus
from chain.primitives.codec import encode, tag_of
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import ConfigError
from consensus.messages import UNSIGNED, Commit, Prepare, sign
from consensus.votes import Evidence
from tests.unit.chain.api.rpc_port import serving_streams
from tests.unit.chain.api.test_history import ask


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain()


def announce(chain: ToyChain, *subjects: str) -> None:
    """Certify a block with one event about each subject."""
    chain.add(*[chain.call("announce", {"subjects": [f"org:{subject}"]}) for subject in subjects])


def every_update(stream: Any) -> Iterator[dict[str, Any]]:
    while stream.behind:
        update = stream.step()
        if update is not None:
            yield json.loads(update)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every query for events from now on."""
    made: list[dict[str, Any]] = []
    entries = Queries.entries

    def counted(self: Queries, **params: Any) -> Any:
        made.append(params)
        return entries(self, **params)

    monkeypatch.setattr(Queries, "entries", counted)
    return made


def test_heights_without_a_match_are_looked_at_together(chain: ToyChain, looks: list[Any]) -> None:
    for number in range(30):
        announce(chain, f"s{number}")
    stream = Streams(chain.ledger).open({"kind": "events", "fromHeight": 1, "subject": "org:nobody"})
    assert list(every_update(stream)) == [{"height": 30, "entries": []}]
    assert len(looks) == 1


def test_a_height_without_a_match_costs_one_look_and_no_message(chain: ToyChain, looks: list[Any]) -> None:
    stream = Streams(chain.ledger).open({"kind": "events", "subject": "org:nobody"})
    told: list[int] = []
    for _ in range(2 * EMPTY_EVERY):
        announce(chain, "somebody")
        told += [update["height"] for update in every_update(stream)]
    assert len(looks) == 2 * EMPTY_EVERY
    assert told == [1, 1 + EMPTY_EVERY]


def test_a_stream_sends_every_event_of_its_subject_in_order_and_no_other(chain: ToyChain) -> None:
    for number in range(6):
        announce(chain, "a", f"b{number}", "a")
    stream = Streams(chain.ledger).open({"kind": "events", "fromHeight": 2, "subject": "org:a"})
    updates = list(every_update(stream))
    assert [update["height"] for update in updates] == [2, 3, 4, 5, 6]
    assert {entry["subjects"][0] for update in updates for entry in update["entries"]} == {"org:a"}
    assert [len(update["entries"]) for update in updates] == [2] * 5


def test_the_events_of_a_full_height_come_in_parts(chain: ToyChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "UPDATE_BYTES", 600)
    announce(chain, *[f"s{number}" for number in range(10)])
    announce(chain, "last")
    updates = list(every_update(Streams(chain.ledger).open({"kind": "events", "fromHeight": 1})))
    assert [update["height"] for update in updates] == [1, 1, 1, 1, 2]
    assert [update.get("more", False) for update in updates] == [True, True, True, False, False]
    subjects = [entry["subjects"][0] for update in updates for entry in update["entries"]]
    assert subjects == [*[f"org:s{number}" for number in range(10)], "org:last"]


async def test_a_client_follows_heights_in_parts_and_resumes(
    chain: ToyChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "UPDATE_BYTES", 600)
    announce(chain, *[f"s{number}" for number in range(10)])
    async with serving_streams(chain) as (url, feed), Client(url) as client:
        seen: list[str] = []
        async with asyncio.timeout(60):
            async for entry in client.follow(from_height=1):
                seen += entry.event.subjects
                if len(seen) == 10:
                    announce(chain, "last")
                    feed.advance()
                if seen[-1] == "org:last":
                    break
        assert seen == [*[f"org:s{number}" for number in range(10)], "org:last"]


def test_streams_of_blocks_share_the_text_of_a_block(chain: ToyChain) -> None:
    announce(chain, "a")
    feed = Streams(chain.ledger)
    first, second = (feed.open({"kind": "blocks", "fromHeight": 1}) for _ in range(2))
    assert first.step() is second.step()


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "events", "subject": "x" * 256},
        {"kind": "events", "contract": "\xe9" * 128},
        {"kind": "events", "contract": "a", "name": "x" * 300},
        {"kind": "events", "fromHeight": 2**64},
        {"kind": "events", "fromHeight": -1},
        {"kind": "events", "name": "a"},
        {"kind": "news"},
    ],
)
def test_parameters_of_subscriptions_are_bounded(chain: ToyChain, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="subscribe"):
        Streams(chain.ledger).open(params)


def test_a_stream_does_not_look_below_its_height(chain: ToyChain) -> None:
    stream = Streams(chain.ledger).open({"kind": "events", "fromHeight": 7})
    assert isinstance(stream, EventStream)
    assert not stream.behind


# --- pages ----------------------------------------------------------------------------------------


def test_pages_of_state_and_events_end_at_a_size(chain: ToyChain, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (events, state):
        monkeypatch.setattr(module, "PAGE_BYTES", 600)
    chain.add(*[chain.call("put", {"key": number, "value": "x" * 200}) for number in range(10)])
    announce(chain, *[f"s{number}" for number in range(10)])
    for name, params, count in (
        ("getStateRange", {"contract": "toy", "map": "values"}, 10),
        ("getEvents", {"fromHeight": 2}, 10),
    ):
        entries: list[Any] = []
        after, pages = None, 0
        while pages == 0 or after is not None:
            page = ask(chain, name, **params, limit=1_000, after=after)
            entries += page["entries"]
            after, pages = page["next"], pages + 1
            assert 1 <= len(page["entries"]) <= 4
        assert (len(entries), pages > 2) == (count, True)


def test_changes_of_the_validators_come_in_pages_that_lose_none(
    chain: ToyChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a long chain, each with its proof, were more than an answer may be: nobody could follow it."""
    monkeypatch.setattr(membership, "SET_CHANGES_PAGE", 2)
    names = [item.name for item in chain.genesis.validators]
    for count in range(5):
        chain.add(chain.govern(names[: 4 - count % 2]))
        for _ in range(chain.genesis.limits.consensus_window):
            chain.add()
    found: list[Any] = []
    above = 0
    while page := ask(chain, "getSetChanges", aboveHeight=above):
        assert len(page) <= 2
        found += page
        above = page[-1]["first"]
    whole = chain.ledger.prove.set_changes(0)
    assert [item["first"] for item in found] == [change.first for change in whole]
    assert len(whole) >= 4


def test_contradictions_come_in_pages_that_lose_none(
    chain: ToyChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods.status, "PAGE_BYTES", 1_000)
    kept, read = dict(sorted(contradictions(chain.genesis.chain_id))), []

    def evidence(key: bytes, kind: str) -> Evidence:
        read.append((key, kind))
        return kept[key, kind]

    driver = SimpleNamespace(accused=lambda: list(kept), evidence=evidence)
    core: Any = SimpleNamespace(ledger=chain.ledger, pool=None, sync=None, driver=driver)
    nobody: Any = None
    status = NodeStatus(b"", core, nobody, lambda: 0, "", lambda: 0)
    node: Any = SimpleNamespace(ledger=chain.ledger, pool=None, status=status)
    method: Any = method_table(node)["getEvidence"]
    found: list[Any] = []

    async def asked() -> Any:
        after = f"{found[-1]['key']}/{found[-1]['kind']}" if found else ""
        return await method.answer(method.params(after=after))

    while page := asyncio.run(asked()):
        assert 1 <= len(page) <= 3
        found += page
    assert [(bytes.fromhex(item["key"]), item["kind"]) for item in found] == list(kept)
    assert read == list(kept), "what another page holds is neither read nor checked"


def contradictions(chain_id: bytes) -> Iterator[tuple[tuple[bytes, str], Evidence]]:
    """Of four validators, two votes of each kind for one slot."""
    for key in (PrivateKey(bytes([number]) * 32) for number in range(4)):
        for kind in (Prepare, Commit):
            first, second = (
                encode(sign(kind(0, 1, bytes([n]) * 32, key.public, UNSIGNED), key, chain_id)) for n in (1, 2)
            )
            yield (key.public, tag_of(kind)), Evidence(first, second)


PAGED = {"getStateRange", "getEvents", "getHistory", "getSetChanges", "getEvidence"}
BOUNDED = {
    "getBlockByNumber": "the ids of a block's transactions: block_txs of the limits",
    "getBlockByHash": "as getBlockByNumber",
    "getSealerList": "the validators in force: VALIDATORS_MAX",
    "getObserverList": "the members' nodes",
    "getPeers": "the members' nodes",
    "getConsensusStatus": "the validators in force",
    "getSyncStatus": "one entry a peer",
    "getNodeInfo": "one line a peer at most",
    "getSkipDecision": "a signature a validator",
    "sendTransactions": "one entry a transaction of the request",
    "getTransactionReceipt": "the events of a transaction: EVENTS_MAX, and WRITTEN_BYTES_MAX together",
    "explainTransaction": "a trace of one transaction",
    "getGenesis": "one file, made into JSON once",
}
"""Answers that hold a list, and what bounds it; the answers of a request end at rpc.max_answer_bytes."""
SINGLE = {
    "rpc.discover",
    "getBlockNumber", "getHeader", "sendTransaction", "getTransaction", "getPendingTxSize",
    "getTotalTransactionCount", "getChallenge", "openSession", "call", "getCode", "getABI", "getState",
}  # fmt: skip


def test_every_answer_is_one_thing_or_a_bounded_list_or_a_page(chain: ToyChain) -> None:
    """A method that answers with a list says here what bounds it, or comes in pages with a test above."""
    node: Any = SimpleNamespace(ledger=chain.ledger, pool=None, status=None)
    assert PAGED | BOUNDED.keys() | SINGLE == set(method_table(node))


def test_a_long_history_is_proved_up_to_a_height(chain: ToyChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY_BYTES", 600)
    for _ in range(9):
        announce(chain, "a")
    first = ask(chain, "getHistory", subject="org:a")
    assert 1 <= first["height"] < 9
    assert ask(chain, "getHistory", subject="org:a", fromHeight=8)["height"] == 9


def test_the_arguments_of_a_view_are_bounded_like_those_of_a_transaction(chain: ToyChain) -> None:
    with pytest.raises(Exception, match="at most 131072"):
        ask(chain, "call", contract="toy", method="get", args={"key": "x" * 200_000})
