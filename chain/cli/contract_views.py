"""`assent contract list`, `show`, `ready` and `verify`: what runs, since when, approved by whom, with proofs.

Everything but the open proposals of `list` is read with state proofs at one height. The contract `lifecycle`
keeps a numbered list of names and, for each, every version that began; so what ran at any height follows from
the newest state, and no name can be left out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chain.cli.contract_libraries import sources_of
from chain.cli.governing import NotThere, next_step, votes_words
from chain.cli.proofs import check_proofs, write_proofs
from chain.client.answers import RpcError
from chain.client.calls import as_client
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.trust import trust_line, word_line
from chain.ledger.genesis import load_genesis
from chain.primitives.contractrecords import versions_of
from chain.primitives.jsonvalue import to_json
from chain.primitives.visible import json_text

VALUE_CHARS = 160
UNKNOWN = "unknown: the state of this height is not held here"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What ran under a name at a height."""

    height: int
    version: dict[str, Any]
    """The entry of `lifecycle.history`."""
    record: dict[str, Any] | None
    """The entry of `lifecycle.active` as it read at that height; None when that state is not held."""

    @property
    def name(self) -> str:
        """The contract's name."""
        return str(self.version["name"])

    @property
    def status(self) -> str:
        """What the contract was: active, frozen or revoked."""
        if self.version["active_at"] > self.height:
            return "not yet active"
        if self.record is None:
            return UNKNOWN
        until = self.record["frozen_until"]
        if until:
            return f"frozen until height {until}" if self.height <= until else "active; a freeze lapsed"
        return str(self.record["status"])

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        shown = dict(self.version)
        if self.record is not None:
            shown |= {
                name: self.record[name] for name in ("status", "frozen_until", "system", "access", "next")
            }
        return {name: to_json(value) for name, value in shown.items()}


async def readiness(client: Client, name: str, seq: int) -> dict[str, Any]:
    """Return who approved a proposal, who is missing and when it can be committed, as the node says."""
    found: Any = await client.view("lifecycle", "readiness", {"name": name, "seq": seq})
    return dict(found)


async def deployed_at(client: Client, name: str, height: int, head: int) -> Deployed | None:
    """Return what ran under a name at a height, proved from the state of `head`; None when nothing did.

    Of the height above `head` it tells what will run there, or later if nothing does yet.
    """
    seq = await _seq_at(client, name, height, head)
    if seq is None:
        return None
    version: Any = await client.state("lifecycle", "history", f"{name}/{seq}", height=head)
    try:
        record: Any = await client.state("lifecycle", "active", name, height=min(height, head))
    except RpcError as error:
        if error.reason not in ("unknown_height", "not_held"):
            raise
        return Deployed(height, version, None)
    return Deployed(height, version, None if record is None else versions_of(record).at(height))


async def _seq_at(client: Client, name: str, height: int, head: int) -> int | None:
    """Find the last version that began up to a height; above `head`, without one, the first to come."""
    numbers: Any = await client.state("lifecycle", "numbers", name, height=head)
    count = 0 if numbers is None else numbers["versions"]

    async def begun(number: int) -> tuple[int, int]:
        found: Any = await client.state("lifecycle", "versions", f"{name}/{number}", height=head)
        return found[0], found[1]

    low, high = 0, count  # versions below `low` began up to the height, those from `high` on after it
    seq = None
    while low < high:
        middle = (low + high) // 2 if height < head else high - 1
        candidate, first = await begun(middle)
        if first <= height:
            low, seq = middle + 1, candidate
        else:
            high = middle
    if seq is None and height > head and count:
        seq, _ = await begun(0)
    return seq


async def names_of(client: Client, head: int) -> list[str]:
    """Return the names of all contracts that ever were, in order of deployment, proved complete."""
    count: Any = await client.variable("lifecycle", "name_count", height=head)
    found = await asyncio.gather(
        *[client.state("lifecycle", "names", number, height=head) for number in range(count or 0)]
    )
    return [str(name) for name in found]


@click.command("list")
@click.option(
    "--at",
    "at",
    type=click.IntRange(0),
    metavar="HEIGHT",
    help="What ran at HEIGHT (default: what the next block runs).",
)
@click.option("--proof", type=click.Path(path_type=Path), help="Write the proofs to this file.")
@json_option
@reports_errors
@session_options
def list_contracts(session: Session, at: int | None, proof: Path | None, as_json: bool) -> None:
    """List the contracts that run, or ran at a height, and the open proposals."""

    async def work(client: Client) -> tuple[int, list[Deployed], list[dict[str, Any]], str, str]:
        client.kept = []
        head = await client.head()
        height = _height(at, head)
        names = await names_of(client, head)
        found = await asyncio.gather(*[deployed_at(client, name, height, head) for name in names])
        if proof is not None:
            await write_proofs(proof, client)
        proposals = await _open_proposals(client) if at is None else []
        word = await word_line(client) if at is None else ""
        deployed = [item for item in found if item is not None]
        return height, deployed, proposals, trust_line(client, head), word

    height, found, proposals, trust, word = as_client(session, work)
    if as_json:
        shown = {"height": height, "contracts": [item.as_json() for item in found]}
        shown |= {"proposals": [to_json(item) for item in proposals]}
        print_json(shown | {"rests_on": {"contracts": trust, "proposals": word}})
        return
    rows = [
        [c.name, c.version["seq"], c.status, c.version["active_at"], _approved(c.version),
         "restricted" if c.record and c.record["access"] else "all"]
        for c in found
    ]  # fmt: skip
    columns = ["name", "#version", "status", "#since height", "approved by", "open to"]
    title = f"contracts at height {height}" if at is not None else f"contracts of the next block, {height}"
    print_table(title, columns, rows)
    print_text(trust)
    if proposals:
        shown_rows = [[p["name"], p["seq"], p["by"], votes_words(p["readiness"])] for p in proposals]
        print_table("open proposals", ["name", "#no.", "by", "votes"], shown_rows)
    if word:
        print_text(f"open proposals{'' if proposals else ': none'}: {word}")


