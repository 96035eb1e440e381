"""What the governing commands share: calls whose refusals say what to do, and decisions put in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from chain.api.client import Account, Client, TransactionFailed
from chain.api.console import print_json, print_lines
from chain.api.render import receipt_json
from chain.api.session import Session, run
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.execution import RESULT_BYTES_MAX, SIGNER_REFUSALS, UNKNOWN_SENDER
from chain.primitives.values import Value, decode_value

T = TypeVar("T")
GAS = 5_000_000
COMMIT_GAS = 10_000_000

SEE_CODES = "see contracts/system/README.md for this code"
REMEDIES = {
    **SIGNER_REFUSALS,
    "KEY_ROLE_MISSING": "sign with the organisation's admin key (--key)",
    "ALREADY_VOTED": "this organisation has voted already; who is missing: assent proposal show, "
    "or assent contract ready",
    "HASH_MISMATCH": "the proposal is not the one that was read; look again before approving",
    "NOT_ENOUGH_VOTES": "who is missing: assent proposal show, or assent contract ready",
    "TOO_EARLY": "its height or deadline has not come; see from when: assent proposal show, "
    "or assent contract ready",
    "TOO_SOON": "a node's key moves once in 100 heights or ten minutes, "
    "whichever comes first; try again then (assent validator rejoin says when)",
    "DEADLINE_PASSED": "the proposal has expired; propose it again",
    "WRONG_STATE": "it is in another state by now; look at it again with show",
    "NOT_PROPOSER": "only the organisation that proposed it withdraws it",
    "NOT_VOTED": "this organisation has no vote there that counts; see: assent proposal show, "
    "or assent contract ready",
    "UNKNOWN_PROPOSAL": "no open or committed proposal of that number; of one that was withdrawn or has "
    "expired, see: assent audit trail proposal:NUMBER, or contract:NAME",
    "WRONG_VERSION": "another version runs by now; look at it before voting: assent contract show",
    "TOO_MANY_KEYS": "an organisation has at most 32 active keys; revoke one: assent org revoke-key",
    "BAD_PROOF": "the proof of possession does not hold for this organisation and chain; its holder makes "
    "one with: assent key prove FILE --org ID --genesis GENESIS",
    "STALE_SEQ": "a newer version is in force or committed; propose this source again",
    "UPGRADE_PENDING": "a new version is committed and not yet in force; propose the access lists after it",
    "REJECTED_SOURCE": "the language refuses it; see why: assent contract check FILE",
    "CONTRACT_REVOKED": "revoked for good; propose the source under another name",
    "UNKNOWN_CONTRACT": "no contract of that name is in force; see: assent contract list",
    "SYSTEM_PROTECTED": "system contracts are not frozen, revoked or restricted so; upgrade them by proposal",
    "ACCESS_DENIED": "the contract's access list does not admit this organisation or key; "
    "see: assent contract show",
    "UNKNOWN_METHOD": "only methods marked @export can be restricted, and only @init or @migrate take "
    "arguments; see: assent contract check FILE",
    "ORG_EXISTS": "ids are never used twice; choose another",
    "UNKNOWN_ORG": "not an active member; see: assent org list",
    "ORG_HAS_NODES": "remove its nodes first: assent validator remove NAME",
    "LAST_ORG": "the last active member stays",
    "KEY_EXISTS": "this key is known already, and a key is never registered twice; make a new one: "
    "assent key new FILE",
    "NODE_EXISTS": "a node of that name is listed; see: assent validator list",
    "UNKNOWN_NODE": "no node of that name or key; see: assent validator list",
    "NOT_OWNER": "only the node's own organisation moves its seat",
    "LAST_VALIDATOR": "one validator always stays",
    "BAD_ADDRESS": "give host:port, as the other members reach the node",
    "OUT_OF_RANGE": "see the ranges in contracts/system/README.md",
    "UNKNOWN_LIMIT": "see: assent params show",
    "BAD_VOTES": "at least the safe minimum, at most the members; see: assent params show",
    "BAD_RULE": "majority, quorum or votes; kinds that could take over the rest need a quorum at least",
    "NOT_CONFLICTING": "these two messages do not contradict one another",
    "BAD_SIGNATURE": "a signature does not hold on this chain",
    "BAD_MESSAGE": "not a vote as it was signed; export evidence with: assent node evidence export FOLDER",
    "ALREADY_REPORTED": "evidence of this kind against this key is on the ledger",
    "TOO_MANY_PROPOSALS": "this organisation has too many open proposals; withdraw some",
}
"""Refusal code -> what to do next (codes: contracts/system/README.md)."""


class RefusedByLedger(AssentError):
    """The ledger refused a call: the text begins with its stable code and says what to do."""

    code = "refused_by_ledger"


class NotThere(AssentError):
    """Something named on the command line that the ledger does not have: the text says what to look at."""

    code = "not_there"


async def call(
    account: Account, contract: str, method: str, args: dict[str, Value], gas: int = GAS
) -> Receipt:
    """Send a call and wait; a refusal says its code and what to do next."""
    try:
        return await account.send(contract, method, args, gas_limit=gas)
    except TransactionFailed as failed:
        reason = failed.reason or failed.receipt.status.upper()
        remedy = REMEDIES.get(reason, SEE_CODES)
        raise RefusedByLedger(f"{reason}: {contract}.{method}: {remedy}") from None


def send(session: Session, contract: str, method: str, args: dict[str, Value], gas: int = GAS) -> Receipt:
    """Send one call as the session's organisation and return its receipt."""

    async def work(account: Account) -> Receipt:
        return await call(account, contract, method, args, gas)

    return as_account(session, work)


