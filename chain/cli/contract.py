"""Governance of contracts from the command line; `new`, `check` and `run` come from the language itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.api.render import receipt_json
from chain.cli import contract_libraries as libraries
from chain.cli import contract_views
from chain.cli.contract_files import gas_of, read_text, require_sound
from chain.cli.contract_libraries import Named
from chain.cli.contract_views import Deployed, deployed_at
from chain.cli.governing import COMMIT_GAS, NotThere, next_step, outside_note, say, votes_words
from chain.cli.ledger import parse_args
from chain.cli.proposal import not_before_option, reason_option
from chain.cli.proposal import propose as propose_decision
from chain.client.calls import as_account, as_client, call, result_of, send
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.ledger.block import Receipt
from chain.primitives.errors import ConfigError
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from contracts.check import check_source, libraries_of
from contracts.cli import contract

for view in (contract_views.list_contracts, contract_views.show, contract_views.ready, contract_views.verify):
    contract.add_command(view)
for command in (libraries.publish, libraries.withdraw_library, libraries.list_libraries):
    contract.add_command(command)

name_argument = click.argument("name")
seq_argument = click.argument("seq", type=click.IntRange(1))
allow_option = click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="METHOD=WHO,…",
    help="Who alone may call METHOD: organisations, and key roles as role:admin. May be repeated.",
)


@contract.command("propose")
@name_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--init", "init_text", default="{}", help="Arguments of @init (or @migrate) as a JSON object.")
@click.option("--active-at", type=click.IntRange(0), metavar="HEIGHT", help="Height from which it runs.")
@allow_option
@click.option("--open", "opened", is_flag=True, help="An upgrade lifts the access lists in force.")
@json_option
@reports_errors
@session_options
def propose(
    session: Session,
    name: str,
    file: Path,
    init_text: str,
    active_at: int | None,
    allowed: tuple[str, ...],
    opened: bool,
    as_json: bool,
) -> None:
    """Propose the contract in FILE under NAME; the members then approve it.

    An upgrade keeps the access lists in force unless --allow or --open says otherwise.
    """
    source, named = _read(session, file)
    terms: dict[str, Any] = {} if active_at is None else {"active_at": active_at}
    if allowed or opened:
        terms["access"] = _access(allowed)
    content: dict[str, Value] = {
        "name": name,
        "source": source,
        "arguments": parse_args(init_text),
        "terms": terms,
    }
    gas = gas_of(source, *[library.source for library in named])

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any]]:
        receipt = await call(account, "lifecycle", "propose", content, gas)
        return receipt, await contract_views.readiness(account.client, name, int(str(result_of(receipt))))

    receipt, ready = as_account(session, work)
    if as_json:
        hashes = {library.name: library.source_hash.hex() for library in named}
        print_json(receipt_json(receipt) | {"readiness": to_json(ready), "libraries": hashes})
        return
    seq = int(str(result_of(receipt)))
    print_text(f"proposed {name} as number {seq} at height {receipt.height}: {votes_words(ready)}")
    for library in named:
        print_text(str(library))
    print_text(_next(name, seq, ready))


def _read(session: Session, file: Path) -> tuple[str, list[Named]]:
    """Return the source of a contract that deployment would take, and the libraries that it names."""
    source = read_text(file)
    wanted = libraries_of(source)
    named = as_client(session, lambda client: libraries.fetch(client, wanted)) if wanted else []
    require_sound(check_source(source, str(file), [library.source for library in named]), file, "contract")
    return source, named


def _access(allowed: tuple[str, ...]) -> dict[str, Value]:
    """Read `METHOD=bank,bureau,role:admin` options as the access lists that lifecycle takes."""
    lists: dict[str, Value] = {}
    for text in allowed:
        method, _, who = text.partition("=")
        names = [part.strip() for part in who.split(",") if part.strip()]
        if not method or not names or method in lists:
            raise ConfigError(
                f"--allow {text!r}: expected METHOD=WHO,… once a method, such as grant=bank,bureau,role:admin"
            )
        roles = [part.removeprefix("role:") for part in names if part.startswith("role:")]
        lists[method] = {"orgs": [part for part in names if not part.startswith("role:")], "roles": roles}
    return lists


def _next(name: str, seq: int, ready: dict[str, Any]) -> str:
    return next_step(ready, f"assent contract approve {name} {seq}", f"assent contract commit {name} {seq}")


async def _proposal(client: Client, name: str, seq: int) -> dict[str, Any]:
    found: Any = await client.state("lifecycle", "proposals", f"{name}/{seq}")
    if found is None:
        raise NotThere(
            f"no open or committed proposal {seq} of contract {name!r}; see: assent contract list, or, of "
            f"one that was withdrawn or has expired: assent audit trail contract:{name}"
            f"{await outside_note(client)}"
        )
    return dict(found)


@contract.command("approve")
@name_argument
@seq_argument
@json_option
@reports_errors
@session_options
def approve(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Vote for proposal SEQ of NAME; the vote names the hash of all that it says."""

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, Any], dict[str, Any]]:
        found = await _proposal(account.client, name, seq)
        args: dict[str, Value] = {"name": name, "seq": seq, "hash": found["hash"]}
        receipt = await call(account, "lifecycle", "approve", args)
        return receipt, found, await contract_views.readiness(account.client, name, seq)

    receipt, found, ready = as_account(session, work)
    if as_json:
        print_json(receipt_json(receipt) | {"readiness": to_json(ready)})
        return
    source = found["source_hash"].hex()[:16]
    print_text(f"approved {name} {seq} (source {source}…): {votes_words(ready)}")
    for alias, digest in found["libraries"].items():
        print_text(f"with library {alias}: {digest.hex()}")
    print_text(_next(name, seq, ready))


