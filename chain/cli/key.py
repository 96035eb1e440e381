"""`assent key`: make key files and show their public part."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from chain.api.console import console, json_option, print_json, reports_errors
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import KeyFileError
from chain.primitives.files import read_bounded
from chain.primitives.keyfile import FILE_BYTES_MAX, PASSPHRASE_VARIABLE, load_key, save_key

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def key() -> None:
    """Make key files and show their public part."""


@key.command("new")
@file_argument
@click.option("--sealed", is_flag=True, help=f"Seal it with the passphrase in {PASSPHRASE_VARIABLE}.")
@json_option
@reports_errors
def new(file: Path, sealed: bool, as_json: bool) -> None:
    """Write a new private key to FILE, readable by its owner alone, and print its public key."""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE) if sealed else None
    if sealed and not passphrase:
        raise KeyFileError(f"{file}: --sealed needs a passphrase; set {PASSPHRASE_VARIABLE}")
    made = PrivateKey.generate()
    save_key(file, made, passphrase)
    _show(file, made.public, as_json)


@key.command("show")
@file_argument
@json_option
@reports_errors
def show(file: Path, as_json: bool) -> None:
    """Print the public key of FILE."""
    _show(file, load_key(file).public, as_json)


def _show(file: Path, public: bytes, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "public": public.hex()})
    else:
        console.print(public.hex())


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
