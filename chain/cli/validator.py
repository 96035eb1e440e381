"""`assent validator`: the nodes of the consortium, those that vote and those that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.cli.governing import NotThere, own_org, say
from chain.cli.key import KEY_HELP, ProvedKey, proved_key
from chain.cli.proposal import not_before_option, propose, reason_option
from chain.cli.rejoin import NotYet, rejoin, seat_locked
from chain.cli.stall_check import VALIDATOR, nodes_of, running_keys
from chain.client.calls import as_account, as_client, call, send
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.client.trust import trust_line, word_line
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError, FileTrouble
from chain.primitives.files import read_bounded
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value

EVIDENCE_BYTES_MAX = 60_000

name_argument = click.argument("name")
role_choice = click.Choice([VALIDATOR, "observer"])
force_option = click.option(
    "--force", is_flag=True, help="Even if the chain would wait for nodes that do not run."
)


@click.group()
def validator() -> None:
    """The nodes of the consortium: validators vote, observers follow.

    A new node joins as observer, is started, catches up, and then becomes a validator; one at a time.
    """


@validator.command("list")
@json_option
@reports_errors
@session_options
def list_nodes(session: Session, as_json: bool) -> None:
    """List the nodes, validators in primary order, whether each runs, and what is not in force yet."""

    async def work(client: Client) -> tuple[list[dict[str, Any]], str]:
        running = await running_keys(client)
        silent = {peer["key"] for peer in await client.request("getPeers") if not peer["votes"]}
        info = await client.request("getNodeInfo")
        if info["lostVotes"]:
            silent.add(info["key"])
        voting = {item["key"] for item in await client.request("getSealerList")}
        shown = [_shown(node, running, voting, silent) for node in await nodes_of(client)]
        return shown, trust_line(client)

    found, trust = as_client(session, work)
    if as_json:
        print_json(found)
        return
    rows = [[n["name"], n["org"], _role(n), _runs(n), n["address"], n["key"][:8]] for n in found]
    print_table("nodes", ["name", "org", "role", "runs", "address", "key"], rows)
    print_text(f"the list is {trust}; who runs, and who votes, is the node's word")


def _shown(node: dict[str, Any], running: set[str], voting: set[str], silent: set[str]) -> dict[str, Any]:
    key = node["public_key"].hex()
    follows = (node["role"] == VALIDATOR) == (key in voting)
    return {
        "name": node["name"],
        "org": node["org"],
        "role": node["role"],
        "key": key,
        "address": node["address"],
        "connected": key in running,
        "votes": key in voting and key in running and key not in silent,
        "state": "in force" if follows else "in a few heights",
    }


def _role(node: dict[str, Any]) -> str:
    return node["role"] if node["state"] == "in force" else f"{node['role']} soon"


def _runs(node: dict[str, Any]) -> str:
    if not node["connected"]:
        return "no"
    seated = (node["role"] == VALIDATOR) == (node["state"] == "in force")
    return "yes" if node["votes"] or not seated else "no votes"


@validator.command("add")
@name_argument
@click.option("--org", required=True, help="The member that runs it.")
@click.option("--node-key", "key_text", required=True, help=f"Its key: {KEY_HELP}.")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where the other nodes reach it.")
@click.option("--role", type=role_choice, default="observer", show_default=True)
@reason_option
@not_before_option
@force_option
@json_option
@reports_errors
@session_options
def add(
    session: Session,
    name: str,
    org: str,
    key_text: str,
    address: str,
    role: str,
    reason: str,
    not_before: int,
    force: bool,
    as_json: bool,
) -> None:
    """Propose to add the node NAME."""
    key = proved_key(key_text, "--node-key", session.chain_id(), org)
    payload: dict[str, Value] = {
        "org": org,
        "name": name,
        "public_key": key.public,
        "proof": key.proof,
        "address": address,
        "role": role,
    }
    propose(session, "add_node", payload, reason, not_before, as_json, force=force)


@validator.command("remove")
@name_argument
@reason_option
@not_before_option
@force_option
@json_option
@reports_errors
@session_options
def remove(session: Session, name: str, reason: str, not_before: int, force: bool, as_json: bool) -> None:
    """Propose to remove the node NAME."""
    propose(session, "remove_node", {"name": name}, reason, not_before, as_json, force=force)


@validator.command("set-role")
@name_argument
@click.argument("role", type=role_choice)
@reason_option
@not_before_option
@force_option
@json_option
@reports_errors
@session_options
def set_role(
    session: Session, name: str, role: str, reason: str, not_before: int, force: bool, as_json: bool
) -> None:
    """Propose that the node NAME votes, or only follows."""
    payload = {"name": name, "role": role}
    propose(session, "change_role", payload, reason, not_before, as_json, force=force)


@validator.command("set-address")
@name_argument
@click.argument("address", metavar="HOST:PORT")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def set_address(
    session: Session, name: str, address: str, reason: str, not_before: int, as_json: bool
) -> None:
    """Propose that the other nodes reach the node NAME at HOST:PORT."""
    propose(session, "change_address", {"name": name, "address": address}, reason, not_before, as_json)


@validator.command("rejoin")
@json_option
@reports_errors
@session_options
def rejoin_command(session: Session, as_json: bool) -> None:
    """Take the seat of one's own node again after its data directory was lost; needs no votes of others.

    The node has made a new key by itself, beside the file of [files] key, and goes on under it by itself:
    back it up. A seat moves once in 100 heights or ten minutes; before, this says when. `assent start` does
    the same wherever the admin key is at hand.
    """
    done = as_account(session, rejoin)
    say(done.receipt, as_json, str(done))


@validator.command("rotate-key")
@name_argument
@click.option("--new-key", "key_text", required=True, help=f"The new key: {KEY_HELP}.")
@click.option(
    "--force", is_flag=True, help="Even if the node lacks the key, is not the one asked, or moved lately."
)
@json_option
@reports_errors
@session_options
def rotate_key(session: Session, name: str, key_text: str, force: bool, as_json: bool) -> None:
    """Move the seat of one's own node NAME to a new key; needs no votes.

    Put the new key's file first where [files] next_key of the node says (next.key beside node.toml): the
    running node goes on under it by itself, at the height from which it votes.
    """

    async def work(account: SigningClient) -> tuple[Receipt | None, ProvedKey]:
        key = proved_key(key_text, "--new-key", account.chain_id, await own_org(account))
        if await _holds(account.client, name, key.public):
            return None, key
        if not force:
            await _check_free(account.client, name)
            await _check_has_key(account.client, name, key.public.hex())
        args: dict[str, Value] = {"name": name, "public_key": key.public, "proof": key.proof}
        return await call(account, "governance", "rotate_node_key", args), key

    receipt, key = as_account(session, work)
    if receipt is None:
        told = f"the seat of {name} is with the key {key.public.hex()} already; nothing was sent"
        if as_json:
            print_json({"unchanged": told})
        else:
            print_text(told)
        return
    say(
        receipt,
        as_json,
        f"the seat of {name} moves to {key.public.hex()} a consensus window after height {receipt.height}",
        "the node switches by itself if the key is where [files] next_key says; see: assent status. Back the "
        "key up with the markers beside it (.voted, .skips); they may stay where they are",
        after_rotation(key.public.hex()),
    )


def after_rotation(key: str) -> str:
    """Say how the place of next_key becomes free again, once the seat has moved to the key in it."""
    name = f"keys/seat-{key[:8]}"
    return (
        "before another rotation that place must be free: stop the node, move the key's file and its markers "
        f'to {name}.key, {name}.voted and {name}.skips (those that are there), write key = "{name}.key" '
        "into [files] of node.toml, and start the node"
    )


class KeyNotThere(AssentError):
    """A seat that would move to a key which its node cannot go by: the text says what to do first."""

    code = "key_not_there"


async def _holds(client: Client, name: str, key: bytes) -> bool:
    """Tell whether the ledger says that a key has the node's seat, if only from a few heights on."""
    return any(node["name"] == name and node["public_key"] == key for node in await nodes_of(client))


