"""Votes for a skip as files: what makes a decision, what is refused by name, what a key signs only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.ledger.block import Batch, Skip
from chain.ledger.skip import check_decision
from chain.ledger.skiprows import SkipRefused
from chain.ledger.testing import toy_genesis, toy_key
from chain.node.signedskips import SignedSkips
from chain.node.skipvote import VOTE_BYTES_MAX, SkipVote, combine, sign_skip
from chain.primitives.certificate import payload_digest
from chain.primitives.codec import decode, encode
from chain.primitives.errors import DecodeError

GENESIS = toy_genesis()
KEYS = [toy_key(f"{org}-node") for org in ("bank", "bureau", "registry", "regulator")]
IDS = tuple(bytes([number]) * 32 for number in range(3))
PAYLOAD = encode(Batch(7, 0, 0, KEYS[0].public, 5, IDS))
SKIP = Skip(7, payload_digest(PAYLOAD), 0, IDS[:2], "kills")


def votes(skip: Skip = SKIP) -> list[tuple[str, SkipVote]]:
    signed = [sign_skip(GENESIS.chain_id, skip, PAYLOAD, None, key) for key in KEYS]
    return [(f"file{number}", vote) for number, vote in enumerate(signed)]


def together(given_votes: list[tuple[str, SkipVote]]) -> Any:
    return combine(given_votes, GENESIS.chain_id, GENESIS.validator_keys)


def test_a_quorum_of_any_order_makes_the_same_decision() -> None:
    decision = together(votes()[:3])
    assert decision == together(votes()[:3][::-1])
    assert decision.skip == SKIP
    check_decision(decision, GENESIS.chain_id, GENESIS.validator_keys)
    assert len(together(votes()).signatures) == 4


CHANGED: dict[str, tuple[Callable[[SkipVote], SkipVote], str]] = {
    "chain": (lambda vote: replace(vote, chain_id=bytes(32)), "of chain 0000"),
    "signature": (lambda vote: replace(vote, signature=bytes(64)), "signature of .* does not hold"),
    "signer": (lambda vote: replace(vote, signer=KEYS[0].public), "signature of .* does not hold"),
    "stranger": (
        lambda vote: sign_skip(GENESIS.chain_id, vote.skip, PAYLOAD, None, toy_key("stranger")),
        "is no validator of height 7",
    ),
    "payload": (
        lambda vote: replace(vote, payload=encode(Batch(7, 1, 0, KEYS[0].public, 5, IDS))),
        "its batch is not the one",
    ),
    "no batch at all": (lambda vote: replace(vote, payload=b"?"), "its batch is not the one"),
    "attempt": (lambda vote: replace(vote, skip=replace(SKIP, attempt=1)), "attempt 1, not 0"),
    "height": (lambda vote: replace(vote, skip=replace(SKIP, height=8)), "height 8, not 7"),
    "reason": (lambda vote: replace(vote, skip=replace(SKIP, reason="x")), "reason 'x', not 'kills'"),
    "batch": (lambda vote: replace(vote, skip=replace(SKIP, batch=bytes(32))), "batch 0000"),
    "ids": (lambda vote: replace(vote, skip=replace(SKIP, tx_ids=IDS)), "3 transactions, not the same 2"),
}


@pytest.mark.parametrize("name", list(CHANGED))
def test_one_vote_that_is_not_what_it_should_be_is_named(name: str) -> None:
    change, said = CHANGED[name]
    given_votes = votes()
    given_votes[2] = ("the bad file", change(given_votes[2][1]))
    with pytest.raises(SkipRefused, match=rf"^the bad file: .*{said}"):
        together(given_votes)


def test_too_few_and_one_twice_are_refused() -> None:
    with pytest.raises(SkipRefused, match="2 of 3 signatures"):
        together(votes()[:2])
    with pytest.raises(SkipRefused, match="file1: of the same validator as file0"):
        together([votes()[0], ("file1", votes()[0][1]), votes()[2]])


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"reason": ""}, "0 characters: expected 1..200"),
        ({"reason": "x" * 201}, "201 characters"),
        ({"reason": "two\nlines"}, "printable"),
        ({"reason": " space"}, "printable"),
        ({"tx_ids": (bytes([9]) * 32,)}, "does not hold"),
        ({"tx_ids": IDS[1::-1]}, "does not hold"),
        ({"batch": bytes(32)}, "does not hold"),
    ],
)
def test_a_skip_that_does_not_fit_is_not_signed(over: dict[str, Any], said: str) -> None:
    with pytest.raises(SkipRefused, match=said):
        sign_skip(GENESIS.chain_id, replace(SKIP, **over), PAYLOAD, None, KEYS[0])


def test_the_largest_vote_fits_its_bound() -> None:
    ids = tuple(number.to_bytes(32, "big") for number in range(10_000))
    payload = encode(Batch(2**63, 2**63, 2**63, KEYS[0].public, 2**63, ids))
    skip = Skip(2**63, payload_digest(payload), 2**63, ids, "x" * 200)
    raw = encode(sign_skip(GENESIS.chain_id, skip, payload, None, KEYS[0]))
    assert len(raw) < VOTE_BYTES_MAX
    assert decode(SkipVote, raw).skip == skip


@given(st.binary(max_size=2_000), st.integers(0, 1_000))
def test_any_bytes_are_a_vote_or_malformed(data: bytes, at: int) -> None:
    raw = encode(votes()[0][1])
    for given_bytes in (data, raw[:at] + data[:1] + raw[at + 1 :]):
        try:
            vote = decode(SkipVote, given_bytes)
        except DecodeError:
            continue
        assert encode(vote) == given_bytes


def test_a_key_signs_one_skip_a_height_and_attempt(tmp_path: Path) -> None:
    memory = SignedSkips(tmp_path / "node.key")
    memory.claim(SKIP)
    memory.claim(SKIP)
    other = replace(SKIP, reason="another")
    with pytest.raises(SkipRefused, match=r"signed another skip.*'kills'.*--attempt 1"):
        SignedSkips(tmp_path / "node.key").claim(other)
    memory.claim(replace(other, attempt=1))
    memory.claim(replace(other, height=8))
    (tmp_path / "node.skips" / "not-one").write_bytes(b"")
    assert memory.above(6) == {7: 1, 8: 0}
    assert memory.above(7) == {8: 0}
    assert SignedSkips(tmp_path / "other.key").above(0) == {}
    (tmp_path / "node.skips" / "not-one").unlink()
    assert sorted(path.name for path in (tmp_path / "node.skips").iterdir()) == ["7-0", "7-1", "8-0"]


def test_what_cannot_be_read_or_written_is_not_signed(tmp_path: Path) -> None:
    memory = SignedSkips(tmp_path / "node.key")
    memory.claim(SKIP)
    (tmp_path / "node.skips" / "7-0").write_bytes(b"?")
    with pytest.raises(SkipRefused, match="cannot be read"):
        memory.claim(SKIP)
    with pytest.raises(SkipRefused, match="cannot be written"):
        SignedSkips(tmp_path / "nowhere" / "node.key").claim(SKIP)
