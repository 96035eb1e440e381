"""Cards: what an organisation tells the other founders of itself, signed, each key with its possession."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from chain.founding.addresses import check_advertised
from chain.founding.documents import parse, read_exactly, render
from chain.founding.refusals import FoundingAltered, FoundingRefused, shown
from chain.ledger.genesis import ORG_ID, ROLES, Address
from chain.ledger.recordjson import record_from_json, record_to_json
from chain.primitives.codec import U64, Bound, Name, PublicKey, Signature, encode, record
from chain.primitives.crypto import Signer, digest, verify
from chain.primitives.possession import prove_possession, proves_possession
from chain.primitives.settings import ID_WORDS

KIND = "assent-founding-card"
FILE_BYTES_MAX = 16_384
NAME_CHARS_MAX = 100
DAY_MS = 86_400_000
VALID_DAYS_MAX = 366
AHEAD_MS_MAX = 600_000
"""How far a clock may be ahead of the others': a card from further in the future is refused."""


@record("founding-key", max_bytes=256)
class FoundingKey:
    """A public key, and its holder's signature that it is to be this organisation's in this founding."""

    key: PublicKey
    proof: Signature


@record("founding-card", max_bytes=4_096)
class FoundingCard:
    """One founder: what genesis says of it, and until when others may found with it."""

    founding: Name
    """The name of the chain to be."""
    org: Name
    name: Annotated[str, Bound(1, NAME_CHARS_MAX)]
    """For people."""
    roles: Annotated[tuple[Name, ...], Bound(1, len(ROLES))]
    admin: FoundingKey
    """It signs the card, and later the genesis."""
    node_name: Name
    node: FoundingKey
    node_address: Address
    """"host:port" at which the other nodes reach its node."""
    agent: FoundingKey | None
    """None for an organisation that runs no agent."""
    agent_address: Address
    made: U64
    """Milliseconds since the epoch."""
    expires: U64
    signature: Signature = bytes(64)
    """By `admin`, over everything else."""

    @property
    def keys(self) -> dict[str, FoundingKey]:
        """Its keys by role, as the files in its folder are named."""
        agent = {} if self.agent is None else {"agent": self.agent}
        return {"admin": self.admin, "node": self.node, **agent}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others reach its processes."""
        return (self.node_address, self.agent_address) if self.agent_address else (self.node_address,)


def founding_id(founding: str) -> bytes:
    """Return the 32 bytes that stand for the chain in proofs of possession before there is a chain id."""
    return digest("assent/founding", founding.encode())


def founding_key(key: Signer, founding: str, org: str) -> FoundingKey:
    """Return a key with its holder's proof for this organisation and founding."""
    return FoundingKey(key.public, prove_possession(key, founding_id(founding), org))


def sign_card(card: FoundingCard, admin: Signer) -> FoundingCard:
    """Return the card signed by its organisation."""
    return replace(card, signature=admin.sign(_signed(card)))


def _signed(card: FoundingCard) -> bytes:
    return digest("assent/founding-card", encode(replace(card, signature=bytes(64))))


def check_card(card: FoundingCard, where: str) -> FoundingCard:
    """Return a card that is sound, proved and signed; raise FoundingRefused naming the first fault."""
    _check_words(card, where)
    for field in ("node_address", "agent_address"):
        address = getattr(card, field)
        if field == "agent_address" and card.agent is None:
            _require(address == "", where, field, address, "none, for the card names no agent's key")
            continue
        try:
            check_advertised(address)
        except ValueError as error:
            raise FoundingRefused(f"{where}: {field} = {shown(address)}: expected {error}") from None
    for role, held in card.keys.items():
        if not proves_possession(held.key, held.proof, founding_id(card.founding), card.org):
            raise FoundingAltered(
                f"{where}: {role}.proof = {held.proof.hex()[:16]}…: the holder of the key "
                f"{held.key.hex()[:16]} did not sign that it is of {card.org!r} in the founding of "
                f"{card.founding!r}; {card.org} makes a new card with: assent found request"
            )
    if not verify(card.admin.key, _signed(card), card.signature):
        raise FoundingAltered(
            f"{where}: signature = {card.signature.hex()[:16]}…: not by the admin key of {card.org!r} over "
            f"this card: it was altered, or never signed; fetch it again from {card.org}"
        )
    return card


def _check_words(card: FoundingCard, where: str) -> None:
    for field in ("founding", "org", "node_name"):
        text = getattr(card, field)
        _require(ORG_ID.fullmatch(text) is not None, where, field, text, ID_WORDS)
    _require(
        card.name.isprintable() and card.name == card.name.strip(),
        where, "name", card.name, "printable characters, no space before or after them",
    )  # fmt: skip
    _require(set(card.roles) <= set(ROLES), where, "roles", list(card.roles), f"a selection of {list(ROLES)}")
    _require(len(set(card.roles)) == len(card.roles), where, "roles", list(card.roles), "each of them once")
    lasts = card.expires - card.made
    _require(0 < lasts <= VALID_DAYS_MAX * DAY_MS, where, "expires", moment(card.expires),
             f"a time up to {VALID_DAYS_MAX} days after `made`, {moment(card.made)}")  # fmt: skip


def _require(holds: bool, where: str, field: str, value: object, allowed: str) -> None:
    if not holds:
        raise FoundingRefused(f"{where}: {field} = {shown(value)}: expected {allowed}")


def check_current(card: FoundingCard, where: str, now: int) -> None:
    """Raise FoundingRefused for a card that is expired, or from the future; `now` in ms since the epoch."""
    if now >= card.expires:
        raise FoundingRefused(
            f"{where}: the card of {card.org!r} expired at {moment(card.expires)}, now is {moment(now)}; "
            f"{card.org} makes a new one with: assent found request {card.org} --again …"
        )
    if card.made > now + AHEAD_MS_MAX:
        raise FoundingRefused(
            f"{where}: the card of {card.org!r} was made at {moment(card.made)}, which is not yet: "
            f"here it is {moment(now)}; one of the two clocks is wrong"
        )


def moment(ms: int) -> str:
    """Return milliseconds since the epoch as a time in UTC for people; any number may be given."""
    try:
        return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms after the epoch"


def difference(one: FoundingCard, other: FoundingCard) -> str:
    """Return the first field in which two cards differ, with both values; empty where they are the same."""
    for field in fields(FoundingCard):
        mine, theirs = (record_to_json(getattr(card, field.name)) for card in (one, other))
        if mine != theirs:
            return f"{field.name} = {shown(theirs)} instead of {shown(mine)}"
    return ""


def card_to_json(card: FoundingCard) -> dict[str, Any]:
    """Return the fields of a card for a file."""
    found: dict[str, Any] = record_to_json(card)
    return found


def card_from_json(raw: Any, where: str) -> FoundingCard:
    """Return the card that a file holds, checked; raise FoundingRefused, or ConfigError for its form."""
    return check_card(record_from_json(FoundingCard, raw, where), where)


def card_to_bytes(card: FoundingCard) -> bytes:
    """Return the bytes of a card's file."""
    return render(KIND, card_to_json(card))


def card_from_bytes(raw: bytes, where: str) -> FoundingCard:
    """Read and check a card's file, whoever wrote it; raise FoundingRefused naming `where`."""
    content = parse(raw, KIND, FILE_BYTES_MAX, where)
    return read_exactly(raw, where, lambda: card_from_json(content, where), card_to_bytes)