async def _check_free(client: Client, name: str) -> None:
    """Raise NotYet, saying from when on, where the seat moved too short a time ago to move again."""
    locked = await seat_locked(client, name)
    if locked:
        raise NotYet(f"{name}: {locked}. Nothing was sent; try again then")


async def _check_has_key(client: Client, name: str, key: str) -> None:
    """Raise KeyNotThere unless the node of that name says that it has a key and can open it."""
    info = await client.request("getNodeInfo")
    if info["name"] != name:
        raise KeyNotThere(
            f"{client.url} is {info['name']}, so whether {name} has the key {key[:16]} is not known; ask "
            f"{name} itself (--node), or go on regardless with --force: without that key its seat is lost"
        )
    if key not in info["keys"]:
        raise KeyNotThere(
            f"{name} has no key {key[:16]} that it can open; put its file where [files] next_key of the node "
            "says, readable by the node alone, and if it is sealed, with the passphrase that the node was "
            "started with. Then try again (--force goes on regardless: without that key the seat is lost)"
        )


@validator.command("evidence")
@json_option
@reports_errors
@session_options
def evidence(session: Session, as_json: bool) -> None:
    """List the nodes against which evidence of contradicting votes is on the ledger."""

    async def work(client: Client) -> tuple[list[Any], str]:
        found = [value async for _, value in client.entries("governance", "evidence")]
        return found, await word_line(client, "assent audit trail node:NAME")

    found, word = as_client(session, work)
    shown = [
        {**item, "key": item["key"].hex(), "hashes": [h.hex() for h in item["hashes"]]} for item in found
    ]
    if as_json:
        print_json(to_json(shown))
        return
    rows = [
        [e["node"], e["org"], e["kind"], e["view"], e["height"], e["by"], e["reported_at"]] for e in shown
    ]
    columns = ["node", "org", "kind", "#view", "#height", "reported by", "#at height"]
    print_table("evidence of contradicting messages", columns, rows)
    print_text(word)


@validator.command("report")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@json_option
@reports_errors
@session_options
def report(session: Session, first: Path, second: Path, as_json: bool) -> None:
    """Put two contradicting messages of one node, as files of their exact bytes, on the ledger."""
    args = {"first": _message(first), "second": _message(second)}
    receipt = send(session, "governance", "report_evidence", args)
    say(receipt, as_json, f"recorded at height {receipt.height}; see: assent validator evidence")


def _message(path: Path) -> bytes:
    try:
        raw = read_bounded(path, EVIDENCE_BYTES_MAX)
    except OSError as error:
        raise FileTrouble(
            f"{path}: cannot be read ({error.strerror}); name a file with one message"
        ) from None
    if not raw:
        raise NotThere(f"{path}: empty, expected 1..{EVIDENCE_BYTES_MAX} bytes; name a file with one message")
    return raw