def as_account(session: Session, work: Callable[[Account], Awaitable[T]]) -> T:
    """Run something that signs as the session's organisation."""

    async def inside() -> T:
        async with session.account() as account:
            return await work(account)

    return run(inside())


def as_client(session: Session, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run something that only reads."""

    async def inside() -> T:
        async with session.client() as client:
            return await work(client)

    return run(inside())


def result_of(receipt: Receipt) -> Value:
    """Return what the called method returned."""
    return decode_value(receipt.result, max_bytes=RESULT_BYTES_MAX) if receipt.result else None


def say(receipt: Receipt, as_json: bool, text: str) -> None:
    """Print a receipt as JSON, or what it means."""
    if as_json:
        print_json(receipt_json(receipt))
    else:
        print_lines(text)


def votes_words(ready: dict[str, Any]) -> str:
    """Say who has approved and who is missing."""
    counted = ", ".join(ready["counted"]) or "nobody"
    missing = ", ".join(ready["missing"]) or "nobody"
    return f"{len(ready['counted'])} of {ready['needed']} votes ({counted}); not yet: {missing}"


def next_step(ready: dict[str, Any], approve: str, commit: str) -> str:
    """Say what an open proposal waits for."""
    if ready["status"] != "open":
        return f"it is {ready['status']}"
    if not ready["passed"]:
        return f"next: members approve it with: {approve}"
    if not ready["due"]:
        return f"it has its votes; from height {ready['from_height']} on: {commit}"
    refusal = ready.get("refusal", "")
    if refusal:
        return f"it has its votes, and would be refused now: {refusal}: {REMEDIES.get(refusal, SEE_CODES)}"
    return f"it has its votes; next: {commit}"


async def own_org(account: Account) -> str:
    """Return the organisation that the account's key signs for; raise NotThere when it signs for none."""
    found: Any = await account.client.state("orgs", "keys", account.signer.public.hex())
    if found is None:
        raise NotThere(f"key {account.signer.public.hex()}: {SIGNER_REFUSALS[UNKNOWN_SENDER]}")
    return str(found["org"])
