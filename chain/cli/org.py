"""`assent org`: the members of the consortium, and one's own organisation's keys."""

from __future__ import annotations

from typing import Any

import click

from chain.cli import acts
from chain.cli.governing import NotThere, own_org, say
from chain.cli.join import new
from chain.cli.key import KEY_HELP, ProvedKey, proved_key, public_key
from chain.cli.proposal import not_before_option, propose, reason_option
from chain.cli.stall_check import nodes_of
from chain.client.calls import as_account, as_client, call
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.client.trust import trust_line, word_line
from chain.ledger.block import Receipt
from chain.ledger.genesis import ROLES
from chain.primitives.errors import ConfigError
from chain.primitives.jsonvalue import to_json
from chain.primitives.possession import REPLACEMENT
from chain.primitives.values import Value

KEY_ROLES = ("admin", "steward", "agent")

id_argument = click.argument("org_id", metavar="ID")


@click.group()
def org() -> None:
    """The members of the consortium: look, propose changes, keep one's own keys."""


org.add_command(new)
for _command in acts.COMMANDS:
    org.add_command(_command)


@org.command("list")
@json_option
@reports_errors
@session_options
def org_list(session: Session, as_json: bool) -> None:
    """List the organisations, their roles, agents and standing."""

    async def work(client: Client) -> tuple[list[Any], str]:
        found = [value async for _, value in client.entries("orgs", "orgs")]
        return found, await word_line(client, "assent org show ID")

    found, word = as_client(session, work)
    if as_json:
        print_json([to_json(item) for item in found])
        return
    rows = [[o["id"], o["name"], ", ".join(o["roles"]), o["agent_address"], o["status"]] for o in found]
    print_table("organisations", ["id", "name", "roles", "agent", "status"], rows)
    print_text(word)


@org.command("show")
@id_argument
@json_option
@reports_errors
@session_options
def org_show(session: Session, org_id: str, as_json: bool) -> None:
    """Show the organisation ID: standing, keys and nodes, proved when the genesis is known."""

    async def work(client: Client) -> tuple[Any, list[Any], list[Any], list[list[str]], str]:
        record = await client.state("orgs", "orgs", org_id)
        if record is None:
            raise NotThere(f"no organisation {org_id!r}; see: assent org list")
        names: Any = await client.state("orgs", "org_keys", org_id)
        keys = [await client.state("orgs", "keys", name) for name in names or []]
        nodes = [node for node in await nodes_of(client) if node["org"] == org_id]
        return record, keys, nodes, await acts.act_rows(client, org_id), trust_line(client)

    record, keys, nodes, asked, trust = as_client(session, work)
    if as_json:
        shown = {"org": to_json(record), "keys": to_json(keys), "nodes": to_json(nodes)}
        print_json({**shown, "acts": asked})
        return
    rows = [
        ["name", record["name"]],
        ["status", record["status"]],
        ["roles", ", ".join(record["roles"])],
        ["member since height", record["joined"]],
        ["agent", record["agent_address"] or "none"],
        *[["key", f"{k['key'].hex()}  {', '.join(k['roles'])}, {k['status']}"] for k in keys],
        *asked,
        *[["node", f"{n['name']}  {n['role']}, {n['address']}"] for n in nodes],
        *[["node key", f"{n['public_key'].hex()}  {n['name']}"] for n in nodes],
    ]
    print_table(f"organisation {org_id}", ["field", "value"], rows)
    print_text(trust)


@org.command("propose-admit")
@id_argument
@click.option("--name", required=True, help="Its name for people.")
@click.option("--roles", required=True, help=f"Separated by commas: {','.join(ROLES)}.")
@click.option("--admin-key", required=True, help=f"Of its administrator: {KEY_HELP}.")
@click.option("--steward-key", help=f"That manages datasets and grants: {KEY_HELP}.")
@click.option("--agent-key", help=f"Of its agent: {KEY_HELP}.")
@click.option("--agent-address", default="", metavar="HOST:PORT", help="Where agents reach its agent.")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def propose_admit(
    session: Session,
    org_id: str,
    name: str,
    roles: str,
    admin_key: str,
    steward_key: str | None,
    agent_key: str | None,
    agent_address: str,
    reason: str,
    not_before: int,
    as_json: bool,
) -> None:
    """Propose to admit the organisation ID; its nodes are added afterwards."""
    chain_id = session.chain_id()

    def entry(text: str, option: str, role: str) -> dict[str, Value]:
        key = proved_key(text, option, chain_id, org_id)
        return {"key": key.public, "roles": [role], "proof": key.proof}

    keys: list[Any] = [entry(admin_key, "--admin-key", "admin")]
    if steward_key is not None:
        keys.append(entry(steward_key, "--steward-key", "steward"))
    if (agent_key is None) != (agent_address == ""):
        raise ConfigError("--agent-key and --agent-address: give both, or neither for a member without agent")
    agent = None if agent_key is None else proved_key(agent_key, "--agent-key", chain_id, org_id)
    member: dict[str, Any] = {
        "id": org_id,
        "name": name,
        "roles": _listed(roles, ROLES, "--roles"),
        "keys": keys,
        "agent_key": b"" if agent is None else agent.public,
        "agent_address": agent_address,
        "agent_proof": b"" if agent is None else agent.proof,
    }
    propose(session, "admit_org", {"org": member}, reason, not_before, as_json)


