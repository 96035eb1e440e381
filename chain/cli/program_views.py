"""`assent program list` and `show`: which pages are programs, and what the ledger derived of them."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from chain.cli.governing import NotThere, outside_note, votes_words
from chain.client.calls import as_client
from chain.client.client import Client
from chain.client.console import (
    json_option,
    print_folded,
    print_json,
    print_lines,
    print_table,
    print_text,
    reports_errors,
)
from chain.client.options import Session, session_options
from chain.client.trust import trust_line, word_line
from chain.primitives.jsonvalue import to_json
from contracts.pages.facts import SINGLE_USE
from contracts.pages.page import page_hash
from contracts.pages.parameters import said_value

_CONSTRAINT = {use: constraint for constraint, use in SINGLE_USE.items()}
"""Use of a column among a page's facts -> the constraint of a grant that it needs."""
UNREGISTERED = (
    "a job runs only where datasets declare what noise and groups need (low, high, categories, edges), which "
    "no vote can know: assent program check ID --as ORGDIR --input NAME=OWNER/DATASET"
)


async def readiness(client: Client, seq: int) -> dict[str, Any]:
    """Return who approved a proposal and who is missing, as the node says."""
    found: Any = await client.view("programs", "readiness", {"seq": seq})
    return dict(found)


async def retiring(client: Client, ident: str) -> dict[str, Any]:
    """Return who votes to retire a program, as the node says."""
    found: Any = await client.view("programs", "retiring", {"id": ident})
    return dict(found)


async def proposal_of(client: Client, seq: int) -> dict[str, Any]:
    """Return an open proposal, proved when the genesis is known."""
    found: Any = await client.state("programs", "proposals", seq)
    if found is None:
        raise NotThere(
            f"no open proposal {seq}; see: assent program list, or, of one that was decided, withdrawn or "
            f"has expired: assent audit trail program:ID{await outside_note(client)}"
        )
    return dict(found)


async def program_of(client: Client, ident: str) -> dict[str, Any]:
    """Return a program, proved when the genesis is known."""
    found: Any = await client.state("programs", "programs", ident)
    if found is None:
        raise NotThere(f"no program {ident!r}; see: assent program list{await outside_note(client)}")
    return dict(found)


async def facts_of(client: Client, page: bytes) -> dict[str, Any]:
    """Return what the ledger derived of a page, proved when the genesis is known."""
    found: Any = await client.state("programs", "facts", page)
    if found is None:
        raise NotThere(f"page {page.hex()}: the ledger holds it no longer; see: assent program list")
    return dict(found)


async def _text_of(client: Client, page: bytes) -> str:
    found: Any = await client.state("programs", "pages", page)
    if not isinstance(found, str) or page_hash(found) != page:
        raise NotThere(f"page {page.hex()}: the ledger holds no text of this hash; see: assent program list")
    return found


def next_words(seq: int, ready: dict[str, Any]) -> str:
    """Say what an open proposal waits for."""
    if ready["due"]:
        return f"it has its votes; next: assent program commit {seq}"
    if ready["passed"]:
        return "it has its votes, and cannot be committed: it expired, or its id is a program by now"
    return (
        f"next: members read it with: assent program show {seq} --page, approve it with: assent program "
        + (f"approve {seq}")
    )


def print_leakage(facts: dict[str, Any]) -> None:
    """Print the leakage statement, a line for each of its own lines alone."""
    for line in str(facts["leakage"]).split("\n"):
        print_folded(f"  {line}", under=6)


@click.command("list")
@json_option
@reports_errors
@session_options
def list_programs(session: Session, as_json: bool) -> None:
    """List the programs and the open proposals."""

    async def work(client: Client) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
        found: list[Any] = [value async for _, value in client.entries("programs", "programs")]
        asked: list[Any] = [value async for _, value in client.entries("programs", "proposals")]
        ready = await asyncio.gather(*[readiness(client, item["seq"]) for item in asked])
        shown = [dict(item) | {"readiness": state} for item, state in zip(asked, ready, strict=True)]
        return [dict(item) for item in found], shown, await word_line(client, "assent program show ID")

    found, asked, word = as_client(session, work)
    if as_json:
        print_json(
            {"programs": [to_json(one) for one in found], "proposals": [to_json(one) for one in asked]}
        )
        return
    rows = [
        [
            one["id"],
            one["status"],
            one["height"],
            ", ".join(one["approved_by"]) or "genesis",
            one["page"].hex(),
        ]
        for one in found
    ]
    print_table("programs", ["id", "status", "#since height", "approved by", "page"], rows)
    if asked:
        waiting = [[one["seq"], one["id"], one["by"], votes_words(one["readiness"])] for one in asked]
        print_table("open proposals", ["#no.", "id", "by", "votes"], waiting)
    print_folded(word)


@click.command("show")
@click.argument("which", metavar="ID|NUMBER")
@click.option("--page", "with_page", is_flag=True, help="Print the page itself, and nothing else.")
@json_option
@reports_errors
@session_options
def show(session: Session, which: str, with_page: bool, as_json: bool) -> None:
    """Show program ID, or open proposal NUMBER: what it uses, what leaves to whom, what it costs."""

    async def work(client: Client) -> tuple[dict[str, Any], dict[str, Any], str, str]:
        if which.isascii() and which.isdigit() and len(which) < 19:
            found = await proposal_of(client, int(which))
            more = votes_words(await readiness(client, int(which)))
        else:
            found = await program_of(client, which)
            more = str(found["status"])
            votes = await retiring(client, which)
            if votes["counted"]:
                more += f", {len(votes['counted'])} of {votes['needed']} votes to retire it"
        facts, text = await asyncio.gather(facts_of(client, found["page"]), _text_of(client, found["page"]))
        return found | {"stands": more, "trust": trust_line(client)}, facts, text, more

    found, facts, text, more = as_client(session, work)
    if as_json:
        shown = {name: value for name, value in found.items() if name != "trust"}
        print_json(to_json(shown) | {"facts": to_json(facts), "source": text, "rests_on": found["trust"]})
    elif with_page:
        print_lines(text, newline=not text.endswith("\n"))
    else:
        _print(found, facts, more)


def _print(found: dict[str, Any], facts: dict[str, Any], more: str) -> None:
    print_folded(f"{found['id']}: {more}; by {found['by']}", under=6)
    print_text(f"page {found['page'].hex()}")
    print_folded(f"says: {' '.join(str(facts['says']).split())}", under=6)
    for name, value in facts["parameters"].items():
        print_folded(f"parameter {name}: {said_value(value)}, unless a job says otherwise", under=6)
    print_text("with its defaults, for any datasets:")
    needed = [
        [f"{dataset}.{column}", _CONSTRAINT.get(use, use)]
        for dataset, uses in facts["uses"].items()
        for column, use in uses.items()
    ]
    print_table("grants needed", ["column", "constraint"], needed)
    print_leakage(facts)
    print_folded(UNREGISTERED)
    for profile, cost in facts["cost"].items():
        print_folded(f"cost under {profile}: {cost['rounds']} rounds; {cost['sent']} bytes sent", under=6)
    if found.get("status") == "active":
        print_folded(f"which of these are held: assent program check {found['id']} --as ORGDIR")
    print_text(str(found["trust"]))
