"""What the commands of privacy computing share: calls with explained refusals, times, names."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from chain.api.client import Account, Client, TransactionFailed
from chain.api.session import AS_VARIABLE, NoSession, Session, run
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.execution import RESULT_BYTES_MAX, SIGNER_REFUSALS
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value, decode_value
from privcompute.config import AgentConfig, AgentFiles, load_agent_config

GAS_LIMIT = 8_000_000
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

REMEDIES = {
    **SIGNER_REFUSALS,
    "KEY_ROLE_MISSING": "this key lacks the role; sign with the organisation's admin key",
    "ORG_ROLE_MISSING": "the organisation lacks the role; see: assent org show",
    "ORG_NOT_ACTIVE": "a member that takes part was suspended or expelled; see: assent org list",
    "BAD_ID": "ids of datasets and grants are ORG/NAME, a name of 1 to 63 of a-z, 0-9, '.', '_' and '-'",
    "ID_NOT_OWN": "an id begins with the organisation that creates it: OWNER/NAME, REQUESTER/NAME",
    "DATASET_EXISTS": "choose another id, or add a version with: assent dataset new-version",
    "UNKNOWN_DATASET": "see: assent dataset list",
    "DATASET_NOT_ACTIVE": "its owner suspended or retired it; see: assent dataset show",
    "NOT_OWNER": "only the dataset's owner may do this",
    "UNKNOWN_COLUMN": "the registered schema has no such column; see: assent dataset show",
    "GRANT_EXISTS": "choose another id; see: assent grant list",
    "UNKNOWN_GRANT": "see: assent grant list",
    "NOT_APPROVER": "this organisation is not among the dataset's approvers; see: assent dataset show",
    "OWN_REQUEST": "nobody approves their own request; ask another approver",
    "ALREADY_VOTED": "this organisation has voted; to vote otherwise: assent grant retract",
    "NOT_VOTED": "this organisation has no vote on it; see: assent grant show",
    "NOT_DECIDED": "its votes decide nothing yet; see: assent grant show",
    "THRESHOLD_OUT_OF_REACH": "too few of its approvers may approve this requester; see: assent dataset show",
    "TOO_MANY_REQUESTS": "256 requests of this organisation are open; withdraw some, or let them be decided",
    "TOO_MANY_REQUESTS_OF_DATASET": "16 requests for it are open; withdraw some: assent grant withdraw",
    "TOO_MANY_REQUESTS_TODAY": "32 requests for this dataset were made today (UTC); ask again tomorrow",
    "TOO_MANY_GRANTS": "the dataset has 256 active grants; revoke one, or record that one expired",
    "TOO_MANY_JOBS": "64 jobs under a grant are open; wait for some to end: assent job list",
    "TOO_MANY_JOBS_TODAY": "1,000 jobs were proposed today; the count begins anew at midnight UTC",
    "TOO_MANY_JOBS_OF_ORG": "256 jobs of this organisation are open; wait for some to end: assent job list",
    "SPEC_TOO_LONG": "the job has at most 32 KiB: fewer columns, or shorter parameters",
    "TOO_MANY_COLUMNS": "a job reads at most 1,024 columns of all inputs together",
    "SCHEMA_TOO_LONG": "all names of columns together have at most 16,384 bytes",
    "NOT_NARROWER": "terms may only become stricter; widening needs a new grant: assent grant request",
    "BAD_TERM": "expiry must lie ahead, at most ten years, and after not-before",
    "POLICY_UNKNOWN": "there is no contract of this name; see: assent contract list",
    "POLICY_SYSTEM": "a system contract is no policy; name a contract of a member's",
    "POLICY_NOT_ACTIVE": "the policy contract has not begun, or was revoked; see: assent contract show",
    "POLICY_FROZEN": "the policy contract is frozen; see: assent contract show",
    "POLICY_SHAPE": "a policy has allow(job: dict, phase: str) -> bool, as a view or an export",
    "PROGRAM_NOT_ACTIVE": "the members retired this program; see: assent job programs",
    "UNKNOWN_PROGRAM": "the members agreed on no such program; see: assent job programs",
    "NOT_GRANTEE": "the grant is for another organisation; request one of your own: assent grant request",
    "GRANT_NOT_ACTIVE": "the grant is not approved; see: assent grant show",
    "GRANT_REVOKED": "the owner revoked it, for good; a new grant is needed: assent grant request",
    "GRANT_SUSPENDED": "the owner suspended it; ask the owner to run: assent grant resume",
    "GRANT_EXPIRED": "its term is over; a new grant is needed: assent grant request",
    "GRANT_NOT_YET_VALID": "its term has not begun; see: assent grant show",
    "PURPOSE_MISMATCH": "the grant is for another purpose; propose with that purpose, or request a new grant",
    "PROGRAM_NOT_GRANTED": "the grant does not allow this program; see: assent grant show",
    "COLUMN_NOT_GRANTED": "the grant does not cover a column; leave it out, or request a new grant",
    "CONSTRAINT_VIOLATED": "a column may not be used that way; see its constraint: assent grant show",
    "PROFILE_TOO_WEAK": "the grant asks for a stronger security profile; see: assent grant show",
    "GROUP_TOO_SMALL": "raise --min-group to what the grants ask for; see: assent grant show",
    "CO_PARTY_NOT_GRANTED": "a participant is not allowed by the grant; see: assent grant show",
    "RECEIVER_NOT_GRANTED": "a receiver is not allowed by the grant; see: assent grant show",
    "QUOTA_EXHAUSTED": "every run is used or reserved; a new grant is needed: assent grant request",
    "POLICY_DENIED": "the grant's policy contract said no; see: assent contract show",
    "UNKNOWN_JOB": "see: assent job list",
    "WRONG_STATE": "it is in another state by now; look at it again with show",
    "EVIDENCE_REQUIRED": "a running job is aborted with the hash of one's evidence",
}
"""Refusal code -> what to do next (codes: contracts/system/README.md)."""


class LedgerRefused(AssentError):
    """The ledger refused a call: the text begins with its stable code and says what to do."""

    code = "refused_by_ledger"


class UsageFault(AssentError):
    """An option or argument that cannot be used: the text names it, its value and what is allowed."""

    code = "usage"


def agent_of_folder() -> tuple[AgentConfig, AgentFiles]:
    """Return the agent configuration of the organisation that the command speaks as (`--as`)."""
    folder = click.get_current_context().params.get("as_")
    if not isinstance(folder, Path):
        raise NoSession(
            f"this command works on an organisation's data: give --as ORGDIR (or set {AS_VARIABLE})"
        )
    return load_agent_config(folder / "agent.toml")


async def call(account: Account, contract: str, method: str, args: dict[str, Value]) -> Receipt:
    """Send a call and wait; a refusal says its code and what to do next."""
    try:
        return await account.send(contract, method, args, gas_limit=GAS_LIMIT)
    except TransactionFailed as failed:
        reason = failed.reason or failed.receipt.status.upper()
        remedy = REMEDIES.get(reason, "see contracts/system/README.md for this code")
        raise LedgerRefused(f"{reason}: {contract}.{method}: {remedy}") from None


def send(session: Session, contract: str, method: str, args: dict[str, Value]) -> Receipt:
    """Send one call as the session's organisation and return its receipt."""

    async def work() -> Receipt:
        async with session.account() as account:
            return await call(account, contract, method, args)

    return run(work())


