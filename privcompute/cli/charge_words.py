"""What one run takes of the accounts of datasets, and what is left of them, for people.

A charge is what `facts.brief_of` says of a dataset: whole numbers, or formulas of what is not registered yet.
What is left is arithmetic of the contract `accounts`: our node's word, not proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chain.client.client import Client
from chain.client.console import print_folded, print_table
from chain.primitives.values import Value
from privcompute.cli.amounts import DELTA_DIGITS, EPSILON_DIGITS, show_amount

NOT_KNOWN = "by what is not registered yet"
Charges = Sequence[tuple[str, int, Mapping[str, Any]]]
"""(dataset, version, charge)."""


def is_charged(charge: Mapping[str, Any]) -> bool:
    """Tell whether a charge takes anything."""
    return bool(charge["epsilon"] or charge["figures"] or charge["delta"] not in (0, "0"))


def charge_parts(charge: Mapping[str, Any], runs: int = 1) -> list[tuple[str, str]]:
    """Return (what, how much) of each part of a charge, so many times."""
    parts = []
    if charge["epsilon"]:
        parts.append(("epsilon", show_amount(charge["epsilon"] * runs, EPSILON_DIGITS)))
    delta = charge["delta"]
    if isinstance(delta, str):
        plain = delta.replace(",", "")
        delta = int(plain) if plain.isdigit() else None
    if delta is None:
        parts.append(("delta", NOT_KNOWN))
    elif delta:
        parts.append(("delta", show_amount(delta * runs, DELTA_DIGITS)))
    for column, number in charge["figures"].items():
        known = int(number) if str(number).isdigit() else None
        shown = f"{known * runs:,}" if known is not None else number if runs == 1 else NOT_KNOWN
        parts.append((f"exact figures of {column}", shown))
    return parts


def left_parts(charge: Mapping[str, Any], left: Mapping[str, Any]) -> list[str]:
    """Return how much is left of each part of a charge (`accounts.left`)."""
    parts = []
    if charge["epsilon"]:
        parts.append(show_amount(left["epsilon"], EPSILON_DIGITS))
    if charge["delta"] not in (0, "0"):
        parts.append(show_amount(left["delta"], DELTA_DIGITS))
    return parts + [f"{left['figures'].get(column, 0):,}" for column in charge["figures"]]


async def left_of(
    client: Client, dataset: str, version: int, grantee: str, charge: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what a grantee may still be charged of the account that a version is in."""
    asked: dict[str, Value] = {
        "id": dataset,
        "version": version,
        "grantee": grantee,
        "columns": sorted(charge["figures"]),
    }
    found: Any = await client.view("accounts", "left", asked)
    return dict(found)


async def all_left(client: Client, grantee: str, charges: Charges) -> list[Mapping[str, Any]]:
    """Return what is left for a grantee, beside each charge."""
    return [await left_of(client, dataset, version, grantee, one) for dataset, version, one in charges]


def print_charges(title: str, charges: Charges, left: Sequence[Mapping[str, Any]], grantee: str) -> None:
    """Print what one run takes of the accounts of datasets, and what each has left for a grantee."""
    rows = []
    for (dataset, _, charge), rest in zip(charges, left, strict=True):
        for (what, taken), remains in zip(charge_parts(charge), left_parts(charge, rest), strict=True):
            rows.append([dataset, what, taken, remains])
    if rows:
        print_table(title, ["dataset", "takes", "#a run", f"#left for {grantee}"], rows)
        print_folded("what is left is our node's word, not proved; more: assent dataset account ID")
    else:
        print_folded(f"{title}: nothing")


def print_taken(title: str, charges: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what one run takes of the accounts of the datasets of a page, of which no ledger is asked."""
    rows = [[name, *part] for name, charge in charges.items() for part in charge_parts(charge)]
    if rows:
        print_table(title, ["dataset", "takes", "#a run"], rows)
    else:
        print_folded(f"{title}: nothing")


def charges_json(charges: Charges, left: Sequence[Mapping[str, Any]]) -> list[Value]:
    """Return the same for `--json`: epsilon in 10^-9, delta in 10^-18."""
    return [
        {"dataset": dataset, "version": version, "a_run": dict(charge), "left": dict(rest)}
        for (dataset, version, charge), rest in zip(charges, left, strict=True)
    ]
