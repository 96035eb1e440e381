"""`assent node skip`: a quorum of validators gets past a block that no node can execute (docs/skip.md)."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from chain.api.render import skip_json
from chain.cli.nodedata import HEIGHT, config_option, explains_files, opened_ledger, out_option
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.config import load_node_config
from chain.ledger.block import Skip
from chain.ledger.signers import signer_in
from chain.ledger.skiprows import SkipRefused
from chain.ledger.state.state import NewestState
from chain.node.begun import describe
from chain.node.keys import key_files, marker_of
from chain.node.marker import FileMarker
from chain.node.nextheight import KnownBatch, Standing
from chain.node.signedskips import SignedSkips
from chain.node.skipsigning import StoppedValidator, apply_skip
from chain.node.skipvote import VOTE_BYTES_MAX, SkipVote
from chain.primitives.certificate import VALIDATORS_MAX, quorum
from chain.primitives.codec import decode, encode
from chain.primitives.errors import DecodeError, FileThere, FileTrouble
from chain.primitives.keyfile import load_key
from chain.primitives.words import counted

ALL = "all"
ATTEMPT = click.IntRange(0, 2**32 - 1)
IDS_SHOWN = 4


@contextlib.contextmanager
def _stopped(config: Path) -> Iterator[StoppedValidator]:
    """Open a stopped node's ledger and votes with the key that votes on its next height, or its only one."""
    files = load_node_config(config)[1]
    with opened_ledger(config) as ledger:
        validators = ledger.validator_keys_at(ledger.head.height + 1)
        keys = [(load_key(path), path) for path in key_files(files)]
        key, path = next((item for item in keys if item[0].public in validators), keys[0])
        yield StoppedValidator(ledger, key, FileMarker(marker_of(path), key.public), SignedSkips(path))


def _read_vote(path: Path) -> SkipVote:
    try:
        with path.open("rb") as file:
            data = file.read(VOTE_BYTES_MAX + 1)
    except OSError as error:
        raise FileTrouble(f"{path}: cannot be read ({error.strerror}); check the path") from None
    try:
        return decode(SkipVote, data)
    except DecodeError as error:
        raise SkipRefused(
            f"{path}: no file of `assent node skip sign`, or damaged ({error}); copy it again"
        ) from None


@click.group("skip")
def skip() -> None:
    """Get past a block that no node can execute: a quorum of validators signs that transactions do not run.

    Each validator's operator stops the node, looks (`show`) and signs (`sign`); whoever has the files of a
    quorum stores them (`apply`) and runs the node again. docs/skip.md leads through it.
    """


@skip.command("show")
@config_option
@json_option
@reports_errors
def show(config: Path, as_json: bool) -> None:
    """Show the height that this stopped node would execute next: its batch, and how often it was begun."""
    with _stopped(config) as node:
        facts, text = _facts(node), _text(node)
    if as_json:
        print_json(facts)
    else:
        print_lines(text)


def _facts(node: StoppedValidator) -> dict[str, Any]:
    found, waiting = node.next, node.ledger.skips.waiting(node.next.height)
    return {
        "head": found.height - 1,
        "height": found.height,
        "begun": 0 if found.begun is None else found.begun.times,
        "certified": found.begun is not None and found.begun.certified,
        "signed": None if (signed := node.signed) is None else skip_json(signed, ()),
        "validators": len(node.validators),
        "quorum": quorum(len(node.validators)),
        "batches": [
            {
                "batch": batch.digest.hex(),
                "standing": batch.standing.value,
                "transactions": [_transaction(node, tx_id) for tx_id in batch.tx_ids],
            }
            for batch in found.batches
        ],
        "decision": None if waiting is None else skip_json(waiting.skip, waiting.signatures),
    }


