"""`assent key`: make key files, show their public part, and prove possession of them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import KeyFileError
from chain.primitives.files import read_bounded
from chain.primitives.keyfile import (
    FILE_BYTES_MAX,
    PASSPHRASE_VARIABLE,
    is_sealed,
    load_key,
    passphrase_for,
    replace_key,
    save_key,
)
from chain.primitives.onechange import one_change
from chain.primitives.possession import (
    REGISTRATION,
    REPLACEMENT,
    Purpose,
    prove_possession,
    proves_possession,
)

NEW_VARIABLE = "ASSENT_NEW_PASSPHRASE"
KEY_HELP = "the key file, or KEY:PROOF as its holder prints it with assent key prove"

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def key() -> None:
    """Make key files, show their public part, and prove to members that one holds them."""


@key.command("new")
@file_argument
@click.option("--sealed", is_flag=True, help=f"Seal it; passphrase of {PASSPHRASE_VARIABLE}, or asked for.")
@json_option
@reports_errors
def new(file: Path, sealed: bool, as_json: bool) -> None:
    """Write a new private key to FILE, readable by its owner alone, and print its public key."""
    passphrase = new_passphrase(file, PASSPHRASE_VARIABLE) if sealed else None
    made = PrivateKey.generate()
    save_key(file, made, passphrase)
    _show(file, made.public, as_json)


@key.command("seal")
@file_argument
@json_option
@reports_errors
def seal(file: Path, as_json: bool) -> None:
    """Seal the key in FILE with a passphrase, or with another one in the place of the one that it has.

    The new passphrase is that of ASSENT_NEW_PASSPHRASE, or asked for.
    """
    with one_change(file):
        before, held = is_sealed(file), load_key(file)
        replace_key(file, held, new_passphrase(file, NEW_VARIABLE))
    _show(file, held.public, as_json, "sealed with another passphrase" if before else "sealed")


@key.command("unseal")
@file_argument
@json_option
@reports_errors
def unseal(file: Path, as_json: bool) -> None:
    """Keep the key in FILE without a passphrase from now on: whoever reads the file has the key."""
    with one_change(file):
        before, held = is_sealed(file), load_key(file)
        if before:
            replace_key(file, held, None)
    _show(file, held.public, as_json, "unsealed" if before else "not sealed before either; left as it was")


def new_passphrase(file: Path, variable: str) -> str:
    """Return the passphrase to seal a key with, of the variable or asked for; raise KeyFileError."""
    given = os.environ.get(variable)
    if given:
        return given
    if sys.stdin is not None and sys.stdin.isatty():
        os.environ.pop(PASSPHRASE_VARIABLE, None)  # it was the old one's
        asked = passphrase_for(file, new=True)
        if asked:
            return asked
    raise KeyFileError(f"{file}: sealing needs a passphrase; set {variable}, or type one at a terminal")


@key.command("show")
@file_argument
@json_option
@reports_errors
def show(file: Path, as_json: bool) -> None:
    """Print the public key of FILE; a sealed one need not be opened for it."""
    _show(file, _public_of(file) if is_sealed(file) else load_key(file).public, as_json)


@key.command("prove")
@file_argument
@click.option("--org", "org_id", required=True, help="The organisation that registers the key.")
@click.option("--genesis", type=click.Path(path_type=Path), required=True, help="The chain's genesis file.")
@click.option("--replacement", is_flag=True, help="For members to put it in the place of lost admin keys.")
@json_option
@reports_errors
def prove(file: Path, org_id: str, genesis: Path, replacement: bool, as_json: bool) -> None:
    """Print KEY:PROOF of the key in FILE: what another member's command takes to register it."""
    purpose: Purpose = REPLACEMENT if replacement else REGISTRATION
    proved = prove_key(load_key(file), load_genesis(genesis).chain_id, org_id, purpose)
    if as_json:
        print_json({"public": proved.public.hex(), "proof": proved.proof.hex(), "org": org_id})
    else:
        print_text(str(proved))


@dataclass(frozen=True, slots=True)
class ProvedKey:
    """A public key, and its holder's signature that it is an organisation's on a chain."""

    public: bytes
    proof: bytes

    def __str__(self) -> str:
        return f"{self.public.hex()}:{self.proof.hex()}"


def prove_key(key: PrivateKey, chain_id: bytes, org: str, purpose: Purpose = REGISTRATION) -> ProvedKey:
    """Return a key with the proof that its holder lets it be registered for this organisation."""
    return ProvedKey(key.public, prove_possession(key, chain_id, org, purpose))


def proved_key(
    text: str, option: str, chain_id: bytes, org: str, purpose: Purpose = REGISTRATION
) -> ProvedKey:
    """Read a key file, which is opened to sign the proof, or KEY:PROOF as its holder printed it.

    Raises KeyFileError naming the option, also for a proof that does not hold for this organisation, chain
    or purpose.
    """
    path = Path(text)
    if path.is_file():
        return prove_key(load_key(path), chain_id, org, purpose)
    command = f"assent key prove FILE --org {org} --genesis GENESIS"
    if purpose == REPLACEMENT:
        command += " --replacement"
    try:
        public, proof = [bytes.fromhex(part) for part in text.split(":")]
    except ValueError:
        raise KeyFileError(
            f"{option} {text[:80]!r}: neither a key file nor KEY:PROOF; "
            f"its holder prints that with: {command}"
        ) from None
    if not proves_possession(public, proof, chain_id, org, purpose):
        raise KeyFileError(
            f"{option} {text[:80]!r}: the proof does not hold for {org!r} on chain {chain_id.hex()[:16]}; "
            f"its holder prints one with: {command}"
        )
    return ProvedKey(public, proof)


def _show(file: Path, public: bytes, as_json: bool, done: str = "") -> None:
    """Print a public key, and on standard error what was done with its file."""
    if as_json:
        print_json({"file": str(file), "public": public.hex()} | ({"done": done} if done else {}))
        return
    print_text(public.hex())
    if done:
        print_text(f"{file}: {done}", err=True)


def public_key(text: str, option: str) -> bytes:
    """Read a public key: 64 hex digits, or a key file; raise KeyFileError naming the option."""
    path = Path(text)
    if path.is_file():
        return _public_of(path)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise KeyFileError(
            f"{option} {text!r}: neither a key file nor a public key of 64 hex digits; make one with: "
            "assent key new FILE"
        )
    return found


def _public_of(path: Path) -> bytes:
    """Return the public part of a key file without opening a sealed one."""
    try:
        found = bytes.fromhex(json.loads(read_bounded(path, FILE_BYTES_MAX))["public"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError(f"{path}: not a key file; name the right one") from None
    if len(found) != 32:
        raise KeyFileError(f"{path}: damaged key file; restore it from backup")
    return found
