"""`assent proposal`: decisions about members, nodes and parameters, from proposal to commit."""

from __future__ import annotations

from typing import Any

import click

from chain.api.render import receipt_json
from chain.audit.text import utc
from chain.cli.governing import COMMIT_GAS, NotThere, may_object, next_step, outside_note, votes_words
from chain.cli.stall_check import check_reach
from chain.client.answers import RpcError
from chain.client.calls import as_account, as_client, call, result_of, send
from chain.client.client import Client
from chain.client.console import (
    json_option,
    print_folded,
    print_json,
    print_table,
    print_text,
    reports_errors,
)
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.client.trust import trust_line, word_line
from chain.ledger.block import Receipt
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value

OPEN = "open"
LEDGER_KINDS = ("add_node", "remove_node", "change_role", "change_address", "set_limits")
"""Kinds that the ledger follows a consensus window after the block that carries them."""

seq_argument = click.argument("seq", type=click.IntRange(1))
reason_option = click.option("--reason", default="", help="Why; every member can read it.")
not_before_option = click.option(
    "--not-before",
    type=click.IntRange(0),
    default=0,
    metavar="HEIGHT",
    help="Height before which it may not be committed.",
)


def propose(
    session: Session,
    kind: str,
    payload: dict[str, Value],
    reason: str,
    not_before: int,
    as_json: bool,
    *,
    force: bool = True,
) -> None:
    """Send a proposal to governance and say who must approve it; unless forced, check reachability first."""

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any]]:
        if not force:
            await check_reach(account.client, kind, payload)
        args = {"kind": kind, "payload": payload, "reason": reason, "not_before": not_before}
        receipt = await call(account, "governance", "propose", args)
        return receipt, await readiness(account.client, int(str(result_of(receipt))))

    receipt, ready = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt) | {"readiness": to_json(ready)})
        return
    seq = result_of(receipt)
    print_text(f"proposal {seq} ({kind}) made at height {receipt.height}: {votes_words(ready)}")
    print_text(_next(seq, ready))


async def readiness(client: Client, seq: int) -> dict[str, Any]:
    """Return who approved a proposal, who is missing and when it can be committed, as the node says.

    One that is due has a `refusal`: the code with which its guards would refuse it now, "" when they hold.
    """
    view: Any = await client.view("governance", "readiness", {"seq": seq})
    found = dict(view)
    if found["due"]:
        found["refusal"] = ""
        try:
            await client.view("governance", "check_proposal", {"seq": seq})
        except RpcError as error:
            if not error.verdict:
                raise
            found["refusal"] = error.verdict
    return found


async def proposal_of(client: Client, seq: int) -> dict[str, Any]:
    """Return a proposal, proved when the genesis is known."""
    found: Any = await client.state("governance", "proposals", seq)
    if found is None:
        raise NotThere(
            f"no open or committed proposal {seq}; see: assent proposal list, or, of one that was withdrawn "
            f"or has expired: assent audit trail proposal:{seq}{await outside_note(client)}"
        )
    return dict(found)


def _next(seq: Value, ready: dict[str, Any]) -> str:
    return next_step(ready, f"assent proposal approve {seq}", f"assent proposal commit {seq}")


@click.group()
def proposal() -> None:
    """Decide about members, nodes and parameters: one vote an organisation.

    Proposals are made with assent org propose-…, validator add|remove|…, params propose|policy, contract acl.
    """


@proposal.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are committed.")
@json_option
@reports_errors
@session_options
def list_proposals(session: Session, everything: bool, as_json: bool) -> None:
    """List the open proposals and whose votes they lack."""

    async def work(client: Client) -> tuple[list[dict[str, Any]], str]:
        found = [dict(value) async for _, value in client.entries("governance", "proposals")]
        chosen = [
            item | {"readiness": await readiness(client, item["seq"])}
            for item in found
            if everything or item["status"] == OPEN
        ]
        return chosen, await word_line(client, "assent proposal show NUMBER")

    found, word = as_client(session, work)
    if as_json:
        print_json([to_json(item) for item in found])
        return
    rows = [
        [p["seq"], p["kind"], summary(p["kind"], p["payload"]), p["by"], p["readiness"]["status"],
         f"{len(p['readiness']['counted'])}/{p['readiness']['needed']}", ", ".join(p["readiness"]["missing"])]
        for p in found
    ]  # fmt: skip
    columns = ["#no.", "kind", "about", "by", "status", "votes", "not yet"]
    print_table("proposals" if everything else "open proposals", columns, rows)
    for line in filter(None, [may_object(p, p["readiness"]) for p in found]):
        print_folded(line)
    print_text(word)


def summary(kind: str, payload: dict[str, Any]) -> str:
    """Put a proposal's content in a few words."""
    if kind == "admit_org":
        return str(payload["org"]["id"])
    if "name" in payload:
        detail = payload.get("role") or payload.get("address")
        return str(payload["name"]) + (f" → {detail}" if detail and kind != "add_node" else "")
    if kind == "set_access":
        return f"{payload['contract']}: {', '.join(payload['access']) or 'open to all'}"
    if kind in ("expel_org", "suspend_org", "reinstate_org", "replace_key"):
        return str(payload["org"])
    return ", ".join(f"{name} = {value}" for name, value in payload.items())


