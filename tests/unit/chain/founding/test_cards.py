"""Cards: what is signed and proved is taken; anything else is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.founding.cards import (
    AHEAD_MS_MAX,
    DAY_MS,
    FILE_BYTES_MAX,
    card_from_bytes,
    card_to_bytes,
    check_current,
    difference,
    founding_key,
    sign_card,
)
from chain.founding.refusals import FoundingAltered, FoundingRefused
from tests.unit.chain.founding.founders import FOUNDING, NOW, card_of, key

CARD = card_of("bank")
RAW = card_to_bytes(CARD)
NAME = "mail/bank.card.json"


def refusal(raw: bytes) -> str:
    with pytest.raises(FoundingRefused) as refused:
        card_from_bytes(raw, NAME)
    return str(refused.value)


def test_a_card_is_read_as_it_was_written() -> None:
    assert card_from_bytes(RAW, NAME) == CARD
    without = card_of("regulator", agent=None, agent_address="", roles=("auditor",))
    assert card_from_bytes(card_to_bytes(without), NAME) == without
    assert without.addresses == (without.node_address,)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_a_card_with_any_byte_altered_is_refused_by_name(place: int, change: int) -> None:
    altered = bytearray(RAW)
    altered[place] ^= change
    assert NAME in refusal(bytes(altered))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.binary(max_size=4))
def test_a_card_that_is_cut_or_has_bytes_put_in_is_refused_by_name(place: int, more: bytes) -> None:
    assert NAME in refusal(RAW[:place])
    if more:
        assert NAME in refusal(RAW[:place] + more + RAW[place:])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: json.dumps(text).encode()))
def test_no_bytes_make_a_card_fail_otherwise_than_by_name(raw: bytes) -> None:
    assert NAME in refusal(raw)


def test_line_ends_that_a_mail_program_changed_are_refused_with_the_remedy() -> None:
    assert "as an attachment" in refusal(RAW.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"founding": "Data Union"}, "founding = 'Data Union'"),
        ({"org": "bank\x1b[2J"}, r"org = 'bank\x1b[2J'"),
        ({"name": "Bank\u202e"}, "printable"),
        ({"name": " Bank"}, "no space"),
        ({"name": "Bank\nApproved by all"}, "printable"),
        ({"roles": ("owner", "king")}, "king"),
        ({"roles": ("owner", "owner")}, "once"),
        ({"node_name": "../x"}, "node_name = '../x'"),
        ({"node_address": "0.0.0.0:1"}, "node_address = '0.0.0.0:1'"),
        ({"agent_address": ""}, "agent_address = ''"),
        ({"agent": None}, "names no agent's key"),
        ({"expires": NOW}, "up to 366 days after"),
        ({"expires": NOW + 367 * DAY_MS}, "up to 366 days after"),
        ({"expires": 2**64 - 1}, "up to 366 days after"),
    ],
)
def test_a_signed_card_with_a_value_out_of_its_range_is_refused_by_field_and_value(
    change: dict[str, Any], said: str
) -> None:
    raw = card_to_bytes(sign_card(replace(CARD, **change), key("bank admin")))
    assert said in refusal(raw)


def test_a_key_that_its_holder_did_not_prove_for_this_founder_and_founding_is_refused_by_its_role() -> None:
    """Nobody founds with another's key: proofs are of the key, the organisation and the founding."""
    mallory = key("mallory admin")
    for role in ("node", "agent"):
        for proved in (
            card_of("bureau").node,  # of another founder, with its proof
            founding_key(key("bank node"), "other-union", "bank"),
            replace(card_of("bank").node, proof=bytes(64)),
        ):
            forged = sign_card(replace(card_of("bank"), **{role: proved}), key("bank admin"))
            assert f"{role}.proof" in refusal(card_to_bytes(forged))
    stolen = sign_card(replace(card_of("bank"), admin=founding_key(mallory, FOUNDING, "bureau")), mallory)
    assert "admin.proof" in refusal(card_to_bytes(stolen))


def test_a_card_that_another_key_signed_or_none_is_refused() -> None:
    with pytest.raises(FoundingAltered, match="never signed"):
        card_from_bytes(card_to_bytes(sign_card(CARD, key("bureau admin"))), NAME)
    with pytest.raises(FoundingAltered, match="never signed"):
        card_from_bytes(card_to_bytes(replace(CARD, signature=bytes(64))), NAME)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 10_000,
        b'{"kind": "assent-founding-card", "version": true}',
        b'{"kind": "assent-founding-card", "version": 2}',
        b'{"kind": "assent-key", "version": 1}',
        b'{"kind": "assent-founding-card", "version": 1' + b"0" * 9_000 + b"}",
        RAW.replace(b'"version": 1,', b'"version": 1,\n "version": 1,'),
        RAW.replace(b"Bank", b"\\ud800"),
        RAW.replace(b'"Bank"', b"NaN"),
        RAW.replace(b'"Bank"', b'"' + b"B" * 101 + b'"'),
        RAW.replace(b'"Bank"', b'{"a": 1}'),
        b" " * (FILE_BYTES_MAX + 1),
    ],
)
def test_hostile_json_is_refused_by_name(raw: bytes) -> None:
    assert NAME in refusal(raw)


def test_a_card_counts_from_when_it_was_made_until_it_expires() -> None:
    check_current(CARD, NAME, NOW)
    check_current(CARD, NAME, CARD.expires - 1)
    check_current(CARD, NAME, NOW - AHEAD_MS_MAX)
    with pytest.raises(FoundingRefused, match="expired at 2027-02-14"):
        check_current(CARD, NAME, CARD.expires)
    with pytest.raises(FoundingRefused, match="one of the two clocks is wrong"):
        check_current(CARD, NAME, NOW - AHEAD_MS_MAX - 1)


def test_the_difference_of_two_cards_is_the_first_field_with_both_values() -> None:
    moved = card_of("bank", node_address="elsewhere.example:1")
    assert difference(CARD, CARD) == ""
    assert difference(CARD, moved).startswith("node_address = 'elsewhere.example:1' instead of 'node.bank")