def _height(at: int | None, head: int) -> int:
    if at is not None and at > head:
        raise NotThere(f"--at {at}: the newest certified height is {head}; ask for that or a lower one")
    return head + 1 if at is None else at


def _approved(version: dict[str, Any]) -> str:
    return ", ".join(version["approved_by"]) or "genesis"


async def _open_proposals(client: Client) -> list[dict[str, Any]]:
    found: list[Any] = [value async for _, value in client.entries("lifecycle", "proposals")]
    waiting = [dict(item) for item in found if item["status"] == "open"]
    ready = await asyncio.gather(*[readiness(client, item["name"], item["seq"]) for item in waiting])
    shown = [item | {"readiness": state} for item, state in zip(waiting, ready, strict=True)]
    return [item for item in shown if item["readiness"]["status"] == "open"]


@click.command("show")
@click.argument("name")
@click.option(
    "--at",
    "at",
    type=click.IntRange(0),
    metavar="HEIGHT",
    help="What ran at HEIGHT (default: what the next block runs).",
)
@click.option("--source", "with_source", is_flag=True, help="Print the source that runs.")
@click.option("--proof", type=click.Path(path_type=Path), help="Write the proofs to this file.")
@json_option
@reports_errors
@session_options
def show(
    session: Session, name: str, at: int | None, with_source: bool, proof: Path | None, as_json: bool
) -> None:
    """Show what runs under NAME, since when, approved by whom and open to whom."""

    async def work(client: Client) -> tuple[Deployed, Any, dict[str, str], str]:
        client.kept = []
        head = await client.head()
        found = await deployed_at(client, name, _height(at, head), head)
        if found is None:
            raise NotThere(
                f"no contract {name!r} runs at height {_height(at, head)}; see: assent contract list"
            )
        source, more = None, dict[str, str]()
        if with_source:
            key = found.version["source_hash"]
            source = await client.state("lifecycle", "sources", key, height=head)
            more = await sources_of(client, found.version["libraries"], head)
        if proof is not None:
            await write_proofs(proof, client)
        return found, source, more, trust_line(client, head)

    found, source, more, trust = as_client(session, work)
    if as_json:
        print_json(found.as_json() | {"source": source, "library_sources": more})
        return
    print_table(f"contract {name}", ["field", "value"], _rows(found))
    print_text(trust)
    if proof is not None:
        print_text(
            f"proofs in {proof}; check them anywhere with: assent contract verify {proof} --genesis FILE"
        )
    if source is not None:
        print_lines(source)
    for alias, text in more.items():
        print_text(f"# library {alias} {found.version['libraries'][alias].hex()}")
        print_lines(text)


def _rows(found: Deployed) -> list[list[Any]]:
    version = found.version
    rows: list[list[Any]] = [
        ["version", version["seq"]],
        ["status", found.status],
        ["since height", version["active_at"]],
        ["proposed by", version["by"]],
        ["approved by", _approved(version)],
        ["committed at height", version["committed_at"]],
        ["source hash", version["source_hash"].hex()],
        ["IR hash", version["ir_hash"].hex()],
        ["engine", version["engine"]],
        *[[f"library {name}", digest.hex()] for name, digest in version["libraries"].items()],
    ]
    if found.record is None:
        return rows
    for method, lists in found.record["access"].items():
        who = [*lists["orgs"], *[f"role:{role}" for role in lists["roles"]]]
        rows.append([f"{method} open to", ", ".join(who)])
    if not found.record["access"]:
        rows.append(["methods open to", "every member"])
    following = found.record["next"]
    if following:
        rows.append(["next version", f"{following['seq']}, from height {following['active_at']}"])
    return rows


@click.command("ready")
@click.argument("name")
@click.argument("seq", type=click.IntRange(1))
@json_option
@reports_errors
@session_options
def ready(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Say who approved proposal SEQ of NAME, who is missing, and when it can be committed."""

    async def work(client: Client) -> tuple[dict[str, Any], str]:
        return await _ready(client, name, seq), await word_line(client)

    found, word = as_client(session, work)
    if as_json:
        print_json(to_json(found) | {"rests_on": word})
        return
    print_text(f"{name} {seq}: {found['status']}, {votes_words(found)}")
    if found["status"] == "open":
        approve, commit = (f"assent contract {verb} {name} {seq}" for verb in ("approve", "commit"))
        print_text(next_step(found, approve, commit))
    print_text(word)


async def _ready(client: Client, name: str, seq: int) -> dict[str, Any]:
    if await client.state("lifecycle", "proposals", f"{name}/{seq}") is None:
        raise NotThere(f"no proposal {seq} of contract {name!r}; see: assent contract list")
    return await readiness(client, name, seq)


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--genesis", type=click.Path(path_type=Path), required=True, help="The chain's genesis file.")
@json_option
@reports_errors
def verify(file: Path, genesis: Path, as_json: bool) -> None:
    """Check the proofs that list or show wrote to FILE, without a node, and print what they prove."""
    proved = check_proofs(file, load_genesis(genesis))
    if as_json:
        print_json(proved)
        return
    for item in proved:
        value = json_text(item["value"])
        print_text(f"height {item['height']}  {item['entry']} = {value[:VALUE_CHARS]}")
    print_text(f"{file}: all {len(proved)} proofs hold")