@proposal.command("show")
@seq_argument
@json_option
@reports_errors
@session_options
def show(session: Session, seq: int, as_json: bool) -> None:
    """Show what proposal SEQ asks for, who approved it, who is missing and when it can be committed."""

    async def work(client: Client) -> tuple[dict[str, Any], dict[str, Any], str, str]:
        found, ready = await proposal_of(client, seq), await readiness(client, seq)
        return found, ready, trust_line(client), await word_line(client)

    found, ready, trust, word = as_client(session, work)
    if as_json:
        rests = {"proposal": trust, "readiness": word}
        print_json({"proposal": to_json(found), "readiness": to_json(ready), "rests_on": rests})
        return
    rows = [
        ["kind", found["kind"]],
        *[[f"  {name}", _plain(value)] for name, value in found["payload"].items()],
        ["reason", found["reason"]],
        ["proposed by", found["by"]],
        ["hash", found["hash"].hex()],
        ["expires", _moment(found["expires"])],
        ["not before", f"height {found['not_before']}" if found["not_before"] else "any height"],
    ]
    if found["committed_at"]:
        rows.append(["committed", f"at height {found['committed_at']}"])
    print_table(f"proposal {seq}", ["field", "value"], rows)
    print_text(trust)
    print_text(f"{ready['status']}, {votes_words(ready)}")
    if ready["status"] == OPEN:
        print_text(_next(seq, ready))
    if line := may_object(found, ready):
        print_folded(line)
    print_text(f"status and votes: {word}")


def _plain(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else str(to_json(value))


def _moment(ms: int) -> str:
    return f"{utc(ms)} UTC"


@proposal.command("approve")
@seq_argument
@json_option
@reports_errors
@session_options
def approve(session: Session, seq: int, as_json: bool) -> None:
    """Vote for proposal SEQ; the vote names the hash of what it asks for."""

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any]]:
        found = await proposal_of(account.client, seq)
        receipt = await call(account, "governance", "approve", {"seq": seq, "hash": found["hash"]})
        return receipt, await readiness(account.client, seq)

    receipt, ready = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt) | {"readiness": to_json(ready)})
        return
    print_text(f"approved proposal {seq}: {votes_words(ready)}")
    print_text(_next(seq, ready))


@proposal.command("object")
@seq_argument
@click.option("--reason", default="", help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def object_to(session: Session, seq: int, reason: str, as_json: bool) -> None:
    """Stop proposal SEQ to replace one's own admin key, with that key: it is not lost."""
    receipt = send(session, "governance", "object_to", {"seq": seq, "reason": reason})
    if as_json:
        print_json(receipt_json(receipt))
        return
    print_text(f"proposal {seq} is stopped at height {receipt.height}: the admin key stays")
    print_text("next: ask those who voted for it why; if this key is in other hands, assent org rotate-key")


@proposal.command("commit")
@seq_argument
@click.option("--force", is_flag=True, help="Even if the chain would wait for nodes that do not run.")
@json_option
@reports_errors
@session_options
def commit(session: Session, seq: int, force: bool, as_json: bool) -> None:
    """Carry out proposal SEQ, which has its votes; changes of nodes and limits follow a few heights later."""

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any], int]:
        found = await proposal_of(account.client, seq)
        if not force:
            await check_reach(account.client, found["kind"], found["payload"])
        receipt = await call(account, "governance", "commit", {"seq": seq}, COMMIT_GAS)
        return receipt, found, await window_of(account.client, session)

    receipt, found, window = as_account(session, work)
    first = receipt.height + window if found["kind"] in LEDGER_KINDS else receipt.height
    if as_json:
        print_json(receipt_json(receipt) | {"inForceFrom": first})
        return
    print_text(
        f"proposal {seq} ({found['kind']}: {summary(found['kind'], found['payload'])}) is committed; "
        f"in force from height {first}"
    )


async def window_of(client: Client, session: Session) -> int:
    """Return how many heights after its block a change of nodes or limits is in force."""
    if session.genesis is not None:
        return session.genesis.limits.consensus_window
    genesis = await client.request("getGenesis")
    return int(genesis["limits"]["consensus_window"])


@proposal.command("retract")
@seq_argument
@json_option
@reports_errors
@session_options
def retract(session: Session, seq: int, as_json: bool) -> None:
    """Take back one's own vote for proposal SEQ, while it is open."""
    _close(session, "retract", seq, as_json, "has one vote less")


@proposal.command("withdraw")
@seq_argument
@json_option
@reports_errors
@session_options
def withdraw(session: Session, seq: int, as_json: bool) -> None:
    """Take back one's own proposal SEQ."""
    _close(session, "withdraw", seq, as_json, "is withdrawn")


@proposal.command("expire")
@seq_argument
@json_option
@reports_errors
@session_options
def expire(session: Session, seq: int, as_json: bool) -> None:
    """Record that proposal SEQ has expired."""
    _close(session, "expire", seq, as_json, "has expired")


def _close(session: Session, method: str, seq: int, as_json: bool, said: str) -> None:
    async def work(account: SigningClient) -> Receipt:
        return await call(account, "governance", method, {"seq": seq})

    receipt = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt))
    else:
        print_text(f"proposal {seq} {said}")
