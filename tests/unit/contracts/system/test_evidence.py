"""Two consensus messages that no correct node signs both of can be put on record; nothing else can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode
from consensus.evidence import conflicting
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Signed,
    Status,
    ViewChange,
    sign,
)
from tests.unit.contracts.system.founding import CHAIN_ID, proof_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

KEY = seeded("bank/node")
ONE, OTHER = bytes([1]) * 32, bytes([2]) * 32
CERTIFICATE = Certificate(7, ONE, ((ONE, UNSIGNED),))
PREPARED = Prepared(1, 8, ONE, ((ONE, UNSIGNED), (OTHER, UNSIGNED)))


def signed(message: Signed, chain_id: bytes = CHAIN_ID, signer: str = "bank/node") -> bytes:
    key = seeded(signer)
    return encode(sign(message, key, chain_id))


def pairs() -> list[tuple[Signed, Signed]]:
    """Return contradictions of every kind, with numbers of every width."""
    found: list[tuple[Signed, Signed]] = []
    for kind in (PrePrepare, Prepare, Commit):
        for view, height in ((0, 1), (127, 128), (300, 70_000), (2**32, 2**63)):
            found.append(
                (
                    kind(view, height, ONE, KEY.public, UNSIGNED),
                    kind(view, height, OTHER, KEY.public, UNSIGNED),
                )
            )
    found.append((Checkpoint(9, ONE, KEY.public, UNSIGNED), Checkpoint(9, OTHER, KEY.public, UNSIGNED)))
    changes = (
        ViewChange(1, 2, None, (), KEY.public, UNSIGNED),
        ViewChange(1, 2, CERTIFICATE, (PREPARED,), KEY.public, UNSIGNED),
    )
    leads = (
        NewView(1, 2, (changes[0],), (), KEY.public, UNSIGNED),
        NewView(1, 2, (changes[1],), (), KEY.public, UNSIGNED),
    )
    return [*found, changes, leads]


@pytest.mark.parametrize("number", range(15))
def test_a_contradiction_of_any_kind_is_recorded_for_the_node_and_its_org(bare: World, number: int) -> None:
    first, second = pairs()[number]
    assert conflicting(first, second), "consensus calls it a contradiction too"
    bare.do("rival", "governance.report_evidence", first=signed(first), second=signed(second))
    assert bare.trail("node:bank-node") == ["EvidenceReported"]
    assert bare.trail("org:bank")[-1] == "EvidenceReported"
    again = {"first": signed(second), "second": signed(first)}
    assert bare.refusal("bureau", "governance.report_evidence", **again) == "ALREADY_REPORTED"


def test_the_record_says_which_vote_and_who_reported_it(bare: World) -> None:
    first, second = Prepare(3, 500, ONE, KEY.public, UNSIGNED), Prepare(3, 500, OTHER, KEY.public, UNSIGNED)
    bare.do("rival", "governance.report_evidence", first=signed(first), second=signed(second))
    record = bare.read("governance", "evidence", f"{KEY.public.hex()}/prepare")
    assert (record["org"], record["node"], record["by"]) == ("bank", "bank-node", "rival")
    assert (record["view"], record["height"], record["reported_at"]) == (3, 500, bare.height)


PREPARE = Prepare(3, 500, ONE, KEY.public, UNSIGNED)
CONFLICT = Prepare(3, 500, OTHER, KEY.public, UNSIGNED)
CASES: dict[str, tuple[bytes, bytes, str]] = {
    "the same message twice": (signed(PREPARE), signed(PREPARE), "NOT_CONFLICTING"),
    "another height": (
        signed(PREPARE),
        signed(Prepare(3, 501, OTHER, KEY.public, UNSIGNED)),
        "NOT_CONFLICTING",
    ),
    "another view": (
        signed(PREPARE),
        signed(Prepare(4, 500, OTHER, KEY.public, UNSIGNED)),
        "NOT_CONFLICTING",
    ),
    "another kind": (signed(PREPARE), signed(Commit(3, 500, OTHER, KEY.public, UNSIGNED)), "NOT_CONFLICTING"),
    "another chain": (signed(PREPARE), signed(CONFLICT, bytes(32)), "BAD_SIGNATURE"),
    "another signer": (signed(PREPARE), signed(CONFLICT, signer="bureau/node"), "BAD_SIGNATURE"),
    "one changed byte": (signed(PREPARE), signed(CONFLICT)[:-1] + b"\0", "BAD_SIGNATURE"),
    "a status": (
        signed(PREPARE),
        signed(Status(1, 1, True, None, 1, (), (), b"", b"", KEY.public, UNSIGNED)),
        "BAD_MESSAGE",
    ),
    "nothing": (signed(PREPARE), b"", "BAD_MESSAGE"),
    "a tag that is no text": (
        signed(PREPARE),
        b"\x95\xa3\xff\xfe\xfd" + bytes(60) + b"\xc4\x20" + bytes(32) + b"\xc4\x40" + bytes(64),
        "BAD_MESSAGE",
    ),
    "noise": (signed(PREPARE), bytes(200), "BAD_MESSAGE"),
    "too much": (signed(PREPARE), bytes(60_001), "BAD_MESSAGE"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_evidence_is_refused(bare: World, case: str) -> None:
    first, second, code = CASES[case]
    assert bare.refusal("rival", "governance.report_evidence", first=first, second=second) == code
    assert bare.refusal("rival", "governance.report_evidence", first=second, second=first) == code


def test_a_stranger_s_contradiction_concerns_nobody(bare: World) -> None:
    stranger = seeded("stranger")
    messages = [
        signed(Prepare(1, 1, digest, stranger.public, UNSIGNED), signer="stranger") for digest in (ONE, OTHER)
    ]
    args = {"first": messages[0], "second": messages[1]}
    assert bare.refusal("rival", "governance.report_evidence", **args) == "UNKNOWN_NODE"


def test_a_key_that_was_replaced_or_left_stays_answerable(bare: World) -> None:
    bare.do(
        "bank",
        "governance.rotate_node_key",
        name="bank-node",
        public_key=seeded("bank/node/2").public,
        proof=proof_of(seeded("bank/node/2"), "bank"),
    )
    args = {"first": signed(PREPARE), "second": signed(CONFLICT)}
    bare.do("rival", "governance.report_evidence", **args)


HONEST: dict[str, bytes] = {
    "prepare": signed(PREPARE),
    "commit": signed(Commit(3, 500, ONE, KEY.public, UNSIGNED)),
    "checkpoint": signed(Checkpoint(500, ONE, KEY.public, UNSIGNED)),
}


@pytest.mark.parametrize("kind", HONEST)
def test_no_change_of_a_byte_of_what_a_node_signed_is_evidence_against_it(bare: World, kind: str) -> None:
    """Two bytes before a checkpoint's hash are not signed: others there convicted its signer."""
    said = HONEST[kind]
    for place in range(len(said)):
        for change in (0x01, 0x80, said[place]):
            other = bytearray(said)
            other[place] ^= change
            bare.refusal("rival", "governance.report_evidence", first=said, second=bytes(other))
