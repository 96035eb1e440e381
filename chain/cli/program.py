"""`assent program`: pages that members approve as programs, from the first draft to their retirement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.api.render import receipt_json
from chain.cli import program_views as views
from chain.cli.contract_files import ContractFileError, read_text
from chain.cli.governing import COMMIT_GAS, say, votes_words
from chain.cli.proposal import reason_option, seq_argument
from chain.client.calls import as_account, call, result_of, send
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.ledger.block import Receipt
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from contracts.language.faults import OutOfGas
from contracts.pages.faults import PageRefused
from contracts.pages.limits import DEFAULT_PAGE_GAS
from privcompute.cli.program_commands import COMMANDS, derivation_gas

GAS_SPARE = 2_000_000
"""What a proposal takes besides deriving what follows of its page, at most."""
id_argument = click.argument("program_id", metavar="ID")


@click.group()
def program() -> None:
    """Programs: pages of Python that members approve, and what the ledger derives of them."""


for command in (*COMMANDS, views.list_programs, views.show):
    program.add_command(command)


@program.command("propose")
@id_argument
@click.argument("file", type=click.Path(path_type=Path))
@reason_option
@json_option
@reports_errors
@session_options
def propose(session: Session, program_id: str, file: Path, reason: str, as_json: bool) -> None:
    """Propose the page in FILE as program ID; the members then approve it."""
    source = read_text(file, "page")
    content: dict[str, Value] = {"id": program_id, "source": source, "reason": reason}
    traced = _checked(source, file)

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any], dict[str, Any]]:
        gas = await _gas_limit(account.client, traced, file)
        receipt = await call(account, "programs", "propose", content, gas)
        seq = int(str(result_of(receipt)))
        found = await views.proposal_of(account.client, seq)
        facts = await views.facts_of(account.client, found["page"])
        return receipt, facts, await views.readiness(account.client, seq)

    receipt, facts, ready = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt) | {"readiness": to_json(ready), "facts": to_json(facts)})
        return
    seq = int(str(result_of(receipt)))
    print_text(f"proposed {program_id} as number {seq} at height {receipt.height}: {votes_words(ready)}")
    views.print_leakage(facts)
    print_text(views.next_words(seq, ready))


def _checked(source: str, file: Path) -> int:
    """Return the gas that deriving a page takes; raise ContractFileError with all that refuses it."""
    try:
        return derivation_gas(source, str(file))
    except PageRefused as refused:
        raise ContractFileError(f"{file} is not a page, and was not sent:\n{refused}") from None
    except OutOfGas:
        raise ContractFileError(
            f"{file} was not sent: tracing it takes more than {DEFAULT_PAGE_GAS:,} units of gas; use "
            "repeat(n), or less"
        ) from None


async def _gas_limit(client: Client, derived: int, file: Path) -> int:
    """Return the gas limit of a proposal; raise ContractFileError where no transaction may have as much."""
    limits: Any = await client.variable("governance", "limits")
    most = int(limits["tx_gas_max"])
    if derived >= most:
        raise ContractFileError(
            f"{file} was not sent: deriving what follows of it takes {derived:,} units of gas, and a "
            f"transaction may take {most:,} (tx_gas_max, assent params show); release less in one page, or "
            "let members raise it: assent params propose tx_gas_max=…"
        )
    return min(most, derived + GAS_SPARE)


@program.command("approve")
@seq_argument
@json_option
@reports_errors
@session_options
def approve(session: Session, seq: int, as_json: bool) -> None:
    """Vote for proposal SEQ; the vote names the hash of its page and of the plan that follows."""

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any], dict[str, Any]]:
        found = await views.proposal_of(account.client, seq)
        receipt = await call(account, "programs", "approve", {"seq": seq, "hash": found["hash"]})
        return receipt, found, await views.readiness(account.client, seq)

    receipt, found, ready = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt) | {"readiness": to_json(ready)})
        return
    page = found["page"].hex()[:16]
    print_text(f"approved {found['id']} as proposal {seq} (page {page}…): {votes_words(ready)}")
    print_text(views.next_words(seq, ready))


@program.command("commit")
@seq_argument
@json_option
@reports_errors
@session_options
def commit(session: Session, seq: int, as_json: bool) -> None:
    """Make the approved proposal SEQ a program, which jobs may name."""
    receipt = send(session, "programs", "commit", {"seq": seq}, COMMIT_GAS)
    say(receipt, as_json, f"proposal {seq} is a program from height {receipt.height} on: assent program list")


@program.command("withdraw")
@seq_argument
@json_option
@reports_errors
@session_options
def withdraw(session: Session, seq: int, as_json: bool) -> None:
    """Take back one's own proposal SEQ."""
    receipt = send(session, "programs", "withdraw", {"seq": seq})
    say(receipt, as_json, f"proposal {seq} is withdrawn")


@program.command("retract")
@seq_argument
@json_option
@reports_errors
@session_options
def retract(session: Session, seq: int, as_json: bool) -> None:
    """Take back one's own vote for proposal SEQ, while it is open."""
    receipt = send(session, "programs", "retract", {"seq": seq})
    say(receipt, as_json, f"the vote for proposal {seq} is taken back")


@program.command("retire")
@id_argument
@click.option("--reason", required=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def retire(session: Session, program_id: str, reason: str, as_json: bool) -> None:
    """Vote to end program ID for good: at a majority its jobs take no further step."""
    _about(session, "retire", {"id": program_id, "reason": reason}, "voted to retire", as_json)


@program.command("retract-retirement")
@id_argument
@json_option
@reports_errors
@session_options
def retract_retirement(session: Session, program_id: str, as_json: bool) -> None:
    """Take back one's own vote to retire program ID."""
    _about(session, "retract_retirement", {"id": program_id}, "took back the vote to retire", as_json)


def _about(session: Session, method: str, args: dict[str, Value], said: str, as_json: bool) -> None:
    """Vote about a program, and say what it is now."""
    ident = str(args["id"])

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any], dict[str, Any]]:
        receipt = await call(account, "programs", method, args)
        found = await views.program_of(account.client, ident)
        return receipt, found, await views.retiring(account.client, ident)

    receipt, found, votes = as_account(session, work)
    line = f"{said} {ident} at height {receipt.height}; it is {found['status']}"
    if found["status"] == "active":
        line += f", {len(votes['counted'])} of {votes['needed']} votes to retire it"
    say(receipt, as_json, line)
