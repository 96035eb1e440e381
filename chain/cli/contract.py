"""Governance of contracts from the command line; `check` and `run` come from the language itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.api.client import Account
from chain.api.console import console, json_option, print_json, print_table, reports_errors
from chain.api.render import receipt_json
from chain.api.session import Session, run, session_options
from chain.cli.ledger import parse_args
from chain.ledger.block import Receipt
from chain.primitives.codec import Value, decode_value
from chain.primitives.errors import AssentError
from chain.primitives.execution import RESULT_BYTES_MAX
from chain.primitives.jsonvalue import to_json
from contracts.cli import contract

GAS_PER_SOURCE_BYTE = 60
GAS_BASE = 2_000_000
SOURCE_BYTES_MAX = 65_536


class ContractFileError(AssentError):
    """A contract file that cannot be sent: the text names it and what to do."""

    code = "contract_file"


def result_of(receipt: Receipt) -> Value:
    """Return what the called method returned."""
    return decode_value(receipt.result, max_bytes=RESULT_BYTES_MAX) if receipt.result else None


def _send(session: Session, method: str, args: dict[str, Value], gas: int, as_json: bool, said: str) -> None:
    async def work() -> Receipt:
        async with session.account() as account:
            return await account.send("lifecycle", method, args, gas_limit=gas)

    receipt = run(work())
    if as_json:
        print_json(receipt_json(receipt))
    else:
        console.print(said.format(result=result_of(receipt), height=receipt.height))


@contract.command("propose")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--init", "init_text", default="{}", help="Arguments of @init (or @migrate) as a JSON object.")
@json_option
@reports_errors
@session_options
def propose(session: Session, name: str, file: Path, init_text: str, as_json: bool) -> None:
    """Propose the contract in FILE under NAME; the members then approve it."""
    try:
        raw = file.read_bytes()
        source = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractFileError(
            f"{file}: cannot be read as UTF-8 text ({error}); name a contract file"
        ) from None
    if len(raw) > SOURCE_BYTES_MAX:
        raise ContractFileError(f"{file}: {len(raw)} bytes, at most {SOURCE_BYTES_MAX}; split the contract")
    args = {"name": name, "source": source, "arguments": parse_args(init_text), "terms": {}}
    gas = GAS_BASE + GAS_PER_SOURCE_BYTE * len(raw)
    said = f"proposed {name} as number {{result}} at height {{height}}; members approve it with: "
    _send(session, "propose", args, gas, as_json, said + f"assent contract approve {name} {{result}}")


async def _proposal(account: Account, name: str, seq: int) -> dict[str, Value]:
    found: dict[str, Value] | None = await account.client.state("lifecycle", "proposals", f"{name}/{seq}")
    if found is None:
        raise ContractFileError(f"no proposal {seq} of contract {name!r}; see: assent contract list")
    return found


@contract.command("approve")
@click.argument("name")
@click.argument("seq", type=click.IntRange(1))
@json_option
@reports_errors
@session_options
def approve(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Vote for proposal SEQ of NAME; the vote names the hash of its source."""

    async def work() -> tuple[Receipt, dict[str, Value]]:
        async with session.account() as account:
            found = await _proposal(account, name, seq)
            args = {"name": name, "seq": seq, "hash": found["hash"]}
            receipt = await account.send("lifecycle", "approve", args)
            return receipt, await _proposal(account, name, seq)

    receipt, found = run(work())
    if as_json:
        print_json(receipt_json(receipt))
        return
    votes = ", ".join(found["votes"])
    console.print(f"approved {name} {seq} (source {found['source_hash'].hex()[:16]}…): votes {votes}")


@contract.command("commit")
@click.argument("name")
@click.argument("seq", type=click.IntRange(1))
@json_option
@reports_errors
@session_options
def commit(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Put the approved proposal SEQ of NAME in force; runs its @init or @migrate."""
    _send(
        session,
        "commit",
        {"name": name, "seq": seq},
        10_000_000,
        as_json,
        f"{name} {seq} is active from height {{result}}",
    )


@contract.command("freeze")
@click.argument("name")
@click.option("--reason", required=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def freeze(session: Session, name: str, reason: str, as_json: bool) -> None:
    """Vote to freeze NAME: it then answers views only."""
    _send(
        session,
        "freeze",
        {"name": name, "reason": reason},
        GAS_BASE,
        as_json,
        f"voted to freeze {name} at height {{height}}",
    )


@contract.command("unfreeze")
@click.argument("name")
@json_option
@reports_errors
@session_options
def unfreeze(session: Session, name: str, as_json: bool) -> None:
    """Vote to lift the freeze of NAME."""
    _send(
        session,
        "unfreeze",
        {"name": name},
        GAS_BASE,
        as_json,
        f"voted to unfreeze {name} at height {{height}}",
    )


@contract.command("revoke")
@click.argument("name")
@click.option("--reason", required=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def revoke(session: Session, name: str, reason: str, as_json: bool) -> None:
    """Vote to end NAME for good; its state stays readable."""
    _send(
        session,
        "revoke",
        {"name": name, "reason": reason},
        GAS_BASE,
        as_json,
        f"voted to revoke {name} at height {{height}}",
    )


@contract.command("list")
@json_option
@reports_errors
@session_options
def list_contracts(session: Session, as_json: bool) -> None:
    """List the contracts in force and the open proposals."""

    async def work() -> tuple[list[Any], list[Any]]:
        async with session.client() as client:
            active = [value async for _, value in client.entries("lifecycle", "active")]
            proposals = [value async for _, value in client.entries("lifecycle", "proposals")]
        return active, [item for item in proposals if item["status"] == "open"]

    active, proposals = run(work())
    if as_json:
        print_json({"active": [to_json(c) for c in active], "proposals": [to_json(p) for p in proposals]})
        return
    rows = [
        [
            c["name"],
            c["seq"],
            c["status"],
            c["active_at"],
            "system" if c["system"] else "member",
            c["source_hash"].hex()[:16],
        ]
        for c in active
    ]
    print_table("contracts", ["name", "#seq", "status", "#since height", "kind", "source"], rows)
    if proposals:
        shown = [[p["name"], p["seq"], p["by"], ", ".join(p["votes"])] for p in proposals]
        print_table("open proposals", ["name", "#seq", "by", "votes"], shown)


@contract.command("show")
@click.argument("name")
@click.option("--source", "with_source", is_flag=True, help="Print the source in force.")
@json_option
@reports_errors
@session_options
def show(session: Session, name: str, with_source: bool, as_json: bool) -> None:
    """Show what runs under NAME, since when and approved by whom; proved against the genesis if known."""

    async def work() -> tuple[Any, Any, Any]:
        async with session.client() as client:
            active = await client.state("lifecycle", "active", name)
            if active is None:
                raise ContractFileError(f"no contract {name!r} is in force; see: assent contract list")
            proposal = await client.state("lifecycle", "proposals", f"{name}/{active['seq']}")
            source = (
                await client.state("lifecycle", "sources", active["source_hash"]) if with_source else None
            )
            return active, proposal, source

    active, proposal, source = run(work())
    if as_json:
        print_json({"active": to_json(active), "proposal": to_json(proposal), "source": source})
        return
    rows = [[key, value.hex() if isinstance(value, bytes) else value] for key, value in active.items()]
    rows.append(["approved by", ", ".join(proposal["votes"]) if proposal else "genesis"])
    print_table(f"contract {name}", ["field", "value"], rows)
    if source is not None:
        click.echo(source)
