"""What a job would be charged, and what is left of the accounts for it: our node's word, beside refusals.

A job's charges follow of its page; contract `programs` derives them, contract `accounts` says what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chain.client.answers import RpcError
from chain.client.client import Client
from chain.primitives.values import Value
from chain.primitives.visible import one_line
from privcompute.cli.amounts import DELTA_DIGITS, EPSILON_DIGITS, show_amount
from privcompute.job.proposal import Obstacle, obstacle

# --- what a job is charged ------------------------------------------------------------------------


async def charges_of(client: Client, spec: Mapping[str, Any], initiator: str) -> list[dict[str, Any]]:
    """Return what a spec would be charged, input by input; none where nothing follows of it."""
    inputs: list[Value] = [
        {**{name: one[name] for name in ("name", "dataset", "version")}, "columns": list(one["columns"])}
        for one in spec["inputs"]
    ]
    asked: dict[str, Value] = {"id": spec["program"], "inputs": inputs, "parameters": spec["parameters"]} | {
        "initiator": initiator
    }
    try:
        found: Any = await client.view("programs", "derive", asked)
    except RpcError as refused:
        if not refused.verdict:
            raise
        return []
    charged = [
        {"dataset": one["dataset"], "version": one["version"], **found["charges"][one["name"]]}
        for one in spec["inputs"]
    ]
    return [one for one in charged if one["figures"] or one["epsilon"] or one["delta"]]


async def what_is_left(client: Client, grantee: str, charges: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in a line for each dataset what a grantee may still be charged, beside what a job would be."""
    lines = []
    for one in charges:
        columns = sorted(one["figures"])
        asked: dict[str, Value] = {
            "id": one["dataset"],
            "version": one["version"],
            "grantee": grantee,
            "columns": list(columns),
        }
        left: Any = await client.view("accounts", "left", asked)
        parts = []
        if one["epsilon"]:
            epsilons = [show_amount(amount, EPSILON_DIGITS) for amount in (left["epsilon"], one["epsilon"])]
            parts.append(f"epsilon {epsilons[0]} left, asked {epsilons[1]}")
        if one["delta"] > left["delta"]:
            deltas = [show_amount(amount, DELTA_DIGITS) for amount in (left["delta"], one["delta"])]
            parts.append(f"delta {deltas[0]} left, asked {deltas[1]}")
        for column in columns:
            if one["figures"][column] > left["figures"][column]:
                parts.append(
                    f"column {column}: {left['figures'][column]} figures left, asked {one['figures'][column]}"
                )
        lines += [f"{one['dataset']}: {part}" for part in parts]
    return [one_line(line) for line in lines]


async def with_what_is_left(client: Client, key: bytes, spec: Mapping[str, Any], refusal: str) -> str:
    """Return a refusal, with what is left where accounts refused; `key` signed."""
    if not refusal.startswith("ACCOUNT_"):
        return refusal
    sender: Any = await client.state("orgs", "keys", key.hex())
    lines = await what_is_left(client, sender["org"], await charges_of(client, spec, sender["org"]))
    return "; ".join([refusal, *lines])


async def room_obstacles(
    client: Client, charges: Sequence[Mapping[str, Any]], initiator: str
) -> list[Obstacle]:
    """Return what accounts have against charges, each with what is left; none where they have room."""
    if not charges:
        return []
    code: Any = await client.view("accounts", "fault_of", {"grantee": initiator, "charges": [*charges]})
    if not code:
        return []
    lines = await what_is_left(client, initiator, charges)
    said = f"{'; '.join(lines) or 'no more today'} (our node's word, not proved)"
    return [obstacle("what figures give away", str(code), said)]
