"""Frames, outbox and backoff: the pure parts of a link."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.network.backoff import BASE_S, CAP_S, Backoff
from chain.network.frame import ANSWERS, BOUNDS, HEADER_BYTES, FrameReader, Kind, ProtocolBreach, encode_frame
from chain.network.messages import (
    BlocksRequest,
    Hello,
    PushedTransactions,
    TransactionAnswer,
    TransactionIds,
)
from chain.network.outbox import Outbox
from chain.primitives.codec import decode, encode, max_bytes_of
from chain.primitives.errors import AssentError

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=8)), max_size=20)


def held(reader: FrameReader) -> int:
    """Return the bytes of frames that were not taken yet, the last of them perhaps unfinished."""
    return len(reader._buffer) - reader._at


@SETTINGS
@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_frames_survive_any_chunking(frames: list[tuple[Kind, bytes]], sizes: list[int]) -> None:
    stream = b"".join(encode_frame(kind, body) for kind, body in frames)
    reader, got, at = FrameReader(), [], 0
    for size in [*sizes, *[7] * len(stream)]:
        got += list(reader.feed(stream[at : at + size]))
        at += size
    assert got == frames
    assert held(reader) == 0


@SETTINGS
@given(st.binary(max_size=400))
def test_hostile_bytes_raise_only_a_breach_and_cost_no_more_than_they_are(data: bytes) -> None:
    reader = FrameReader()
    try:
        for kind, body in reader.feed(data):
            assert len(body) <= BOUNDS[kind]
    except ProtocolBreach:
        return
    assert held(reader) <= len(data)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_a_claimed_length_beyond_the_bound_is_refused_before_any_body_arrives(kind: Kind) -> None:
    """FISCO-BCOS 1951: a claimed length buffered gigabytes."""
    with pytest.raises(ProtocolBreach, match=f"claims {BOUNDS[kind] + 1} bytes"):
        list(FrameReader().feed(bytes([kind]) + (BOUNDS[kind] + 1).to_bytes(4, "big")))


def test_a_refused_kind_is_refused_on_its_header_alone() -> None:
    def admit(kind: Kind) -> None:
        raise ProtocolBreach(f"{kind.name} not now")

    with pytest.raises(ProtocolBreach, match="BLOCKS not now"):
        list(FrameReader(admit).feed(encode_frame(Kind.BLOCKS, bytes(9))[:HEADER_BYTES]))


def test_a_header_is_admitted_once_however_its_body_arrives() -> None:
    asked: list[Kind] = []
    reader = FrameReader(asked.append)
    for byte in encode_frame(Kind.STATUS, b"abcdef") * 2:
        list(reader.feed(bytes([byte])))
    assert asked == [Kind.STATUS, Kind.STATUS]


def test_who_stops_early_finds_the_rest_and_new_frames_behind_it() -> None:
    reader = FrameReader()
    stream = b"".join(encode_frame(Kind.PING, bytes([number])) for number in range(4))
    assert next(reader.feed(stream)) == (Kind.PING, b"\0")
    assert [body for _, body in reader.feed(encode_frame(Kind.PING, b"\4")[:-1])] == [b"\1", b"\2", b"\3"]
    assert list(reader.feed(b"\4")) == [(Kind.PING, b"\4")]
    assert held(reader) == 0


def test_our_own_oversized_frame_is_our_bug() -> None:
    with pytest.raises(ValueError, match="PING frame of 9 bytes"):
        encode_frame(Kind.PING, bytes(9))


@pytest.mark.parametrize(
    "record", [Hello, PushedTransactions, TransactionIds, TransactionAnswer, BlocksRequest]
)
def test_no_record_outgrows_its_frame(record: type) -> None:
    assert max_bytes_of(record) <= max(BOUNDS.values())


@SETTINGS
@given(st.binary(max_size=200))
def test_hostile_bodies_raise_only_declared_errors(data: bytes) -> None:
    for record in (Hello, PushedTransactions, TransactionIds, TransactionAnswer, BlocksRequest):
        try:
            assert encode(decode(record, data)) == data
        except AssentError:
            continue


def test_urgent_frames_overtake_answers_and_gossip() -> None:
    outbox = Outbox(10_000)
    for kind in (Kind.TXS, Kind.BLOCKS, Kind.CONSENSUS, Kind.TX_IDS, Kind.STATUS):
        assert outbox.put(kind, encode_frame(kind, b""))
    order = [kind for kind, _ in FrameReader().feed(outbox.take())]
    assert order == [Kind.CONSENSUS, Kind.STATUS, Kind.BLOCKS, Kind.TXS, Kind.TX_IDS]
    assert not outbox
    assert outbox.queued_bytes == 0


@SETTINGS
@given(st.lists(st.tuples(st.sampled_from([Kind.CONSENSUS, Kind.TXS, Kind.BLOCKS]), st.integers(0, 400))))
def test_each_lane_keeps_its_bound_and_its_order(puts: list[tuple[Kind, int]]) -> None:
    outbox, kept = Outbox(1_000), []
    for number, (kind, size) in enumerate(puts):
        frame = encode_frame(kind, number.to_bytes(4, "big") + bytes(size))
        if outbox.put(kind, frame):
            kept.append((kind, number))
    assert outbox.queued_bytes <= 3 * 1_000
    assert sum(outbox.drops.values()) == len(puts) - len(kept)
    out = [(kind, int.from_bytes(body[:4], "big")) for kind, body in FrameReader().feed(outbox.take(10**6))]
    assert out == sorted(kept, key=lambda item: (Kind.CONSENSUS, Kind.BLOCKS, Kind.TXS).index(item[0]))


def test_a_take_stays_near_its_budget() -> None:
    outbox = Outbox(1 << 20)
    for _ in range(100):
        outbox.put(Kind.CONSENSUS, encode_frame(Kind.CONSENSUS, bytes(1_000)))
    assert len(outbox.take(10_000)) <= 10_000 + 1_005


def test_every_answer_has_its_request() -> None:
    assert set(ANSWERS.values()).isdisjoint(ANSWERS)


@pytest.mark.parametrize("seed", range(5))
def test_backoff_grows_is_capped_and_jitters(seed: int) -> None:
    """An uncapped one waited 327,680 s (Quorum 1681)."""
    backoff = Backoff(random.Random(seed))
    waits = [backoff.next() for _ in range(200)]
    assert BASE_S / 2 <= waits[0] <= BASE_S
    assert max(waits) <= CAP_S
    assert all(wait >= CAP_S / 2 for wait in waits[10:])
    assert len(set(waits)) > 190
    backoff.reset()
    assert backoff.next() <= BASE_S