def _listed(text: str, allowed: tuple[str, ...], option: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    unknown = [part for part in found if part not in allowed]
    if unknown:
        raise ConfigError(f"{option}: {', '.join(map(repr, unknown))} not among {', '.join(allowed)}")
    return found


def _standing(command: str, kind: str, what: str) -> None:
    @org.command(command, help=what)
    @id_argument
    @reason_option
    @not_before_option
    @json_option
    @reports_errors
    @session_options
    def proposed(session: Session, org_id: str, reason: str, not_before: int, as_json: bool) -> None:
        propose(session, kind, {"org": org_id}, reason, not_before, as_json)


_standing(
    "propose-expel", "expel_org", "Propose to end the membership of ID, for good; its past stays valid."
)
_standing("propose-suspend", "suspend_org", "Propose that ID calls nothing and does not vote, for a while.")
_standing("propose-reinstate", "reinstate_org", "Propose to end the suspension of ID.")


@org.command("propose-key")
@id_argument
@click.argument("new_key", metavar="KEY")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def propose_key(
    session: Session, org_id: str, new_key: str, reason: str, not_before: int, as_json: bool
) -> None:
    """Propose KEY as the one admin key of ID, which lost its last.

    KEY is its file, or KEY:PROOF as its holder printed it with assent key prove --replacement.
    Every other admin key of ID ends, and its votes and proposals until then are void. It can object for three
    days, with assent proposal object.
    """
    key = proved_key(new_key, "KEY", session.chain_id(), org_id, REPLACEMENT)
    payload: dict[str, Value] = {"org": org_id, "key": key.public, "proof": key.proof}
    propose(session, "replace_key", payload, reason, not_before, as_json)


@org.command("add-key")
@click.argument("new_key", metavar="KEY")
@click.option("--roles", required=True, help=f"Separated by commas: {','.join(KEY_ROLES)}.")
@json_option
@reports_errors
@session_options
def add_key(session: Session, new_key: str, roles: str, as_json: bool) -> None:
    """Let KEY (its file, or KEY:PROOF of assent key prove) sign for one's own organisation."""
    listed: list[Value] = [*_listed(roles, KEY_ROLES, "--roles")]

    async def work(account: SigningClient) -> tuple[Receipt, ProvedKey]:
        key = await _own_key(account, new_key, "KEY")
        args: dict[str, Value] = {"key": key.public, "roles": listed, "proof": key.proof}
        return await call(account, "orgs", "add_key", args), key

    receipt, key = as_account(session, work)
    say(receipt, as_json, f"{key.public.hex()} signs from height {receipt.height} on")


@org.command("rotate-key")
@click.argument("old_key", metavar="OLD")
@click.argument("new_key", metavar="NEW")
@json_option
@reports_errors
@session_options
def rotate_key(session: Session, old_key: str, new_key: str, as_json: bool) -> None:
    """Put NEW (its file, or KEY:PROOF) in the place of OLD, a key of one's own organisation."""
    old = public_key(old_key, "OLD")

    async def work(account: SigningClient) -> tuple[Receipt, ProvedKey]:
        key = await _own_key(account, new_key, "NEW")
        args: dict[str, Value] = {"old": old, "new": key.public, "proof": key.proof}
        return await call(account, "orgs", "rotate_key", args), key

    receipt, key = as_account(session, work)
    say(
        receipt,
        as_json,
        f"{key.public.hex()} signs in the place of {old.hex()} since height {receipt.height}",
        "next: put the new key's file where the old one's was (keys/admin.key, keys/agent.key), or every "
        "command that signs with the old one is refused; back it up (docs/keys.md)",
    )


@org.command("set-agent")
@click.argument("agent_key", metavar="KEY")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where other agents reach it.")
@json_option
@reports_errors
@session_options
def set_agent(session: Session, agent_key: str, address: str, as_json: bool) -> None:
    """Name KEY (its file, or KEY:PROOF) and the address of one's own organisation's agent."""

    async def work(account: SigningClient) -> tuple[Receipt, ProvedKey]:
        key = await _own_key(account, agent_key, "KEY")
        args: dict[str, Value] = {"agent_key": key.public, "agent_address": address, "proof": key.proof}
        return await call(account, "orgs", "set_agent", args), key

    receipt, key = as_account(session, work)
    say(receipt, as_json, f"the agent's key is {key.public.hex()} at {address} since height {receipt.height}")


async def _own_key(account: SigningClient, text: str, option: str) -> ProvedKey:
    return proved_key(text, option, account.chain_id, await own_org(account))


@org.command("revoke-key")
@click.argument("old_key", metavar="KEY")
@reason_option
@click.option("--anyway", is_flag=True, help="Even if fewer keys are left than an act asks for.")
@json_option
@reports_errors
@session_options
def revoke_key(session: Session, old_key: str, reason: str, anyway: bool, as_json: bool) -> None:
    """End KEY of one's own organisation; what it signed before stays valid."""
    key = public_key(old_key, "KEY")

    async def work(account: SigningClient) -> Receipt:
        if not anyway:
            await acts.check_enough_left(account.client, await own_org(account), key)
        return await call(account, "orgs", "revoke_key", {"key": key, "reason": reason})

    receipt = as_account(session, work)
    say(receipt, as_json, f"{key.hex()} signs nothing after height {receipt.height}")
