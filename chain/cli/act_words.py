"""What a call that waits for other keys is about, in words, and why it can no longer succeed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chain.audit.text import utc
from chain.cli.proposal import summary
from chain.client.answers import RpcError, reading
from chain.client.client import Client

TEXT_CHARS, LIST_ITEMS = 160, 32
"""What of a text, and of a list of names, is shown; what is longer is counted."""
CAP_DIGITS: Mapping[str, int] = {
    "epsilon": 9,
    "grantee_epsilon": 9,
    "delta": 18,
    "grantee_delta": 18,
    "figures": 0,
    "grantee_figures": 0,
}
"""Cap of a disclosure account -> decimal places in which the ledger counts it."""


@dataclass(frozen=True, slots=True)
class ActWords:
    """A call that waits, for whoever is to sign it too."""

    about: str = ""
    """What it is about, as the ledger has it now; empty where its arguments say it all."""
    over: str = ""
    """Why it can no longer succeed; empty while it may."""


async def act_words(client: Client, call: str, org: str, args: Mapping[str, Any], now: int) -> ActWords:
    """Return the words for a call of an organisation; `now` is the newest block time, in milliseconds."""
    reader = READERS.get(call)
    if reader is None:
        return ActWords()
    with reading(client.url, f"what {call} is about"):
        return await reader(client, org, args, now)


def brief(value: Any) -> Any:
    """Return JSON with what is long in it counted: a source is not read from one line."""
    if isinstance(value, str) and len(value) > TEXT_CHARS:
        return f"{value[:TEXT_CHARS]}… ({len(value):,} characters)"
    if isinstance(value, list):
        more = [f"… ({len(value):,} items)"] if len(value) > LIST_ITEMS else []
        return [brief(item) for item in value[:LIST_ITEMS]] + more
    if isinstance(value, dict):
        return {key: brief(item) for key, item in value.items()}
    return value


def _names(names: Any) -> str:
    more = f" and {len(names) - LIST_ITEMS:,} more" if len(names) > LIST_ITEMS else ""
    return ", ".join(map(str, list(names)[:LIST_ITEMS])) + more


def _use(asked: Mapping[str, Any], grantee: str) -> str:
    """Say what a grant, or a request of one, allows."""
    columns = _names([f"{name} ({use})" for name, use in asked["columns"].items()])
    policy = f", policy contract {asked['policy']}" if asked["policy"] else ""
    return (
        f"{grantee} may use {asked['dataset']} version {asked['version']}: columns {columns}; for "
        f"{asked['purpose']}; by programs {_names(asked['programs'])}; results to "
        f"{_names(asked['receivers'])}; with {_names(asked['co_parties']) or 'no others'}; which rows are "
        f"joined may be learnt by {_names(asked['membership']) or 'nobody else'}; "
        f"{asked['quota_runs']} runs until {utc(asked['expires'])} UTC; groups of {asked['min_group']} or "
        f"more; at most epsilon {_decimal(asked['run_epsilon'], 9)} a run{policy}"
    )


async def _approve_grant(client: Client, _: str, args: Mapping[str, Any], now: int) -> ActWords:
    ident = args["id"]
    grant: Any = await client.state("grants", "grants", ident)
    if grant is None:
        return ActWords(over=f"there is no request {ident}")
    standing: Any = await client.state("grants", "standing", ident)
    over = "" if standing is None else f"the request {ident} is {standing['status']}"
    if standing is None and now >= grant["decide_by"]:
        over = f"the request {ident} lapsed at {utc(grant['decide_by'])} UTC"
    narrower = "; narrower by the terms of the call" if args["terms"] else ""
    return ActWords(_use(grant, grant["grantee"]) + narrower, over)


async def _resume_grant(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    grant: Any = await client.state("grants", "grants", args["id"])
    standing: Any = await client.state("grants", "standing", args["id"])
    status = "requested" if standing is None else standing["status"]
    about = "" if grant is None else _use(grant, grant["grantee"])
    return ActWords(about, "" if status == "suspended" else f"the grant {args['id']} is {status}")


async def _request_grant(client: Client, org: str, args: Mapping[str, Any], now: int) -> ActWords:
    known = await client.state("grants", "grants", args["id"]) is not None
    over = f"there is a grant {args['id']} already" if known else ""
    if not over and now >= args["expires"]:
        over = f"it asks for a time that ended at {utc(args['expires'])} UTC"
    return ActWords(_use(args, org), over)


async def _resume_dataset(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    found: Any = await client.state("datasets", "datasets", args["id"])
    status = "not there" if found is None else found["status"]
    return ActWords(over="" if status == "suspended" else f"the dataset {args['id']} is {status}")


async def _register_dataset(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    known = await client.state("datasets", "datasets", args["id"]) is not None
    return ActWords(over=f"there is a dataset {args['id']} already" if known else "")


async def _change_dataset(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    found: Any = await client.state("datasets", "datasets", args["id"])
    if found is None or found["status"] == "retired":
        return ActWords(over=f"the dataset {args['id']} is {'not there' if found is None else 'retired'}")
    return ActWords(
        f"{args['id']} has version {found['version']}; {_names(found['approvers'])} approve its uses"
    )


async def _set_caps(client: Client, org: str, args: Mapping[str, Any], now: int) -> ActWords:
    gone = (await _change_dataset(client, org, args, now)).over
    if gone:
        return ActWords(over=gone)
    caps: Any = await client.view("accounts", "caps_of", {"id": args["id"]})
    changes = [
        f"{name} {_decimal(caps[name], digits)} to {_decimal(cap, digits)}"
        for name, cap in args["caps"].items()
        if (digits := CAP_DIGITS.get(name)) is not None
    ]
    return ActWords(f"what figures about {args['id']} may give away: {_names(changes)}")


def _decimal(amount: int, digits: int) -> str:
    """Return an amount of the ledger whole: who signs must see every digit."""
    return f"{Decimal(amount).scaleb(-digits).normalize():f}"


async def _begin_account(client: Client, org: str, args: Mapping[str, Any], now: int) -> ActWords:
    gone = (await _change_dataset(client, org, args, now)).over
    if gone:
        return ActWords(over=gone)
    ident, version = args["id"], args["version"]
    begun: Any = await client.state("accounts", "begun", ident) or []
    first = max([1, *begun])
    row: Any = await client.state("accounts", "accounts", (ident, first))
    about = f"the account of {ident} begins anew with version {version}; the one before began with {first}"
    if version <= first:
        return ActWords(about, f"an account of {ident} begins with version {first} already")
    charged = row is not None and version <= row["through"]
    return ActWords(about, f"version {row['through']} of {ident} is charged already" if charged else "")


async def _approve_proposal(client: Client, org: str, args: Mapping[str, Any], __: int) -> ActWords:
    seq = args["seq"]
    found: Any = await client.state("governance", "proposals", seq)
    if found is None:
        return ActWords(over=f"proposal {seq} was withdrawn or stopped, or has expired")
    about = f"proposal {seq} of {found['by']}: {found['kind']}, {summary(found['kind'], found['payload'])}"
    status = await _status(client, "governance", {"seq": seq})
    return ActWords(about, _vote_over(found, f"proposal {seq}", status, org, args["hash"]))


async def _approve_contract(client: Client, org: str, args: Mapping[str, Any], __: int) -> ActWords:
    name, seq = args["name"], args["seq"]
    found: Any = await client.state("lifecycle", "proposals", f"{name}/{seq}")
    what = f"version {seq} of contract {name}"
    if found is None:
        return ActWords(over=f"{what} was withdrawn, or has expired")
    about = f"{what}, proposed by {found['by']}, source {found['source_hash'].hex()}"
    status = await _status(client, "lifecycle", {"name": name, "seq": seq})
    return ActWords(about, _vote_over(found, what, status, org, args["hash"]))


async def _approve_program(client: Client, org: str, args: Mapping[str, Any], now: int) -> ActWords:
    found: Any = await client.state("programs", "proposals", args["seq"])
    if found is None:
        return ActWords(
            over=f"the proposal {args['seq']} of a program was decided or withdrawn, or has expired"
        )
    facts: Any = await client.state("programs", "facts", found["page"])
    says = "" if facts is None else f": {brief(facts['says'])}"
    status = "expired" if now > found["expires"] else "open"
    what = f"program {found['id']}"
    about = f"{what}, proposed by {found['by']}, page {found['page'].hex()}{says}"
    return ActWords(about, _vote_over(found, what, status, org, args["hash"]))


async def _propose_program(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    known = await client.state("programs", "programs", args["id"]) is not None
    return ActWords(over=f"there is a program {args['id']} already" if known else "")


async def _unfreeze(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    found: Any = await client.view("lifecycle", "contract_of", {"name": args["name"]})
    if found["seq"] != args["seq"]:
        return ActWords(over=f"version {found['seq']} of contract {args['name']} runs, not {args['seq']}")
    frozen = found["status"] == "frozen"
    return ActWords(over="" if frozen else f"the contract {args['name']} is {found['status']}")


async def _propose_job(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    spec = args["spec"]
    inputs = [f"{one['dataset']} version {one['version']} under {one['grant']}" for one in spec["inputs"]]
    about = (
        f"a job of program {spec['program']} for {spec['purpose']} on {_names(inputs)}; results to "
        f"{_names(spec['receivers'])}"
    )
    for one in spec["inputs"]:
        standing: Any = await client.state("grants", "standing", one["grant"])
        if standing is None or standing["status"] != "active":
            status = "not active" if standing is None else standing["status"]
            return ActWords(about, f"the grant {one['grant']} is {status}")
    return ActWords(about)


async def _add_key(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    return ActWords(over=await _registered(client, args["key"]))


async def _rotate_key(client: Client, _: str, args: Mapping[str, Any], __: int) -> ActWords:
    old: Any = await client.state("orgs", "keys", args["old"].hex())
    gone = old is None or old["status"] != "active"
    over = f"the key {args['old'].hex()} has ended" if gone else await _registered(client, args["new"])
    return ActWords(over=over)


async def _registered(client: Client, key: bytes) -> str:
    known = await client.state("orgs", "keys", key.hex()) is not None
    return f"the key {key.hex()} is registered already" if known else ""


async def _status(client: Client, contract: str, place: dict[str, Any]) -> str:
    """Return the status of a proposal; that of one that goes just now is `over`."""
    try:
        ready: Any = await client.view(contract, "readiness", place)
    except RpcError as error:
        if not error.verdict:
            raise
        return "over"
    return str(ready["status"])


def _vote_over(found: Any, what: str, status: str, org: str, sealed: bytes) -> str:
    """Say why a vote for a proposal can no longer be given; empty while it can."""
    if status != "open":
        return f"{what} is {status}"
    if found["hash"] != sealed:
        return f"the vote is for another content than {what} has"
    return f"{org} has voted for {what}" if org in found["votes"] else ""


Reader = Callable[[Client, str, Mapping[str, Any], int], Awaitable[ActWords]]
READERS: Mapping[str, Reader] = {
    "orgs.add_key": _add_key,
    "orgs.rotate_key": _rotate_key,
    "governance.approve": _approve_proposal,
    "lifecycle.approve": _approve_contract,
    "lifecycle.unfreeze": _unfreeze,
    "programs.propose": _propose_program,
    "programs.approve": _approve_program,
    "grants.approve": _approve_grant,
    "grants.request": _request_grant,
    "grants.resume": _resume_grant,
    "datasets.resume": _resume_dataset,
    "datasets.register": _register_dataset,
    "datasets.new_version": _change_dataset,
    "datasets.set_approvers": _change_dataset,
    "accounts.set_caps": _set_caps,
    "accounts.begin": _begin_account,
    "jobs.propose": _propose_job,
}
"""Call -> what reads of the ledger what it is about, and whether it can succeed."""
