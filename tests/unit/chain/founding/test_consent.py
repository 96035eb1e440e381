"""Consents: a chain begins when all founders signed this very genesis, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.founding.consent import (
    FoundingConsent,
    check_complete,
    check_consents,
    consent_from_bytes,
    consent_to_bytes,
    give_consent,
)
from chain.founding.draft import FoundingDraft
from chain.founding.refusals import FoundingAltered, FoundingRefused
from chain.ledger.genesis import Limits
from tests.unit.chain.founding.founders import ORGS, draft_of, key

DRAFT = draft_of()
NAME = "mail/bank.signature.json"


def consent(org: str, draft: FoundingDraft = DRAFT) -> FoundingConsent:
    return give_consent(draft, org, key(f"{org} admin"))


def labelled(*consents: FoundingConsent) -> list[tuple[str, FoundingConsent]]:
    return [(f"{item.org}.signature.json", item) for item in consents]


ALL = labelled(*map(consent, ORGS))
RAW = consent_to_bytes(consent("bank"))


def test_all_signatures_in_any_order_found_the_chain_and_each_missing_one_is_named() -> None:
    check_complete(DRAFT, ALL)
    check_complete(DRAFT, ALL[::-1])
    for place, org in enumerate(ORGS):
        assert check_consents(DRAFT, ALL[:place] + ALL[place + 1 :]) == [org]
    with pytest.raises(FoundingRefused, match="not signed by bank, bureau, registry, regulator"):
        check_complete(DRAFT, [])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_a_signature_with_any_byte_altered_is_refused_by_name(place: int, change: int) -> None:
    altered = bytearray(RAW)
    altered[place] ^= change
    with pytest.raises(FoundingRefused) as refused:
        check_complete(DRAFT, [*ALL[1:], (NAME, consent_from_bytes(bytes(altered), NAME))])
    assert NAME in str(refused.value)


def test_a_signature_of_another_genesis_founder_or_key_is_refused() -> None:
    other = draft_of(limits=Limits(block_txs=999))
    with pytest.raises(FoundingRefused, match="'bank' signed another genesis"):
        check_consents(DRAFT, labelled(consent("bank", other)))
    outsider = consent("insurer", draft_of("insurer", *ORGS))
    with pytest.raises(FoundingRefused, match="'insurer' is no founder"):
        check_consents(DRAFT, labelled(replace(outsider, chain_id=DRAFT.genesis.chain_id)))
    mallory = key("mallory")
    forged = replace(consent("bank"), key=mallory.public)
    with pytest.raises(FoundingRefused, match="signed with the key"):
        check_consents(DRAFT, labelled(forged))
    for item in (replace(consent("bureau"), org="bank", key=key("bank admin").public),
                 replace(consent("bank"), signature=bytes(64))):  # fmt: skip
        with pytest.raises(FoundingAltered, match="not by 'bank' over this genesis"):
            check_consents(DRAFT, labelled(item))


def test_a_signature_given_twice_is_refused() -> None:
    with pytest.raises(FoundingRefused, match="are both signatures of 'bank'"):
        check_consents(DRAFT, [*ALL, ("copy.json", consent("bank"))])


def test_a_founder_signs_with_the_key_of_its_card_alone() -> None:
    with pytest.raises(FoundingRefused, match="not that of the card of 'bank'"):
        give_consent(DRAFT, "bank", key("bank node"))
    with pytest.raises(FoundingRefused, match="no card of 'insurer'"):
        give_consent(DRAFT, "insurer", key("insurer admin"))
