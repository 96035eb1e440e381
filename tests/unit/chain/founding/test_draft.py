"""Drafts: the same cards give the same bytes, and nothing else than what follows from cards is taken."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.founding.cards import AHEAD_MS_MAX, DAY_MS, FoundingCard, founding_key
from chain.founding.draft import (
    FILE_BYTES_MAX,
    FOUNDERS_MAX,
    FoundingDraft,
    check_draft,
    check_follows,
    check_own,
    combine,
    contracts_of,
    draft_from_bytes,
    draft_to_bytes,
)
from chain.founding.founders import SystemContracts
from chain.founding.refusals import FoundingAltered, FoundingRefused
from chain.ledger.genesis import Limits, genesis_from_json, genesis_to_json
from chain.primitives.errors import ConfigError
from tests.unit.chain.founding.founders import CONTRACTS, FOUNDING, NOW, ORGS, card_of, draft_of, key, named

DRAFT = draft_of()
RAW = draft_to_bytes(DRAFT)
NAME = "mail/founding.json"


def refused_together(*cards: FoundingCard) -> str:
    with pytest.raises(FoundingRefused) as refused:
        combine(named(*cards), Limits(), CONTRACTS)
    return str(refused.value)


@given(st.permutations(ORGS))
def test_the_same_cards_in_any_order_give_the_same_bytes(orgs: list[str]) -> None:
    assert draft_to_bytes(draft_of(*orgs)) == RAW


def test_a_draft_is_read_as_it_was_written_and_follows_from_its_cards() -> None:
    found = draft_from_bytes(RAW, NAME)
    assert found == DRAFT
    check_draft(found, NAME, CONTRACTS, NOW)
    assert [validator.org for validator in found.genesis.validators] == sorted(ORGS)
    assert found.genesis.time == NOW
    assert found.genesis.chain_name == FOUNDING


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_a_draft_with_any_byte_altered_is_refused_by_name(place: int, change: int) -> None:
    altered = bytearray(RAW)
    altered[place] ^= change
    with pytest.raises(FoundingRefused) as refused:
        draft_from_bytes(bytes(altered), NAME)
    assert NAME in str(refused.value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
).map(lambda cards: json.dumps(
    {"kind": "assent-founding-draft", "version": 1, "cards": cards, "genesis": cards}).encode()
))  # fmt: skip
def test_no_bytes_make_a_draft_fail_otherwise_than_by_name(raw: bytes) -> None:
    with pytest.raises(FoundingRefused) as refused:
        draft_from_bytes(raw, NAME)
    assert NAME in str(refused.value)


def test_height_0_lies_in_the_past_of_every_founder_however_far_ahead_another_clock_is() -> None:
    """A chain whose genesis is of the future stands still until then."""
    ahead = card_of("bureau", made=NOW + AHEAD_MS_MAX)
    draft = combine(named(ahead, card_of("bank")), Limits(), CONTRACTS)
    assert draft.genesis.time == NOW
    check_draft(draft, NAME, CONTRACTS, NOW)
    check_follows(draft, NAME, CONTRACTS)


def test_what_stands_twice_is_refused_with_both_places_and_the_value() -> None:
    bank, bureau = card_of("bank"), card_of("bureau")
    again = card_of("bank", node_address="elsewhere.example:1")
    assert "organisation 'bank'" in refused_together(bank, again)
    said = refused_together(bank, card_of("bureau", node_address=bank.node_address))
    assert f"address '{bank.node_address}'" in said
    assert "bank.card.json and bureau.card.json" in said
    assert "name of a node 'bank-node'" in refused_together(bank, card_of("bureau", node_name="bank-node"))
    shared = founding_key(key("bank node"), FOUNDING, "bureau")  # whoever holds a key can prove it for two
    assert f"key '{shared.key.hex()}'" in refused_together(bank, card_of("bureau", node=shared))
    twice = founding_key(key("bureau admin"), FOUNDING, "bureau")
    assert "bureau.card.json states twice the key" in refused_together(bank, card_of("bureau", node=twice))
    same = card_of("bureau", agent_address=bureau.node_address)
    assert "bureau.card.json states twice the address" in refused_together(bank, same)


def test_a_card_of_another_founding_is_foreign() -> None:
    said = refused_together(card_of("bank"), card_of("bureau", founding="other-union"))
    assert "bureau.card.json: a card for the founding of 'other-union'" in said


def test_founders_are_counted_and_limits_go_together() -> None:
    assert "0 cards" in refused_together()
    assert f"{FOUNDERS_MAX + 1} cards" in refused_together(*[card_of("bank")] * (FOUNDERS_MAX + 1))
    with pytest.raises(ConfigError, match="tx_bytes"):
        draft_of("bank", limits=Limits(tx_bytes=5_000, block_bytes=1_024))
    with pytest.raises(FoundingRefused, match=f"at most {FILE_BYTES_MAX}"):
        draft_from_bytes(b" " * (FILE_BYTES_MAX + 1), NAME)


def test_a_genesis_that_does_not_follow_from_the_cards_is_refused_with_the_part_that_differs() -> None:
    """Whoever combines can change no more than the limits, though the file it writes is whole."""
    for part, changed in (
        ("validators", {"validators": DRAFT.genesis.validators[::-1]}),
        ("orgs", {"orgs": DRAFT.genesis.orgs[::-1]}),
        ("time", {"time": NOW + 1}),
        ("chain_name", {"chain_name": "other"}),
    ):
        forged = draft_to_bytes(FoundingDraft(DRAFT.cards, replace(DRAFT.genesis, **changed)))  # type: ignore[arg-type]
        found = draft_from_bytes(forged, NAME)
        with pytest.raises(FoundingAltered, match=f"{NAME}: genesis.{part} "):
            check_draft(found, NAME, CONTRACTS, NOW)
    other = SystemContracts({"orgs": "members = Var(list, [1])\n"}, {})
    with pytest.raises(FoundingAltered, match="'orgs' is not the contract of this Assent"):
        check_draft(DRAFT, NAME, other, NOW)
    with pytest.raises(FoundingAltered, match=r"genesis\.init_args: what 'orgs' begins with"):
        check_draft(DRAFT, NAME, replace(CONTRACTS, arguments={"orgs": {"more": 1}}), NOW)


def test_a_draft_is_checked_by_its_own_contracts_too_and_still_follows_from_its_cards() -> None:
    other = replace(CONTRACTS, arguments={"orgs": {"more": 1}})
    draft = combine(named(*map(card_of, ORGS)), Limits(), other)
    check_follows(draft, NAME, contracts_of(draft))
    forged = replace(draft, genesis=replace(draft.genesis, orgs=draft.genesis.orgs[::-1]))
    with pytest.raises(FoundingAltered, match=r"genesis\.orgs"):
        check_follows(forged, NAME, contracts_of(forged))


def test_a_draft_with_an_expired_card_is_refused_by_its_founder() -> None:
    brief = card_of("bureau", expires=NOW + DAY_MS)
    draft = combine(named(card_of("bank"), brief), Limits(), CONTRACTS)
    check_draft(draft, NAME, CONTRACTS, NOW)
    with pytest.raises(FoundingRefused, match="the card of 'bureau' expired"):
        check_draft(draft, NAME, CONTRACTS, NOW + DAY_MS)


def test_an_own_card_that_is_missing_or_was_exchanged_is_noticed_by_its_founder() -> None:
    check_own(DRAFT, card_of("bank"))
    with pytest.raises(FoundingRefused, match="no card of 'insurer'"):
        check_own(DRAFT, card_of("insurer"))
    with pytest.raises(FoundingRefused, match="another card of 'bank' than your folder: node_address = "):
        check_own(DRAFT, card_of("bank", node_address="elsewhere.example:1"))


def test_the_genesis_of_a_draft_is_one_that_a_node_reads() -> None:
    assert genesis_from_json(genesis_to_json(DRAFT.genesis), "x") == DRAFT.genesis