def result_of(receipt: Receipt) -> Value:
    """Return what the called method returned."""
    return decode_value(receipt.result, max_bytes=RESULT_BYTES_MAX) if receipt.result else None


def sent_json(receipt: Receipt, **more: Value) -> Value:
    """Return what `--json` prints for a call that the ledger executed."""
    return {
        "tx": receipt.tx_id.hex(),
        "height": receipt.height,
        "result": to_json(result_of(receipt)),
        **more,
    }


async def need_state(client: Client, contract: str, map_name: str, key: Value, remedy: str) -> Value:
    """Return one proved entry; raise UsageFault with a remedy when the ledger has none."""
    found = await client.state(contract, map_name, key)
    if found is None:
        shown = key if isinstance(key, str) else " ".join(str(part) for part in key)
        raise UsageFault(f"{shown!r}: the ledger has no such entry in {contract}.{map_name}; {remedy}")
    return found


async def find_job(client: Client, prefix: str) -> str:
    """Return the one job id that begins with these hex digits (at least 4)."""
    if re.fullmatch(r"[0-9a-f]{64}", prefix):
        return prefix
    if not re.fullmatch(r"[0-9a-f]{4,63}", prefix):
        raise UsageFault(f"{prefix!r}: a job is named by 4 to 64 hex digits; see: assent job list")
    found = [key async for key, _ in client.entries("jobs", "jobs") if key.startswith(prefix)]
    if len(found) != 1:
        raise UsageFault(f"{prefix!r}: {len(found)} jobs begin so; see: assent job list")
    return str(found[0])


def parse_time(text: str, option: str) -> int:
    """Return milliseconds since the epoch for `30d`, `12h`, `45m`, `90s` from now, or an ISO date or time."""
    relative = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if relative:
        return time.time_ns() // 1_000_000 + int(relative[1]) * _UNITS_MS[relative[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageFault(
            f"{option} {text!r}: give 30d, 12h, 45m or 90s from now, or a date such as 2030-01-31"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def parse_duration(text: str, option: str) -> int:
    """Return milliseconds for `90s`, `10m`, `12h` or `30d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not match:
        raise UsageFault(f"{option} {text!r}: give a duration such as 90s, 10m, 12h or 30d")
    return int(match[1]) * _UNITS_MS[match[2]]


def show_time(ms: int) -> str:
    """Return a readable UTC time; "" for 0."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def pairs(items: tuple[str, ...], option: str, default: str) -> dict[str, str]:
    """Return `name=value` options as a dict; a bare name gets the default."""
    found: dict[str, str] = {}
    for item in items:
        name, _, value = item.rpartition("=") if "=" in item else (item, "=", default)
        if not name or not value or name in found:
            raise UsageFault(f"{option} {item!r}: give NAME=VALUE, each name once")
        found[name] = value
    return found
