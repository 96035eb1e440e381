"""Acts that several keys of an organisation see: what is asked, what waits, and what a command says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chain.client.client import Client
from chain.ledger.block import TransactionBody
from chain.primitives.acts import ACTS, act_digest
from chain.primitives.errors import AssentError, Exit, Noted, ProofInvalid
from chain.primitives.values import Value

ORGS = "orgs"
DIGEST_DIGITS_MIN = 8
_ANSWER = frozenset({"now", "act", "call", "digest", "needed", "seen", "until"})


class UnknownAct(AssentError):
    """A digest that names no act that waits, or more than one: the text says how to see them."""

    code = "unknown_act"
    exit = Exit.REFUSED


@dataclass(frozen=True, slots=True)
class PersonsKey:
    """A key of an organisation that an act can ask for."""

    public: bytes
    roles: tuple[str, ...]

    def counts(self, act: str) -> bool:
        """Tell whether it is one of those that this act asks for."""
        return "admin" in self.roles or ACTS.get(act) in self.roles

    def __str__(self) -> str:
        return f"{self.public.hex()} ({', '.join(self.roles)})"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An act that waits for other keys, as `pending` of contract `orgs` has it."""

    org: str
    digest: bytes
    act: str
    call: str
    about: tuple[str, ...]
    needed: int
    seen: tuple[tuple[bytes, bytes, int], ...]
    """(key, transaction, block time) of each key that made the call."""
    until: int
    """Block time, milliseconds since the epoch, from which on it counts for nothing."""


@dataclass(frozen=True, slots=True)
class KeysAsked:
    """How many keys an organisation asks for."""

    acts: dict[str, int]
    datasets: dict[str, int]
    """Act -> of how many datasets more keys are asked."""


def was_noted(result: Value) -> bool:
    """Tell whether this result of a call says that it was noted, and not done."""
    return isinstance(result, dict) and result.keys() == _ANSWER and result["now"] is False


async def asked_of(client: Client, org: str) -> KeysAsked:
    """Return how many keys an organisation asks for, act by act; one key where nothing is said."""
    row: Any = await client.state(ORGS, "eyes", org)
    return KeysAsked({}, {}) if row is None else KeysAsked(dict(row["acts"]), dict(row["datasets"]))


async def asked_of_dataset(client: Client, org: str, dataset: str) -> dict[str, int]:
    """Return act -> how many keys an organisation asks for it of one dataset, where that is said."""
    row: Any = await client.state(ORGS, "dataset_eyes", (org, dataset))
    return {} if row is None else dict(row)


async def persons_keys(client: Client, org: str) -> list[PersonsKey]:
    """Return the keys of an organisation that people use: they have not ended, and no agent has them."""
    record: Any = await client.state(ORGS, "orgs", org)
    names: Any = await client.state(ORGS, "org_keys", org)
    keys: list[Any] = [await client.state(ORGS, "keys", name) for name in names or []]
    return [
        PersonsKey(key["key"], tuple(key["roles"]))
        for key in keys
        if key["status"] == "active" and "agent" not in key["roles"] and key["key"] != record["agent_key"]
    ]


async def waiting_of(client: Client, org: str) -> list[Waiting]:
    """Return the acts of an organisation that wait, the oldest first; some may have lapsed."""
    digests: Any = await client.state(ORGS, "pending_of", org)
    found = [await waiting(client, org, digest) for digest in digests or []]
    return [one for one in found if one is not None]


async def waiting(client: Client, org: str, digest: bytes) -> Waiting | None:
    """Return one act that waits; None when it was done, dropped or has lapsed."""
    row: Any = await client.state(ORGS, "pending", (org, digest))
    if row is None:
        return None
    seen = tuple([(one["key"], one["tx"], one["at"]) for one in row["seen"]])
    about = tuple(row["about"])
    return Waiting(org, digest, row["act"], row["call"], about, row["needed"], seen, row["until"])


async def call_of(client: Client, found: Waiting) -> TransactionBody:
    """Return the transaction by which the first key made the call; raise ProofInvalid for any other.

    The digest proves contract, method and arguments, whatever node shows them.
    """
    _, tx_id, _ = found.seen[0]
    proved = await client.proofs.transaction(tx_id)
    if proved is None:
        raise UnknownAct(
            f"transaction {tx_id.hex()}: {client.url} does not hold it, so what was asked is not known here; "
            "ask another node with --node, or type the same command as the first key"
        )
    body = proved.transaction.body
    if act_digest(body.contract, body.method, body.args) != found.digest:
        raise ProofInvalid(f"{client.url}: showed another call than the one with digest {found.digest.hex()}")
    return body


def named(found: Sequence[Waiting], digits: str) -> Waiting:
    """Return the act whose digest begins with these hex digits; raise UnknownAct unless there is one."""
    text = digits.lower()
    fits = [one for one in found if one.digest.hex().startswith(text)]
    if len(text) < DIGEST_DIGITS_MIN or len(fits) != 1:
        why = f"{len(fits)} acts that wait begin so" if len(text) >= DIGEST_DIGITS_MIN else "too short"
        raise UnknownAct(
            f"{digits!r}: {why}; give {DIGEST_DIGITS_MIN} to 64 hex digits of one that is listed by: "
            "assent org pending"
        )
    return fits[0]


def moment(time: int) -> str:
    """Return milliseconds since the epoch as a minute in UTC."""
    try:
        return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{time} ms"


def words(found: Waiting, keys: Sequence[PersonsKey]) -> list[str]:
    """Say of an act who saw it, who may see it next, until when, and by what command."""
    seen = [key for key, _, _ in found.seen]
    left = [key for key in keys if key.counts(found.act) and key.public not in seen]
    digits = found.digest.hex()
    lines = [
        f"{found.call} is noted, and not done yet: {len(seen)} of {found.needed} keys have seen it",
        *[f"seen by {key.hex()} at {moment(at)}" for key, _, at in found.seen],
        *[f"may see it: {key}" for key in left],
        f"until {moment(found.until)}: assent org see {digits} --key FILE",
        f"to take it back: assent org drop {digits} --reason WHY",
    ]
    if not left:
        lines.append("no other key counts for it: an admin registers one first, with assent org add-key")
    return lines


async def noted(client: Client, key: bytes, digest: bytes) -> Noted:
    """Return what a command says when the call that this key made was noted, and not done."""
    record: Any = await client.state(ORGS, "keys", key.hex())
    org = record["org"]
    found = await waiting(client, org, digest)
    if found is None:  # another key made the same call meanwhile
        text = f"the act {digest.hex()} waits no longer; see: assent audit trail org:{org}"
        return Noted(text, {"digest": digest.hex()})
    keys = await persons_keys(client, org)
    return Noted("\n  ".join(words(found, keys)), facts(found))


def facts(found: Waiting) -> dict[str, Any]:
    """Return an act that waits as JSON values."""
    return {
        "org": found.org,
        "digest": found.digest.hex(),
        "act": found.act,
        "call": found.call,
        "about": list(found.about),
        "needed": found.needed,
        "seen": [{"key": key.hex(), "tx": tx.hex(), "at": at} for key, tx, at in found.seen],
        "until": found.until,
    }
