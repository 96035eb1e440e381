"""Calls of contracts from commands: sent, waited for, and a refusal says what to do next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from chain.client.acts import noted, was_noted
from chain.client.client import Client
from chain.client.options import Session, run
from chain.client.signing import SigningClient, TransactionFailed
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import RESULT_BYTES_MAX, SIGNER_REFUSALS
from chain.primitives.values import Value, decode_value

T = TypeVar("T")
GAS = 5_000_000

SEE_CODES = "see contracts/system/README.md for this code"
_REMEDIES: Mapping[str, str] = {
    **SIGNER_REFUSALS,
    "KEY_ROLE_MISSING": "this key lacks the role; sign with the organisation's admin key (--key)",
    # --- members, nodes, decisions, contracts
    "ALREADY_VOTED": "this organisation has voted already; who is missing: assent proposal show, "
    "assent contract ready, or assent program show",
    "HASH_MISMATCH": "the proposal is not the one that was read; look again before approving",
    "NOT_ENOUGH_VOTES": "how many of how many it has, and who is missing: assent proposal show NUMBER, or "
    "assent contract ready NAME, or assent program show NUMBER",
    "TOO_EARLY": "its height or deadline has not come; see from when: assent proposal show, "
    "or assent contract ready",
    "TOO_SOON": "a node's key moves once in 100 heights or ten minutes, "
    "whichever comes first; try again then (assent validator rotate-key says when)",
    "DEADLINE_PASSED": "the proposal has expired; propose it again",
    "WRONG_STATE": "it is in another state by now; look at it again with show",
    "NOT_PROPOSER": "only the organisation that proposed it withdraws it",
    "NOT_VOTED": "this organisation has no vote there that counts; see: assent proposal show, "
    "or assent contract ready",
    "UNKNOWN_PROPOSAL": "no open or committed proposal of that number; of one that was withdrawn or has "
    "expired, see: assent audit trail proposal:NUMBER, or contract:NAME",
    "WRONG_VERSION": "another version runs by now; look at it before voting: assent contract show",
    "UNKNOWN_KEY": "it is no active key of this organisation; see: assent org show ID",
    "TOO_MANY_KEYS": "an organisation has at most 32 active keys; revoke one: assent org revoke-key",
    "TOO_MANY_KEYS_TODAY": "an organisation registers at most 64 keys a day (UTC); register it tomorrow, and "
    "end a key that is no longer safe at once: assent org revoke-key",
    "BAD_PROOF": "the proof of possession does not hold for this organisation, chain and purpose; its holder "
    "makes one with: assent key prove FILE --org ID --genesis GENESIS (--replacement for propose-key)",
    "STALE_SEQ": "a newer version is in force or committed; propose this source again",
    "UPGRADE_PENDING": "a new version is committed and not yet in force; propose the access lists after it",
    "LIBRARY_EXISTS": "the ledger offers this text already; contracts can name it: assent contract libraries",
    "TOO_MANY_LIBRARIES": "an organisation has at most 32 libraries on the ledger; withdraw one: "
    "assent contract withdraw-library HASH",
    "LIBRARIES_TOO_LONG": "the libraries of an organisation have at most 524288 bytes together; "
    "withdraw one: assent contract withdraw-library HASH",
    "UNKNOWN_LIBRARY": "the ledger offers no library of that hash, or no longer; see: "
    "assent contract libraries; anyone puts its text there: assent contract publish FILE",
    "NOT_PUBLISHER": "only the organisation that published it withdraws it; see: assent contract libraries",
    "DOMAIN_NOT_REGISTERED": "noise covers, or an account is charged for, a column without a registered "
    "domain; the detail names it, and what to declare or to write",
    "REJECTED_PAGE": "the page cannot be traced; the detail has the line and what to write instead",
    "PROGRAM_EXISTS": "an id stands for one page for ever; propose the page under another id",
    "UNKNOWN_PAGE": "no program and no open proposal has this page; see: assent program list",
    "REJECTED_SOURCE": "the language refuses it; see why: assent contract check FILE",
    "ORDER_CHANGED": "a Map that was once ordered stays so, with keys of the same type; give the new one "
    "another name",
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
    "LAST_ORG": "the last active member stays; admit another first: assent org propose-admit",
    "KEY_EXISTS": "this key is known already, and a key is never registered twice; make a new one: "
    "assent key new FILE",
    "NODE_EXISTS": "a node of that name is listed; see: assent validator list",
    "UNKNOWN_NODE": "no node of that name or key; see: assent validator list",
    "NOT_OWNER": "only the node's own organisation moves its seat",
    "LAST_VALIDATOR": "one validator always stays; give another its vote first: assent validator set-role",
    "BAD_ADDRESS": "give host:port, as the other members reach the node",
    "OUT_OF_RANGE": "a value is not in its range: proposal_ms an hour to a year (3600000..31536000000), "
    "freeze_blocks 1..1000000; limits as contracts/system/README.md has them, beside assent params show",
    "ENCODED_BYTES": "an argument whose size has a bound encodes to more than 65,536 bytes; make it shorter: "
    "contracts/system/README.md has the bound of each",
    "TEXT_TOO_LONG": "a text that goes with it (a name, a description, --reason) has more than 256 "
    "characters, or a program's leakage more than 4096; make it shorter",
    "UNKNOWN_LIMIT": "see: assent params show",
    "BAD_VOTES": "at least the safe minimum, at most the members; see: assent params show",
    "BAD_RULE": "majority, quorum or votes; kinds that could take over the rest need a quorum at least",
    "NOT_CONFLICTING": "these two messages do not contradict one another",
    "BAD_SIGNATURE": "a signature does not hold on this chain",
    "BAD_MESSAGE": "not a vote as it was signed; export evidence with: assent node evidence export FOLDER",
    "ALREADY_REPORTED": "evidence of this kind against this key is on the ledger",
    "OBJECTION_TIME": "the organisation whose key it replaces can object for three days after the proposal; "
    "see: assent proposal show NUMBER",
    "KEYS_REPLACED": "members replaced the admin keys of the organisation after this was proposed, so its "
    "votes and proposals of before are void; propose it again",
    "NOT_CONCERNED": "only the organisation whose admin key it replaces objects; take a vote back with: "
    "assent proposal retract",
    "TOO_MANY_PROPOSALS": "this organisation has too many open proposals; withdraw some",
    "TOO_MANY_PROPOSALS_TODAY": "an organisation makes 200 proposals a day; the count begins anew at "
    "midnight UTC",
    "TOO_MANY_RETRACTIONS_TODAY": "an organisation takes 200 votes back a day; the count begins anew at "
    "midnight UTC",
    "TOO_MANY_ROTATIONS_TODAY": "an organisation moves its nodes' keys 256 times a day; the count begins "
    "anew at midnight UTC",
    "TOO_MANY_LIBRARIES_TODAY": "an organisation publishes 200 libraries a day; the count begins anew at "
    "midnight UTC",
    "UNKNOWN_ACT": "see: assent org eyes",
    "BAD_EYES": "from 1 to 32 keys; 1 asks for no second one",
    "TOO_FEW_KEYS": "fewer of the organisation's keys count for this act; register another first: assent org "
    "add-key",
    "NOT_OF_A_DATASET": "datasets have approvals, resumptions, versions, approvers and accounts; the other "
    "acts are the organisation's",
    "KEY_NOT_COUNTED": "several keys see this act, and this one is none of them: an agent's key never is, "
    "and who counts is shown by: assent org eyes",
    "ALREADY_SEEN": "this key has seen it, and another one does it; which, and until when: "
    "assent org pending",
    "TOO_MANY_PENDING": "32 acts of the organisation wait for other keys; see one, or drop it: assent org "
    "pending",
    "TOO_MANY_PENDING_TODAY": "an organisation begins 500 acts a day that several keys see; the count begins "
    "anew at midnight UTC",
    "UNKNOWN_PENDING": "no such act waits: it was done, dropped or has lapsed; see: assent org pending",
    # --- datasets, grants, jobs
    "ORG_ROLE_MISSING": "the organisation lacks the role; see: assent org show",
    "ORG_NOT_ACTIVE": "a member that takes part was suspended or expelled; see: assent org list",
    "ID_NOT_OWN": "an id begins with the organisation that creates it: OWNER/NAME, REQUESTER/NAME",
    "DATASET_EXISTS": "choose another id, or add a version with: assent dataset new-version",
    "UNKNOWN_DATASET": "see: assent dataset list",
    "SCHEMA_NOT_SEALED": "not all of its columns are on the ledger yet; type the same command again",
    "PART_NOT_NEXT": "another command declares the same schema now; type the same command again",
    "TOO_MANY_DRAFTS": "an owner has at most 8 incomplete schemas; withdraw one: "
    "assent dataset withdraw-draft",
    "JOIN_NOT_BY_KEY": "a dataset is joined by all columns of its key; see: assent dataset show ID",
    "JOIN_TOO_SMALL": "these dataset versions join too few rows, and are not joined again; an owner "
    "registers a new version, or join others",
    "JOIN_NOT_JUDGED": "these versions were asked for fewer rows; propose with a min_group as low as before",
    "PARTNER_VERSIONS": "the grant's version was joined with as many sets of versions as it allows; "
    "request a new grant",
    "IDENTIFIERS_DIFFER": "datasets that are joined have identifiers of different types or normalisation; "
    "compare them: assent dataset show",
    "ACCOUNT_EPSILON": "what figures with noise may still give away is spent or held by open jobs: ask with "
    "a smaller epsilon, or ask the owner, who sets the caps; see: assent dataset account ID --grantee ORG",
    "ACCOUNT_DELTA": "the deltas of figures with noise come to what the account allows; the owner sets the "
    "caps; see: assent dataset account ID --grantee ORG",
    "ACCOUNT_FIGURES": "as many figures of a column are released without noise as the account allows: ask "
    "for noise, or ask the owner, who sets the caps; see: assent dataset account ID --grantee ORG",
    "TOO_MANY_RETURNS_TODAY": "24 jobs of this organisation held an account today and did not begin; "
    "the count begins anew at midnight UTC. See why they ended: assent job why JOB",
    "ACCOUNT_EXISTS": "an account begins with this version, or a later one; see: assent dataset account ID",
    "VERSION_CHARGED": "figures of this version, or a later one, are in the account already; register a new "
    "version, and begin with that: assent dataset new-version",
    "TOO_MANY_ACCOUNTS": "a dataset has at most 256 accounts beside its first; register another dataset",
    "NO_REASON": "say why its rows tell nothing of the rows before: --because TEXT",
    "UNKNOWN_VERSION": "the dataset has no such version; see: assent dataset show ID",
    "BAD_CAPS": "epsilon and grantee-epsilon lie in 0 to 1000, delta and grantee-delta in 0 to 0.001, "
    "figures and grantee-figures in 0 to 1000000",
    "CAP_RAISED": "a cap rose meanwhile above what is given here; see: assent dataset account ID",
    "DATASET_NOT_ACTIVE": "its owner suspended or retired it; see: assent dataset show",
    "UNKNOWN_COLUMN": "the registered schema has no such column; see: assent dataset show",
    "GRANT_EXISTS": "choose another id; see: assent grant list",
    "UNKNOWN_GRANT": "see: assent grant list",
    "NOT_APPROVER": "this organisation is not among the dataset's approvers; see: assent dataset show",
    "OWN_REQUEST": "nobody approves their own request; ask another approver",
    "NOT_DECIDED": "its votes decide nothing yet; see: assent grant show",
    "THRESHOLD_OUT_OF_REACH": "too few of its approvers may approve this requester; see: assent dataset show",
    "TOO_MANY_REQUESTS": "256 requests of this organisation are open; withdraw some, or let them be decided",
    "TOO_MANY_REQUESTS_OF_DATASET": "16 requests for it are open; withdraw some: assent grant withdraw",
    "TOO_MANY_REQUESTS_TODAY": "500 requests of this organisation were made today; the count begins anew at "
    "midnight UTC",
    "TOO_MANY_REQUESTS_OF_DATASET_TODAY": "32 requests for this dataset were made today; the count begins "
    "anew at midnight UTC",
    "TOO_MANY_DATASETS_TODAY": "an owner registers 200 datasets a day; the count begins anew at midnight UTC",
    "TOO_MANY_VERSIONS_TODAY": "an owner adds 1,000 versions a day; the count begins anew at midnight UTC",
    "TOO_MANY_PARTS_TODAY": "an owner declares 256 parts of schemas a day, of up to 64 columns each; the "
    "count begins anew at midnight UTC, and the same command goes on then",
    "TOO_MANY_CHANGES_TODAY": "an organisation narrows, resumes, takes votes back or sets approvers 500 "
    "times a day; the count begins anew at midnight UTC. What stops a use is not counted: assent grant "
    "suspend, assent grant revoke, assent dataset suspend",
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
    "PROGRAM_NOT_ACTIVE": "the members retired this program; see: assent program list",
    "UNKNOWN_PROGRAM": "the members agreed on no such program; see: assent program list",
    "PLAN_DIFFERS": "another plan follows of the page, its parameters and the columns; propose the job again",
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
    "PROFILE_PARTIES": "the profile does not run with so many participants, receivers included; "
    "see: assent grant request --help",
    "PROFILE_DATASETS": "the profile takes fewer datasets of one owner; name fewer of its grants",
    "MIN_GROUP_TOO_LOW": "raise --min-group to what the grants ask for; see: assent grant show",
    "CO_PARTY_NOT_GRANTED": "a participant is not allowed by the grant: leave it out of --compute and the "
    "receivers, or request a grant with --co-party ORG; see: assent grant show",
    "RECEIVER_NOT_GRANTED": "a receiver is not allowed by the grant; see: assent grant show",
    "MEMBERSHIP_NOT_GRANTED": "the grant does not let an organisation learn which rows are joined; see: "
    "assent grant show",
    "EPSILON_NOT_GRANTED": "the job takes more epsilon of a dataset than its grant lets a run take: give "
    "parameters with less, or request a grant for as much; both figures: assent job preflight",
    "BAD_EPSILON": "the epsilon of a run is from 0 to 1000",
    "QUOTA_EXHAUSTED": "every run is used or reserved; a new grant is needed: assent grant request",
    "POLICY_DENIED": "the grant's policy contract said no; see: assent contract show",
    "UNKNOWN_JOB": "see: assent job list",
    "BAD_CAUSE": "a cause is a code of 1 to 64 of A-Z, 0-9 and '_' that begins with a letter; see: "
    "privcompute/causes.py",
    "BAD_DETAIL": "a detail holds at most 8 facts: texts of at most 128 characters, whole numbers below "
    "2^63, or truths; a reason has at most 128 characters",
    "EVIDENCE_REQUIRED": "a running job is aborted with the hash of one's evidence",
}
"""Refusal code -> what to do next (codes: contracts/system/README.md)."""
_DATA_IDS = "ids of datasets and grants are ORG/NAME, a name of 1 to 63 of a-z, 0-9, '.', '_' and '-'"
_DATA_OWNER = "only the dataset's owner may do this"
_REMEDIES_OF_CONTRACT: Mapping[tuple[str, str], str] = {
    ("datasets", "BAD_ID"): _DATA_IDS,
    ("grants", "BAD_ID"): _DATA_IDS,
    ("jobs", "BAD_ID"): _DATA_IDS,
    ("datasets", "NOT_OWNER"): _DATA_OWNER,
    ("accounts", "NOT_OWNER"): _DATA_OWNER,
    (
        "accounts",
        "TOO_MANY_CHANGES_TODAY",
    ): "an owner raises caps or begins accounts 200 times a day; the "
    "count begins anew at midnight UTC. Lowering a cap is not counted",
    ("grants", "NOT_OWNER"): _DATA_OWNER,
    ("grants", "ALREADY_VOTED"): "this organisation has voted; to vote otherwise: assent grant retract",
    ("grants", "NOT_VOTED"): "this organisation has no vote on it; see: assent grant show",
    ("grants", "TOO_EARLY"): "its term, or the time to decide it, is not over yet; see: assent grant show",
    ("grants", "DEADLINE_PASSED"): "the time to decide it is over; request it again: assent grant request",
    ("jobs", "TOO_EARLY"): "its deadline has not passed yet; see: assent job show",
    ("jobs", "DEADLINE_PASSED"): "the time for this step is over; see: assent job show",
    ("jobs", "BAD_SIGNATURE"): "the signature is not that of the agent over this job's certificate",
}
"""(contract, code) -> what to do next, where a contract means its own thing by a code of several."""


class RefusedByLedger(AssentError):
    """The ledger refused a call: the text begins with its stable code and says what to do."""

    code = "refused_by_ledger"


def remedy(contract: str, code: str) -> str:
    """Return what a person can do about the code with which a contract refused."""
    return _REMEDIES_OF_CONTRACT.get((contract, code)) or _REMEDIES.get(code, SEE_CODES)


async def call(
    account: SigningClient, contract: str, method: str, args: dict[str, Value], gas: int = GAS
) -> Receipt:
    """Send a call and wait for its receipt; raise RefusedByLedger with code and remedy.

    Raises Noted where the organisation asks that other keys make the same call before it is done.
    """
    try:
        receipt = await account.send(contract, method, args, gas_limit=gas)
    except TransactionFailed as failed:
        code = failed.reason or failed.receipt.status.upper()
        raise RefusedByLedger(f"{code}: {contract}.{method}: {remedy(contract, code)}") from None
    return await unless_noted(account, receipt)


async def unless_noted(account: SigningClient, receipt: Receipt) -> Receipt:
    """Return the receipt of a call that was done; raise Noted where it waits for other keys."""
    answer = result_of(receipt)
    if was_noted(answer):
        raise await noted(account.client, account.signer.public, answer["digest"])
    return receipt


def send(session: Session, contract: str, method: str, args: dict[str, Value], gas: int = GAS) -> Receipt:
    """Send one call as the session's organisation and return its receipt; raise RefusedByLedger."""

    async def work(account: SigningClient) -> Receipt:
        return await call(account, contract, method, args, gas)

    return as_account(session, work)


def as_account(session: Session, work: Callable[[SigningClient], Awaitable[T]]) -> T:
    """Run a coroutine with an account that signs as the session's organisation."""

    async def inside() -> T:
        async with session.account() as account:
            return await work(account)

    return run(inside())


def as_client(session: Session, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run a coroutine with a client that only reads."""

    async def inside() -> T:
        async with session.client() as client:
            return await work(client)

    return run(inside())


def result_of(receipt: Receipt) -> Value:
    """Return what the called method returned; None when it returned nothing."""
    return decode_value(receipt.result, max_bytes=RESULT_BYTES_MAX) if receipt.result else None
