"""What the governing commands share: calls whose refusals say what to do, and decisions put in words."""

from __future__ import annotations

from typing import Any

from chain.api.render import receipt_json
from chain.audit.text import utc
from chain.client.answers import reading
from chain.client.calls import remedy
from chain.client.client import Client
from chain.client.console import print_json, print_text
from chain.client.signing import SigningClient
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import SIGNER_REFUSALS, UNKNOWN_SENDER
from chain.primitives.words import OUTSIDE

COMMIT_GAS = 10_000_000
REPLACEMENT = "replace_key"
"""Kind of the proposals that whom they concern can stop by an objection."""


class NotThere(AssentError):
    """Something named on the command line that the ledger does not have: the text says what to look at."""

    code = "not_there"


async def outside_note(client: Client) -> str:
    """Return a note on a node that follows nobody, as it lacks something; empty for a member's node.

    The node of an organisation that was removed stands where it was: its answers are of that height.
    """
    info = await client.request("getNodeInfo")
    if not isinstance(info, dict) or info.get("role") != OUTSIDE:
        return ""
    return (
        f". The node asked, {client.url}, is not a member's and stands at height {info.get('height')}: ask "
        "a member's with --node"
    )


def say(receipt: Receipt, as_json: bool, *lines: str) -> None:
    """Print a receipt as JSON, or else `lines`, which say what it means; no foreign text begins a line."""
    if as_json:
        print_json(receipt_json(receipt))
    else:
        for line in lines:
            print_text(line)


def votes_words(ready: dict[str, Any]) -> str:
    """Say who has approved and who is missing."""
    counted = ", ".join(ready["counted"]) or "nobody"
    missing = ", ".join(ready["missing"]) or "nobody"
    return f"{len(ready['counted'])} of {ready['needed']} votes ({counted}); not yet: {missing}"


def next_step(ready: dict[str, Any], approve: str, commit: str) -> str:
    """Say what an open proposal waits for."""
    if ready["status"] == "void":
        return (
            "it is void: since it was proposed, members replaced the admin keys of its proposer, or of the "
            "organisation that it is about; propose it again, if it is still wanted"
        )
    if ready["status"] != "open":
        return f"it is {ready['status']}"
    if not ready["passed"]:
        return f"next: members approve it with: {approve}"
    if not ready["due"]:
        when = f"from height {ready['from_height']} on"
        if ready.get("from_time"):
            when = f"from {utc(ready['from_time'])} UTC on, unless its organisation objects"
        return f"it has its votes; {when}: {commit}"
    refusal = ready.get("refusal", "")
    if refusal:
        return f"it has its votes, and would be refused now: {refusal}: {remedy('governance', refusal)}"
    return f"it has its votes; next: {commit}"


def may_object(proposal: dict[str, Any], ready: dict[str, Any]) -> str:
    """Say of an open proposal to replace admin keys who can stop it, how, and until when; else nothing."""
    if proposal["kind"] != REPLACEMENT or ready["status"] != "open":
        return ""
    org = proposal["payload"]["org"]
    return (
        f"proposal {proposal['seq']} of {proposal['by']} ends all admin keys of {org}, with "
        f"{len(ready['counted'])} of {ready['needed']} votes so far; it can be committed from "
        f"{utc(ready['from_time'])} UTC on. If {org} has one of these keys it can object until it is "
        f"committed: assent proposal object {proposal['seq']}"
    )


async def objections(client: Client, org: str) -> list[str]:
    """Return a line for each proposal that an organisation can stop by an objection, as the node says."""
    lines = []
    async for seq, found in client.entries("governance", "proposals"):
        with reading(client.url, "getStateRange"):
            asked: Any = found
            concerns = asked["kind"] == REPLACEMENT and asked["payload"]["org"] == org
        if concerns and asked["status"] == "open":
            lines.append(may_object(asked, dict(await client.view("governance", "readiness", {"seq": seq}))))
    return [line for line in lines if line]


async def own_org(account: SigningClient) -> str:
    """Return the organisation that the account's key signs for; raise NotThere when it signs for none."""
    found: Any = await account.client.state("orgs", "keys", account.signer.public.hex())
    if found is None:
        raise NotThere(f"key {account.signer.public.hex()}: {SIGNER_REFUSALS[UNKNOWN_SENDER]}")
    return str(found["org"])
