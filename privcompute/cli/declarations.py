"""Declared schemas between this machine and the ledger: sent part by part, and read back under their seal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chain.client.calls import call, result_of
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.primitives.values import Value
from privcompute.cli.common import GAS_LIMIT, UsageFault, need_state
from privcompute.data.declared import cut, put_together
from privcompute.data.schema import COLUMNS_MAX, Column, Schema, column_declared, schema_seal

LOOKUPS_AT_ONCE = 16
SEE_LIST = "see: assent dataset list"


async def declare(account: SigningClient, org: str, schema: Schema) -> bytes:
    """Have the ledger hold this schema, sealed, as `org`'s; return the seal.

    It sends what is not there yet, so whoever was interrupted calls it again. A draft whose time is over, or
    that somebody began to withdraw, is withdrawn as a whole and sent anew.
    """
    seal = schema_seal(schema)
    known = await account.client.state("datasets", "schemas", (org, seal))
    if known is not None and known["status"] == "sealed":
        return seal
    if known is not None and await _is_over(account.client, known):
        await withdraw(account, org, seal)
        known = None
    sent = 0 if known is None else int(known["parts"])
    for number, part in enumerate(cut(schema)):
        if number < sent:
            continue
        if number == 0:
            args: dict[str, Value] = {"schema": seal, "key": list(schema.key), "columns": part}
            await call(account, "datasets", "declare", args, GAS_LIMIT)
        else:
            args = {"schema": seal, "part": number, "columns": part}
            await call(account, "datasets", "extend", args, GAS_LIMIT)
    return seal


async def _is_over(client: Client, draft: Any) -> bool:
    header = await client.header(await client.head())
    return bool(draft["status"] == "withdrawn" or header.time >= draft["until"])


async def withdraw(account: SigningClient, owner: str, seal: bytes) -> None:
    """Withdraw a draft, one transaction a part."""
    for _ in range(COLUMNS_MAX):
        receipt = await call(account, "datasets", "withdraw", {"owner": owner, "schema": seal}, GAS_LIMIT)
        if result_of(receipt) == 0:
            return


async def version_row(client: Client, dataset: str, version: int) -> Any:
    """Return the record of a dataset's version; raise UsageFault when there is none."""
    return await need_state(client, "datasets", "versions", (dataset, version), SEE_LIST)


async def read_schema(client: Client, dataset: str, version: Any) -> Schema:
    """Return the declared schema of a version's record, all columns, held against the seal."""
    owner, seal = owner_of(dataset), bytes(version["schema"])
    record = await need_state(client, "datasets", "schemas", (owner, seal), SEE_LIST)
    _bounded(seal, int(record["parts"]), "parts")
    places = [(owner, seal, number) for number in range(int(record["parts"]))]
    names = [name for part in await _rows(client, "parts", places) for name in part]
    _bounded(seal, len(names), "columns")
    columns = await _rows(client, "columns", [(owner, seal, name) for name in names])
    return put_together(seal, record["key"], columns)


def _bounded(seal: bytes, count: int, what: str) -> None:
    if not 0 < count <= COLUMNS_MAX:
        raise UsageFault(f"schema {seal.hex()[:16]}…: {count} {what}, 1 to {COLUMNS_MAX}; ask another node")


async def read_columns(client: Client, dataset: str, version: Any, names: Sequence[str]) -> dict[str, Column]:
    """Return what a version declares of some columns; names that it does not have are left out."""
    places = [(owner_of(dataset), bytes(version["schema"]), name) for name in names]
    found = await _rows(client, "columns", places)
    return {name: column_declared(row) for name, row in zip(names, found, strict=True) if row is not None}


async def _rows(client: Client, map_name: str, keys: Sequence[Value]) -> list[Any]:
    found: list[Any] = []
    for at in range(0, len(keys), LOOKUPS_AT_ONCE):
        asked = [client.state("datasets", map_name, key) for key in keys[at : at + LOOKUPS_AT_ONCE]]
        found += await asyncio.gather(*asked)
    return found


def owner_of(dataset: str) -> str:
    """Return the owner, which a dataset's id begins with."""
    owner, slash, _ = dataset.partition("/")
    if not slash:
        raise UsageFault(f"dataset {dataset[:80]!r}: ids are OWNER/NAME; {SEE_LIST}")
    return owner
