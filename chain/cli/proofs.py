"""A file of state proofs that anyone with the genesis can check: what `--proof FILE` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chain.client.client import Client
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import ProvedState, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, DecodeError, Exit, FileTrouble
from chain.primitives.files import read_bounded, replace_file
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import decode_value

KIND = "assent-state-proofs"
VERSION = 1
FILE_BYTES_MAX = 67_108_864


class ProofFileError(AssentError):
    """A file that holds no proofs that can be read: the text names it and what to do."""

    code = "proof_file"
    exit = Exit.DAMAGED


async def write_proofs(path: Path, client: Client) -> None:
    """Write the proofs that a client kept, with the changes of the validator set that they rest on."""
    document = {
        "kind": KIND,
        "version": VERSION,
        "chain_id": (await client.chain_id()).hex(),
        "set_changes": [encode(change).hex() for change in client.followed],
        "states": [encode(proved).hex() for proved in client.kept or []],
    }
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())


def check_proofs(path: Path, genesis: Genesis) -> list[dict[str, Any]]:
    """Return what a file proves; raise FileTrouble, ProofFileError, or ProofInvalid naming what broke."""
    document = _read(path)
    if document["chain_id"] != genesis.chain_id.hex():
        raise ProofFileError(f"{path}: of another chain than this genesis; name the genesis of its chain")
    try:
        changes = [decode(SetChange, bytes.fromhex(text)) for text in document["set_changes"]]
        states = [decode(ProvedState, bytes.fromhex(text)) for text in document["states"]]
    except (DecodeError, TypeError, ValueError) as error:
        raise ProofFileError(f"{path}: damaged ({error}); write it again") from None
    verifier = ProofVerifier(genesis, changes)
    return [_proved(proved, verifier.check_state(proved).height) for proved in states]


def _proved(proved: ProvedState, height: int) -> dict[str, Any]:
    name, slash, raw = proved.key.partition(b"/")
    entry = f"{proved.namespace}.{name.decode(errors='replace')}"
    if slash:
        entry += f"[{to_json(decode_value(raw, max_bytes=len(raw)))!r}]"
    value = None if proved.value is None else decode_value(proved.value, max_bytes=len(proved.value))
    return {"height": height, "entry": entry, "value": to_json(value)}


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_bounded(path, FILE_BYTES_MAX)
        document = json.loads(raw)
    except OSError as error:
        raise FileTrouble(f"{path}: cannot be read ({error.strerror}); name a file of proofs") from None
    except (ValueError, RecursionError) as error:
        raise ProofFileError(f"{path}: not JSON ({error}); name a file that --proof wrote") from None
    fields = {"kind", "version", "chain_id", "set_changes", "states"}
    if not isinstance(document, dict) or set(document) != fields or document["kind"] != KIND:
        raise ProofFileError(f"{path}: not a file of proofs; name one that --proof wrote")
    if document["version"] != VERSION:
        raise ProofFileError(f"{path}: version {document['version']!r}, this Assent reads {VERSION}")
    return document
