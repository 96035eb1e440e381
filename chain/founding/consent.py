"""Consents: a founder's signature of the hash of genesis; a chain is founded once all founders signed."""

from __future__ import annotations

from collections.abc import Iterable

from chain.founding.documents import parse, read_exactly, render
from chain.founding.draft import FoundingDraft
from chain.founding.refusals import FoundingAltered, FoundingRefused
from chain.ledger.recordjson import record_from_json, record_to_json
from chain.primitives.codec import Hash, Name, PublicKey, Signature, record
from chain.primitives.crypto import Signer, digest, verify

KIND = "assent-founding-signature"
FILE_BYTES_MAX = 4_096


@record("founding-consent", max_bytes=512)
class FoundingConsent:
    """That an organisation founds this chain."""

    org: Name
    chain_id: Hash
    key: PublicKey
    """The admin key of its card."""
    signature: Signature


def _agreed(chain_id: bytes, org: str) -> bytes:
    return digest("assent/founding-consent", chain_id, org.encode())


def give_consent(draft: FoundingDraft, org: str, admin: Signer) -> FoundingConsent:
    """Return an organisation's consent, signed with the admin key of its card (FoundingRefused)."""
    stated = draft.card(org).admin.key
    if admin.public != stated:
        raise FoundingRefused(
            f"the admin key of the folder, {admin.public.hex()[:16]}, is not that of the card of {org!r}, "
            f"{stated.hex()[:16]}; put the key back that made the card, or make a new card"
        )
    chain_id = draft.genesis.chain_id
    return FoundingConsent(org, chain_id, admin.public, admin.sign(_agreed(chain_id, org)))


def check_consents(draft: FoundingDraft, consents: Iterable[tuple[str, FoundingConsent]]) -> list[str]:
    """Return the founders who have not signed; raise FoundingRefused for what is no signature of this draft.

    Each consent comes with the words that name it in an error.
    """
    signed: dict[str, str] = {}
    for where, consent in consents:
        _check_consent(draft, where, consent)
        if consent.org in signed:
            raise FoundingRefused(
                f"{signed[consent.org]} and {where} are both signatures of {consent.org!r}; name one of them"
            )
        signed[consent.org] = where
    return [card.org for card in draft.cards if card.org not in signed]


def _check_consent(draft: FoundingDraft, where: str, consent: FoundingConsent) -> None:
    own = draft.genesis.chain_id
    if consent.chain_id != own:
        raise FoundingRefused(
            f"{where}: {consent.org!r} signed another genesis, {consent.chain_id.hex()[:16]}, and this "
            f"draft's is {own.hex()[:16]}; all founders sign one draft: compare with assent found check"
        )
    card = next((card for card in draft.cards if card.org == consent.org), None)
    if card is None:
        raise FoundingRefused(f"{where}: {consent.org!r} is no founder of this draft; leave its file out")
    if consent.key != card.admin.key:
        raise FoundingRefused(
            f"{where}: signed with the key {consent.key.hex()[:16]}, and the admin key of {consent.org!r} is "
            f"{card.admin.key.hex()[:16]}; {consent.org} signs with the key of its card"
        )
    if not verify(consent.key, _agreed(own, consent.org), consent.signature):
        raise FoundingAltered(
            f"{where}: signature = {consent.signature.hex()[:16]}…: not by {consent.org!r} over this "
            f"genesis; fetch it again from {consent.org}"
        )


def check_complete(draft: FoundingDraft, consents: Iterable[tuple[str, FoundingConsent]]) -> None:
    """Raise FoundingRefused unless every founder signed this draft."""
    missing = check_consents(draft, consents)
    if missing:
        raise FoundingRefused(
            f"not signed by {', '.join(missing)}: a chain begins when all founders signed; ask them for "
            "their signature files, which assent found sign writes, and name all of them"
        )


def consent_to_bytes(consent: FoundingConsent) -> bytes:
    """Return the bytes of a signature's file."""
    return render(KIND, record_to_json(consent))


def consent_from_bytes(raw: bytes, where: str) -> FoundingConsent:
    """Read a signature's file; raise FoundingRefused naming `where`. `check_consents` says if it holds."""
    content = parse(raw, KIND, FILE_BYTES_MAX, where)
    return read_exactly(
        raw, where, lambda: record_from_json(FoundingConsent, content, where), consent_to_bytes
    )
