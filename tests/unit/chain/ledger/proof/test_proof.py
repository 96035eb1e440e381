"""Proofs: what an honest ledger proves verifies, and no changed byte or swapped part does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.proof.proofs import (
    HEADERS_MAX,
    HeaderProof,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
)
from chain.ledger.proof.prover import NotCertified
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.pruned import UnknownHeight
from chain.ledger.testing import ToyChain, toy_genesis
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import DecodeError, LimitError, ProofInvalid
from chain.primitives.runtimeport import map_key
from chain.primitives.values import encode_value

KEY = map_key("values", "k")


def made() -> ToyChain:
    chain = ToyChain()
    for height in range(1, 6):
        chain.add(
            chain.call("put", {"key": "k", "value": height}),
            *[chain.call("announce", {"subjects": ["dataset:x"]}) for _ in range(height % 3)],
            chain.call("fail", {"code": "NO"}, sender="bureau"),
        )
    return chain


CHAIN = made()


@pytest.fixture
def chain() -> ToyChain:
    return CHAIN


@pytest.fixture
def verifier(chain: ToyChain) -> ProofVerifier:
    return ProofVerifier(chain.genesis)


def sample(chain: ToyChain, kind: type[Any]) -> Any:
    """One honest proof of each kind."""
    prove, batch = chain.ledger.prove, chain.ledger.read.batch(2)
    assert batch is not None
    made: dict[type[Any], Callable[[], Any]] = {
        HeaderProof: lambda: prove.header(2),
        ProvedReceipt: lambda: prove.receipt(batch.tx_ids[3]),
        ProvedTransaction: lambda: prove.transaction(batch.tx_ids[1]),
        ProvedState: lambda: prove.state("toy", KEY, 3),
        ProvedHistory: lambda: prove.history("dataset:x", 2, 4),
    }
    return made[kind]()


def check(verifier: ProofVerifier, proof: Any) -> None:
    checks: dict[type[Any], Callable[[Any], object]] = {
        HeaderProof: verifier.check_header,
        ProvedReceipt: verifier.check_receipt,
        ProvedTransaction: verifier.check_transaction,
        ProvedState: verifier.check_state,
        ProvedHistory: verifier.check_history,
    }
    checks[type(proof)](proof)


KINDS = [HeaderProof, ProvedReceipt, ProvedTransaction, ProvedState, ProvedHistory]


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_proof_travels_as_bytes_and_verifies(
    chain: ToyChain, verifier: ProofVerifier, kind: type[Any]
) -> None:
    proof = sample(chain, kind)
    assert decode(kind, encode(proof)) == proof
    check(verifier, proof)
    check(verifier, proof)


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_byte_breaks_a_proof(chain: ToyChain, kind: type[Any]) -> None:
    raw = encode(sample(chain, kind))
    honest = ProofVerifier(chain.genesis)
    check(honest, decode(kind, raw))
    seeded = random.Random(2)
    for position in sorted(seeded.sample(range(len(raw)), min(len(raw), 150))):
        changed = bytearray(raw)
        changed[position] ^= 1 << seeded.randrange(8)
        with pytest.raises((DecodeError, ProofInvalid)):
            check(honest, decode(kind, bytes(changed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_of_another_chain_does_not_hold(chain: ToyChain, kind: type[Any]) -> None:
    stranger = ProofVerifier(toy_genesis(["bank", "bureau", "registry", "other"]))
    with pytest.raises(ProofInvalid):
        check(stranger, sample(chain, kind))


def test_the_error_names_the_proof_that_broke(chain: ToyChain, verifier: ProofVerifier) -> None:
    receipt = sample(chain, ProvedReceipt)
    state = sample(chain, ProvedState)
    history = sample(chain, ProvedHistory)
    transaction = sample(chain, ProvedTransaction)
    signed = replace(transaction.transaction, signature=bytes(64))
    late = replace(history.entries[0], height=9)
    less = replace(state.proof, bucket=state.proof.bucket[1:])
    more = replace(state.proof, bucket=(*state.proof.bucket, (b"\xff" * 32, bytes(32))))
    other = chain.ledger.prove.header(4)
    broken: list[tuple[Any, str]] = [
        (replace(receipt, receipt=replace(receipt.receipt, code="YES")), "receipt of .* Merkle path"),
        (replace(receipt, path=replace(receipt.path, index=0)), "receipt of .* height or position"),
        (replace(receipt, header=other), "receipt of .* height or position"),
        (replace(transaction, transaction=signed), "transaction .* signature"),
        (replace(transaction, header=other), "transaction .* Merkle path"),
        (replace(state, value=encode_value(9)), "state of toy at height 3: the value is another"),
        (replace(state, value=None), "state of toy at height 3: .* present"),
        (replace(state, key=b"other"), "state of toy at height 3: the path shows that the entry is absent"),
        (replace(state, proof=less), "state of toy at height 3: the path does not lead"),
        (replace(state, proof=more), "state of toy at height 3: the path does not lead"),
        (replace(state, header=other), "state of toy at height 4: the path does not lead"),
        (replace(history, entries=history.entries[1:]), "history of dataset:x .* entries are missing"),
        (replace(history, entries=history.entries[::-1]), "history of dataset:x .* entries are missing"),
        (replace(history, entries=history.entries * 2), "history of dataset:x .* entries are missing"),
        (replace(history, first=3), "history of dataset:x .* of another height, expected 2"),
        (replace(history, entries=(late,)), "history of dataset:x .* an entry of height 9 does not belong"),
        (replace(history, before=None), "history of dataset:x .* without the log's state"),
        (replace(history, before=history.after), "history of dataset:x .* of another height, expected 1"),
        (replace(history, last=5), "history of dataset:x .* of another height, expected 5"),
        (replace(history, subject="dataset:y"), "history of dataset:y .* of another entry"),
        (replace(history, after=state), "history of dataset:x .* of another entry"),
        (replace(history, first=5, last=4), "history of dataset:x"),
    ]
    for proof, text in broken:
        with pytest.raises(ProofInvalid, match=text):
            check(verifier, proof)


def test_an_entry_that_does_not_name_the_subject_is_refused(chain: ToyChain, verifier: ProofVerifier) -> None:
    history = sample(chain, ProvedHistory)
    event = replace(history.entries[0].event, subjects=("dataset:y",))
    changed = (replace(history.entries[0], event=event), *history.entries[1:])
    with pytest.raises(ProofInvalid, match="does not name the subject"):
        verifier.check_history(replace(history, entries=changed))


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("last", range(6))
def test_every_range_of_heights_has_a_complete_history(
    chain: ToyChain, verifier: ProofVerifier, first: int, last: int
) -> None:
    if first > last:
        with pytest.raises(LimitError, match="the first must not be above the last"):
            chain.ledger.prove.history("dataset:x", first, last)
        return
    proof = chain.ledger.prove.history("dataset:x", first, last)
    verifier.check_history(proof)
    assert len(proof.entries) == sum(height % 3 for height in range(first, last + 1))


def test_a_subject_that_never_was_has_a_provably_empty_history(
    chain: ToyChain, verifier: ProofVerifier
) -> None:
    proof = chain.ledger.prove.history("dataset:nobody", 2, 5)
    verifier.check_history(proof)
    assert proof.entries == ()
    assert proof.after.value is None


def test_absence_is_proved_at_the_heights_where_it_held(chain: ToyChain, verifier: ProofVerifier) -> None:
    for height, value in ((0, None), (1, 1), (5, 5)):
        proof = chain.ledger.prove.state("toy", KEY, height)
        assert verifier.check_state(proof).height == height
        assert proof.value == (None if value is None else encode_value(value))


def test_refused_attempts_stand_in_the_proved_history_of_their_organisation(
    chain: ToyChain, verifier: ProofVerifier
) -> None:
    proof = chain.ledger.prove.history("org:bureau", 0, 5)
    verifier.check_history(proof)
    assert [entry.event.name for entry in proof.entries] == ["Registered"] + ["Refused"] * 5


def test_a_height_without_certificate_is_proved_by_a_later_one(verifier: ProofVerifier) -> None:
    chain = ToyChain()
    headers = [chain.execute() for _ in range(3)]
    with pytest.raises(NotCertified, match="up to height 3 yet"):
        chain.ledger.prove.header(1)
    chain.ledger.certify(chain.certificate(headers[2]))
    proof = chain.ledger.prove.header(1)
    assert verifier.check_header(proof) == headers[0]
    assert len(proof.headers) == 3
    with pytest.raises(UnknownHeight):
        chain.ledger.prove.header(4)
    broken = [
        (proof.headers[0], proof.headers[2]),
        (proof.headers[0], replace(proof.headers[1], time=5), proof.headers[2]),
        proof.headers[:2],
    ]
    for chosen in broken:
        with pytest.raises(ProofInvalid, match="header 1"):
            verifier.check_header(replace(proof, headers=chosen))


def test_headers_far_below_a_certificate_are_not_proved_by_it() -> None:
    chain = ToyChain()
    last = [chain.execute() for _ in range(HEADERS_MAX + 1)][-1]
    chain.ledger.certify(chain.certificate(last))
    with pytest.raises(NotCertified):
        chain.ledger.prove.header(1)
    assert len(chain.ledger.prove.header(2).headers) == HEADERS_MAX


def test_a_certificate_needs_a_quorum_of_the_genesis_validators(
    chain: ToyChain, verifier: ProofVerifier
) -> None:
    header = chain.ledger.read.header(2)
    assert header is not None
    for signers in range(3):
        with pytest.raises(ProofInvalid, match="a quorum is 3"):
            verifier.check_header(HeaderProof((header,), chain.certificate(header, signers)))
    foreign = replace(header, validators_hash=ZERO_HASH)
    with pytest.raises(ProofInvalid, match="unknown here"):
        verifier.check_header(HeaderProof((foreign,), chain.certificate(foreign)))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.binary(max_size=80), st.integers(0, 10**6), st.integers(0, 80))
def test_hostile_bytes_meet_only_declared_errors(
    kind: type[Any], junk: bytes, start: int, length: int
) -> None:
    raw = encode(sample(CHAIN, kind))
    at = start % len(raw)
    with pytest.raises((DecodeError, ProofInvalid)):
        check(ProofVerifier(CHAIN.genesis), decode(kind, raw[:at] + junk + b"\xc1" + raw[at + length :]))
