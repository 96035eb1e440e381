"""`assent dataset drafts` and `withdraw-draft`: schemas that were begun on the ledger and never sealed."""

from __future__ import annotations

from typing import Any

import click

from chain.client.calls import as_account
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.client.signing import SigningClient
from chain.primitives.jsonvalue import to_json
from privcompute.cli.common import UsageFault, show_time
from privcompute.cli.declarations import withdraw

SEE_DRAFTS = "see: assent dataset drafts"
DIGITS_MIN = 4


@click.command("drafts")
@json_option
@reports_errors
@session_options
def drafts(session: Session, as_json: bool) -> None:
    """List schemas that are not complete; once their time is over, anyone may withdraw them."""
    found = run(_drafts(session))
    if as_json:
        print_json([to_json(draft) for draft in found])
        return
    rows = [
        [d["owner"], d["schema"].hex()[:16], d["status"], d["columns"], show_time(d["until"])[:16]]
        for d in found
    ]
    print_table("drafts", ["owner", "schema", "status", "#columns", "until (UTC)"], rows)


async def _drafts(session: Session) -> list[Any]:
    async with session.client() as client:
        listed = [value async for _, value in client.entries("datasets", "schemas")]
        return [draft for draft in listed if draft["status"] != "sealed"]


@click.command("withdraw-draft")
@click.argument("schema", metavar="SCHEMA")
@json_option
@reports_errors
@session_options
def withdraw_draft(session: Session, schema: str, as_json: bool) -> None:
    """Withdraw the incomplete SCHEMA (its first hex digits), one's own or one whose time is over."""
    prefix = schema.removesuffix("…").lower()
    found = [draft for draft in run(_drafts(session)) if draft["schema"].hex().startswith(prefix)]
    if len(prefix) < DIGITS_MIN or len(found) != 1:
        raise UsageFault(
            f"schema {schema[:80]!r}: {len(found)} drafts begin so; give at least {DIGITS_MIN} hex digits of "
            f"one; {SEE_DRAFTS}"
        )
    owner, seal = found[0]["owner"], bytes(found[0]["schema"])

    async def work(account: SigningClient) -> None:
        await withdraw(account, owner, seal)

    as_account(session, work)
    if as_json:
        print_json({"owner": owner, "schema": seal.hex(), "withdrawn": True})
    else:
        print_text(f"withdrew schema {seal.hex()[:16]}… of {owner}, with all its columns")