@contract.command("commit")
@name_argument
@seq_argument
@json_option
@reports_errors
@session_options
def commit(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Put the approved proposal SEQ of NAME in force; runs its @init or @migrate."""
    receipt = send(session, "lifecycle", "commit", {"name": name, "seq": seq}, COMMIT_GAS)
    say(receipt, as_json, f"{name} {seq} runs from height {result_of(receipt)} on")


@contract.command("withdraw")
@name_argument
@seq_argument
@json_option
@reports_errors
@session_options
def withdraw(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Take back one's own proposal SEQ of NAME."""
    receipt = send(session, "lifecycle", "withdraw", {"name": name, "seq": seq})
    say(receipt, as_json, f"proposal {seq} of {name} is withdrawn")


@contract.command("retract")
@name_argument
@seq_argument
@json_option
@reports_errors
@session_options
def retract(session: Session, name: str, seq: int, as_json: bool) -> None:
    """Take back one's own vote for proposal SEQ of NAME, while it is open."""
    receipt = send(session, "lifecycle", "retract", {"name": name, "seq": seq})
    say(receipt, as_json, f"the vote for proposal {seq} of {name} is taken back")


@contract.command("freeze")
@name_argument
@click.option("--reason", required=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def freeze(session: Session, name: str, reason: str, as_json: bool) -> None:
    """Freeze the version of NAME that runs, for a while; by a majority, until it is lifted."""
    _vote(session, "freeze", name, {"reason": reason}, "voted to freeze", as_json)


@contract.command("unfreeze")
@name_argument
@json_option
@reports_errors
@session_options
def unfreeze(session: Session, name: str, as_json: bool) -> None:
    """Vote to lift the freeze of NAME, or lift one that has lapsed (one's own: contract retract-vote)."""
    _vote(session, "unfreeze", name, {}, "voted to lift the freeze of", as_json)


@contract.command("revoke")
@name_argument
@click.option("--reason", required=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def revoke(session: Session, name: str, reason: str, as_json: bool) -> None:
    """Vote to end NAME for good because of the version that runs; its state stays readable."""
    _vote(session, "revoke", name, {"reason": reason}, "voted to revoke", as_json)


@contract.command("retract-vote")
@name_argument
@click.argument("ballot", type=click.Choice(["freeze", "unfreeze", "revoke"]))
@json_option
@reports_errors
@session_options
def retract_vote(session: Session, name: str, ballot: str, as_json: bool) -> None:
    """Take back one's own vote to freeze, unfreeze or revoke NAME, and with it a freeze that it began."""
    said = f"took back the vote to {ballot}"
    _vote(session, "retract_vote", name, {"ballot": ballot}, said, as_json)


def _vote(session: Session, method: str, name: str, more: dict[str, Value], said: str, as_json: bool) -> None:
    """Vote about the version of a contract that the next block runs, and say what the contract is now."""

    async def work(account: SigningClient) -> tuple[Receipt, int, Deployed | None]:
        client = account.client
        head = await client.head()
        found = await deployed_at(client, name, head + 1, head)
        if found is None:
            raise NotThere(f"no contract {name!r} is in force; see: assent contract list")
        seq = int(found.version["seq"])
        receipt = await call(account, "lifecycle", method, {"name": name, "seq": seq, **more})
        now = receipt.height
        return receipt, seq, await deployed_at(client, name, now, max(now, await client.head()))

    receipt, seq, after = as_account(session, work)
    status = "unknown" if after is None else after.status
    say(receipt, as_json, f"{said} {name} {seq} at height {receipt.height}; it is now: {status}")


@contract.command("acl")
@name_argument
@allow_option
@click.option("--open", "opened", is_flag=True, help="Lift every restriction.")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def acl(
    session: Session,
    name: str,
    allowed: tuple[str, ...],
    opened: bool,
    reason: str,
    not_before: int,
    as_json: bool,
) -> None:
    """Propose who may call which method of NAME; replaces all its lists (see them with contract show)."""
    if bool(allowed) == opened:
        raise ConfigError("--allow, --open: give --allow METHOD=WHO,… once a method, or --open to lift all")
    payload: dict[str, Value] = {"contract": name, "access": _access(allowed)}
    propose_decision(session, "set_access", payload, reason, not_before, as_json)