def _transaction(node: StoppedValidator, tx_id: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": tx_id.hex()}
    candidate = node.next.transactions.get(tx_id)
    if candidate is None:
        return shown
    body = candidate.tx.body
    member = signer_in(NewestState(node.ledger.store), body.sender)
    return shown | {
        "contract": body.contract,
        "method": body.method,
        "sender": body.sender.hex(),
        "org": "" if member is None else member.org,
        "gasLimit": body.gas_limit,
    }


def _text(node: StoppedValidator) -> str:
    facts, begun = _facts(node), node.next.begun
    height = facts["height"]
    lines = [f"this node stands at height {facts['head']}; {height} comes next"]
    lines.append(describe(begun) if begun else f"no process is known to have ended within height {height}")
    if not facts["batches"]:
        lines.append(f"no batch of height {height} is known here")
    for batch in facts["batches"]:
        count = counted(len(batch["transactions"]), "transaction")
        lines.append(f"batch {batch['batch']}, {batch['standing']}, {count}:")
        lines += [_line(item) for item in batch["transactions"]]
    if facts["signed"] is not None:
        lines.append(
            f"this key signed: {_summary(facts['signed'])}\nthe node executes the height under that decision "
            "alone, or as a certified block"
        )
    return "\n".join([*lines, _next(facts, bool(begun))])


def _next(facts: dict[str, Any], ended_within: bool) -> str:
    """Say the one thing to do next about this height; a batch is to be signed only when it was ordered."""
    height, most = facts["height"], f"{facts['quorum']} of {facts['validators']}"
    if (kept := facts["decision"]) is not None:
        return f"a decision waits: {_summary(kept)}; `assent node run` executes under it"
    if facts["signed"] is not None:
        return (
            f"next: assent node skip apply FILE …, the files of {most} validators; this key's file is "
            "written again by signing the same once more (assent node skip sign)"
        )
    if not ended_within:
        return (
            "next: start the node (assent node run). Sign only if no node can execute the height: with "
            "assent node skip sign --like FILE, what a validator whose node ended within it signed"
        )
    if not facts["batches"] or facts["batches"][0]["standing"] == Standing.PROPOSED.value:
        return (
            "next: do not sign, for no batch is known here to be ordered; start the node once more, or sign "
            "what another validator signed: assent node skip sign --like FILE -o FILE"
        )
    return (
        f"next: assent node skip sign --height {height} --batch {facts['batches'][0]['batch']} "
        f'--ids ID,… --reason "…" -o FILE; {most} must sign the same'
    )


def _line(item: dict[str, Any]) -> str:
    if "contract" not in item:
        return f"  {item['id']}  (its contents are not here)"
    who = item["org"] or "no member"
    return (
        f"  {item['id']}  {item['contract']}.{item['method']}  by {who} ({item['sender'][:16]}…), "
        f"gas limit {item['gasLimit']:,}"
    )


@skip.command("sign")
@config_option
@click.option("--height", type=HEIGHT, help="The height that no node can execute.")
@click.option("--batch", help="The digest of its batch, as `show` prints it.")
@click.option("--ids", help="The transactions that shall not run, with commas between; or `all`.")
@click.option("--reason", help="Why, in one line: it stays on the ledger.")
@click.option("--attempt", type=ATTEMPT, help="Default 0; higher when a decision before did not suffice.")
@click.option("--like", type=click.Path(path_type=Path), help="Sign what this file of another does.")
@out_option
@json_option
@reports_errors
def sign(
    config: Path,
    height: int | None,
    batch: str | None,
    ids: str | None,
    reason: str | None,
    attempt: int | None,
    like: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Sign with this validator's key that transactions of an ordered batch shall not run, and write a file.

    A key signs one skip a height and attempt, for good. The same skip may be signed again.
    """
    make: Callable[[StoppedValidator], tuple[Skip, KnownBatch]]
    if like is not None:
        if any(item is not None for item in (height, batch, ids, reason, attempt)):
            raise click.UsageError("--like FILE says all of it; leave the other options out")
        make = partial(_as_signed, str(like), _read_vote(like))
    elif height is None or batch is None or ids is None or reason is None:
        raise click.UsageError("give --height, --batch, --ids and --reason, or --like FILE")
    else:
        make = partial(_as_asked, height, _hash("--batch", batch), ids, reason, attempt or 0)
    with _stopped(config) as node, explains_files():
        wanted, known = make(node)
        with _new_file(output) as file:  # before the signature, which binds the key for good
            vote = node.sign(wanted, known)
            file.write(encode(vote))
        needed = quorum(len(node.validators))
    facts = skip_json(wanted, ((vote.signer, vote.signature),)) | {"file": str(output)}
    if as_json:
        print_json(facts)
    else:
        print_lines(
            f"{_summary(facts)}\nwritten to {output}; next, with {needed} such files: assent node skip apply "
            f"{shlex.quote(str(output))} …"
        )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that must be new, and remove it when what it is for fails; raise FileTrouble."""
    try:
        file = path.open("xb")
    except FileExistsError:
        raise FileThere(f"{path}: exists already, so nothing was signed; name a new file (-o)") from None
    except OSError as error:
        raise FileTrouble(
            f"{path}: cannot be written ({error.strerror}), so nothing was signed; name a new file in a "
            "folder that exists (-o)"
        ) from None
    try:
        with file:
            yield file
    except OSError as error:
        path.unlink(missing_ok=True)
        raise FileTrouble(
            f"{path}: cannot be written ({error.strerror}). If the key has signed meanwhile (assent node "
            "skip show tells), sign the same again into another file"
        ) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _as_asked(
    height: int, digest: bytes, ids: str, reason: str, attempt: int, node: StoppedValidator
) -> tuple[Skip, KnownBatch]:
    known = node.ordered(height, digest)
    return Skip(height, digest, attempt, _chosen(ids, known), reason), known


def _as_signed(name: str, vote: SkipVote, node: StoppedValidator) -> tuple[Skip, KnownBatch]:
    return vote.skip, node.ordered(vote.skip.height, vote.skip.batch, (name, vote))


def _chosen(text: str, batch: KnownBatch) -> tuple[bytes, ...]:
    """Return the ids that an option names, in the batch's order; raise SkipRefused."""
    if text == ALL:
        chosen = batch.tx_ids
    else:
        named = [_hash("--ids", part) for part in text.replace(",", " ").split()]
        for tx_id in named:
            if tx_id not in batch.tx_ids or named.count(tx_id) > 1:
                raise SkipRefused(f"--ids {tx_id.hex()}: not in batch {batch.digest.hex()}, or named twice")
        chosen = tuple([tx_id for tx_id in batch.tx_ids if tx_id in named])
    if not chosen:
        raise SkipRefused("--ids: names no transaction; a skip is of at least one")
    return chosen


def _hash(option: str, text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise SkipRefused(f"{option} {text!r}: expected 64 hex digits")
    return value


@skip.command("read")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@json_option
@reports_errors
def read(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what FILES of `sign` say and by which keys, unchecked: `sign --like` and `apply` check them."""
    votes = [(path, _read_vote(path)) for path in files]
    shown = [
        skip_json(vote.skip, ((vote.signer, vote.signature),))
        | {"file": str(path), "chain": vote.chain_id.hex(), "provesBatch": vote.prepared is not None}
        for path, vote in votes
    ]
    if as_json:
        print_json(shown)
        return
    for item in shown:
        print_text(f"{item['file']}: {_summary(item)}")


@skip.command("apply")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@config_option
@json_option
@reports_errors
def apply(files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """Store the decision that FILES of a quorum make; the node then executes that height under it.

    Too few, foreign, damaged or differing files are refused by name, and nothing is stored.
    """
    if len(files) > VALIDATORS_MAX:
        raise SkipRefused(f"{len(files)} files: at most {VALIDATORS_MAX}, one a validator")
    votes = [(str(path), _read_vote(path)) for path in files]
    with opened_ledger(config) as ledger:
        decision, stored = apply_skip(ledger, votes)
    facts = skip_json(decision.skip, decision.signatures) | {"stored": stored}
    if as_json:
        print_json(facts)
    else:
        print_lines(f"{_summary(facts)}\n{'stored' if stored else 'here already'}; next: assent node run")


def _summary(facts: dict[str, Any]) -> str:
    ids: Sequence[str] = facts["transactions"]
    named = [f"{tx_id[:16]}…" for tx_id in ids[:IDS_SHOWN]] + (["…"] if len(ids) > IDS_SHOWN else [])
    signers = ", ".join(f"{key[:16]}…" for key in facts["signers"])
    by = f", signed by {len(facts['signers'])} ({signers})" if signers else ""
    return (
        f"height {facts['height']}, batch {facts['batch']}, attempt {facts['attempt']}, without "
        f"{counted(len(ids), 'transaction')} ({', '.join(named)}), reason {facts['reason']!r}{by}"
    )
