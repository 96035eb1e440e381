"""Commands that read and write the ledger through a node: tx, block, call."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from chain.api.render import header_json, receipt_json
from chain.audit.text import utc
from chain.cli.governing import NotThere
from chain.client.answers import RpcError
from chain.client.calls import remedy, unless_noted
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_table, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.client.signing import OutcomeUnknown
from chain.client.trust import word_line
from chain.ledger.block import Header, Receipt, header_hash
from chain.primitives import merkle
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.runtimeport import Outcome, TraceFrame
from chain.primitives.visible import json_text, one_line
from chain.primitives.words import counted
from contracts import tracebacks
from contracts.tracebacks import Source


def parse_args(text: str) -> dict[str, Any]:
    """Read the JSON object of a call's arguments; raise DecodeError naming the fault."""
    try:
        value = from_json(json.loads(text))
    except ValueError as error:
        raise DecodeError(f'--args: not JSON ({error}); give an object like \'{{"id": "credit"}}\'') from None
    if not isinstance(value, dict):
        raise DecodeError("--args: expected a JSON object of argument names and values")
    return value


def show_receipt(receipt: Receipt, as_json: bool) -> None:
    """Print a receipt."""
    shown = receipt_json(receipt)
    if as_json:
        print_json(shown)
        return
    print_text(
        f"{shown['id']}  height {shown['height']}  {shown['status']} {shown['code']}  gas {shown['gasUsed']}"
    )
    if shown["result"] is not None:
        print_text(f"  result: {json_text(shown['result'])}")
    for event in shown["events"]:
        fields = json_text(event["fields"])
        mark = f" (FOREIGN to {', '.join(event['foreign'])})" if event["foreign"] else ""
        print_text(f"  event {event['contract']}.{event['name']}{mark} {fields}")


@click.group()
def tx() -> None:
    """Send transactions and look at them."""


@tx.command("send")
@click.argument("contract")
@click.argument("method")
@click.option(
    "--args", "args_text", default="{}", help='Arguments as a JSON object; bytes as {"$bytes": hex}.'
)
@click.option("--gas", type=click.IntRange(1, 10_000_000), default=1_000_000, show_default=True)
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds to wait."
)
@json_option
@reports_errors
@session_options
def tx_send(
    session: Session, contract: str, method: str, args_text: str, gas: int, timeout: float, as_json: bool
) -> None:
    """Call METHOD of CONTRACT in a transaction and wait for its certified receipt."""

    async def work() -> Receipt:
        async with session.account() as account:
            receipt = await account.send(
                contract, method, parse_args(args_text), gas_limit=gas, timeout_s=timeout
            )
            return await unless_noted(account, receipt)

    show_receipt(run(work()), as_json)


@tx.command("get")
@click.argument("tx_id")
@json_option
@reports_errors
@session_options
def tx_get(session: Session, tx_id: str, as_json: bool) -> None:
    """Show a transaction: what it asked for and where it stands."""

    async def work() -> Any:
        async with session.client() as client:
            return await client.request("getTransaction", id=tx_id)

    found = run(work())
    if found is None:
        raise NotThere(f"{tx_id}: unknown to this node; it may be on its way, or was never sent")
    if as_json:
        print_json(found)
    else:
        where = "in no block yet" if found["height"] is None else f"height {found['height']}"
        print_text(f"{found['id']}  {found['status']}  {where}")
        print_text(f"  {found['contract']}.{found['method']} {json_text(found['args'])}")
        print_text(f"  by {found['sender']} valid until height {found['validUntil']}")


@tx.command("explain")
@click.argument("tx_id")
@json_option
@reports_errors
@session_options
def tx_explain(session: Session, tx_id: str, as_json: bool) -> None:
    """Run a transaction again on the state that it met, and say where it failed and why; nothing is kept."""

    async def work() -> tuple[Any, dict[TraceFrame, Source | None]]:
        async with session.client() as client:
            found = await client.request("explainTransaction", id=tx_id)
            height = found["height"] - 1
            return found, {frame: await _source_of(client, frame, height) for frame in trace_of(found)}

    found, sources = run(work())
    if as_json:
        print_json(found)
        return
    outcome = Outcome(
        one_line(found["status"]),
        one_line(found["code"]),
        gas_used=found["gasUsed"],
        trace=trace_of(found),
        why=one_line(found["why"]),
    )
    asked = tracebacks.call_text(found["contract"], found["method"], found["args"])
    what = one_line(f"{tx_id} at height {found['height']}, {asked} by {found['sender']}")
    print_lines(tracebacks.render(outcome, what, sources.get))


def trace_of(found: dict[str, Any]) -> tuple[TraceFrame, ...]:
    """Return the frames of an explained failure, innermost first."""
    return tuple([TraceFrame(**frame) for frame in found["trace"]])


async def _source_of(client: Client, frame: TraceFrame, height: int) -> Source | None:
    """Return the source of a contract in force at a height, or of the library in which a frame is."""
    name = frame.contract
    if frame.library:
        key = parse_hash(frame.library)
        text = await client.state("lifecycle", "sources", key, height=height)
        return None if text is None else Source(f"library {frame.library[:16]}", text)
    active = await client.state("lifecycle", "active", name, height=height)
    if active is None:
        return None
    text = await client.state("lifecycle", "sources", active["source_hash"], height=height)
    return None if text is None else Source(name, text)


@tx.command("wait")
@click.argument("tx_id")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds to wait."
)
@json_option
@reports_errors
@session_options
def tx_wait(session: Session, tx_id: str, timeout: float, as_json: bool) -> None:
    """Wait for the certified receipt of a transaction."""

    async def work() -> Receipt | None:
        async with session.client() as client:
            return await client.wait(parse_hash(tx_id), timeout)

    receipt = run(work())
    if receipt is None:
        raise OutcomeUnknown(
            f"{tx_id}: no block held it within {timeout:.0f} s; it may still come: wait again"
        )
    show_receipt(receipt, as_json)


def parse_hash(text: str) -> bytes:
    """Read a 32-byte hash in hex; raise DecodeError."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise DecodeError(f"{text!r}: expected a hash of 64 hex digits")
    return value


@click.command("call")
@click.argument("contract")
@click.argument("method")
@click.option("--args", "args_text", default="{}", help="Arguments as a JSON object.")
@json_option
@reports_errors
@session_options
def call(session: Session, contract: str, method: str, args_text: str, as_json: bool) -> None:
    """Run a read-only METHOD of CONTRACT at the node, without a transaction."""

    async def work() -> tuple[Any, str]:
        async with session.client() as client:
            found = to_json(await client.view(contract, method, parse_args(args_text)))
            return found, await word_line(client)

    try:
        result, word = run(work())
    except RpcError as error:
        if not error.verdict:
            raise
        hint = f"see: assent contract show {contract}"
        hint = hint if error.verdict == "UNKNOWN_METHOD" else remedy(contract, error.verdict)
        raise RpcError(error.number, f"{error}; {hint}", error.data) from None
    print_json({"result": result} if as_json else result)
    if not as_json:
        print_text(word, err=True)


@click.group()
def block() -> None:
    """Look at blocks."""


@block.command("show")
@click.argument("height", type=click.IntRange(0), required=False)
@json_option
@reports_errors
@session_options
def block_show(session: Session, height: int | None, as_json: bool) -> None:
    """Show the block at HEIGHT (default: the newest certified one)."""

    async def work() -> tuple[Any, str]:
        async with session.client() as client:
            wanted = await client.head() if height is None else height
            found = await client.request("getBlockByNumber", height=wanted)
            if client.verifies:
                _check_block(found, await client.header(wanted))
                return found, "verified: header and transactions, by a certificate, from the genesis on"
            return found, await word_line(client)

    found, trust = run(work())
    if as_json:
        print_json(found)
        return
    header = found["header"]
    rows = [
        [spaced(name), f"{utc(value)} UTC" if name == "time" else value] for name, value in header.items()
    ]
    rows += [["hash", found["hash"]], ["certified by", found["signers"]]]
    if (decided := found["skip"]) is not None:
        count = f"{counted(len(decided['transactions']), 'transaction')}, attempt {decided['attempt']}"
        rows += [["skipped by decision", count], ["reason", decided["reason"]]]
        rows += [["decided by", decided["signers"]]]
    print_table(f"block {header['height']}", ["field", "value"], rows)
    print_table(
        counted(len(found["transactions"]), "transaction"), ["id"], [[item] for item in found["transactions"]]
    )
    print_text(trust)


def spaced(name: str) -> str:
    """Return a JSON name as words: validatorsHash as "validators hash"."""
    return re.sub("[A-Z]", lambda letter: f" {letter[0].lower()}", name)


def _check_block(found: Any, header: Header) -> None:
    """Raise ProofInvalid unless a block as the node tells it is the one of a proved header."""
    what = f"block {header.height}"
    try:
        told, ids = found["header"], [bytes.fromhex(item) for item in found["transactions"]]
        root = merkle.root([merkle.leaf_hash(item) for item in ids])
    except (LookupError, TypeError, ValueError):
        raise ProofInvalid(f"{what}: what the node tells of it is no block") from None
    if told != header_json(header) or found.get("hash") != header_hash(header).hex():
        raise ProofInvalid(f"{what}: the node tells another header than it proves")
    if root != header.batch_root:
        raise ProofInvalid(f"{what}: the node tells other transactions than the header has")
