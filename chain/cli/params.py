"""`assent params`: the limits of the chain, the voting policy, and how long proposals and freezes last."""

from __future__ import annotations

from typing import Any

import click

from chain.cli.proposal import not_before_option, propose, reason_option
from chain.client.calls import as_client
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.trust import trust_line, word_line
from chain.primitives.errors import ConfigError
from chain.primitives.jsonvalue import to_json
from chain.primitives.words import duration

KINDS = (
    "contract",
    "system_contract",
    "program",
    "admit_org",
    "expel_org",
    "suspend_org",
    "reinstate_org",
    "replace_key",
    "add_node",
    "remove_node",
    "change_role",
    "change_address",
    "set_limits",
    "set_policy",
    "set_terms",
    "set_access",
)
"""What members decide about (contracts/system/README.md, governance)."""
TERMS = ("proposal_ms", "freeze_blocks")


@click.group()
def params() -> None:
    """The chain's limits, its voting policy and its terms; changed by proposals."""


@params.command("show")
@json_option
@reports_errors
@session_options
def show(session: Session, as_json: bool) -> None:
    """Show limits, terms and, for each kind of decision, how many votes it needs now.

    The limits are proved when the genesis is known; terms and policy are the node's word, and said to be.
    """

    async def work(client: Client) -> tuple[Any, Any, list[dict[str, Any]], str, str]:
        limits = await client.variable("governance", "limits")
        terms = await client.view("governance", "terms_of", {})
        policy = [await _policy(client, kind) for kind in KINDS]
        return limits, terms, policy, trust_line(client), await word_line(client)

    limits, terms, policy, trust, word = as_client(session, work)
    if as_json:
        rests = {"limits": trust, "terms": word, "policy": word}
        print_json(to_json({"limits": limits, "terms": terms, "policy": policy}) | {"rests_on": rests})
        return
    print_table("limits", ["name", "#value", "meaning"], _limit_rows(limits))
    print_text(trust)
    print_table("terms", ["name", "#value", "meaning"], _limit_rows(terms))
    rows = [[p["kind"], p["rule"], p["votes"] or "", p["needed"]] for p in policy]
    print_table("voting policy", ["decision", "rule", "#stated", "#votes needed now"], rows)
    print_text(f"terms and voting policy: {word}")


def _limit_rows(limits: dict[str, Any]) -> list[list[Any]]:
    return [[name, value, duration(value) if name.endswith("_ms") else ""] for name, value in limits.items()]


async def _policy(client: Client, kind: str) -> dict[str, Any]:
    found: Any = await client.view("governance", "policy_of", {"kind": kind})
    needed = await client.view("governance", "votes_needed", {"kind": kind})
    return {"kind": kind, "needed": needed} | dict(found)


@params.command("propose")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE…")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def propose_changes(
    session: Session, changes: tuple[str, ...], reason: str, not_before: int, as_json: bool
) -> None:
    """Propose new values of limits (block_txs=500 …), or of the terms proposal_ms and freeze_blocks."""
    values = dict(_change(text) for text in changes)
    terms = [name for name in values if name in TERMS]
    if terms and len(terms) < len(values):
        raise ConfigError(f"{', '.join(terms)}: terms and limits are decided apart; propose them one by one")
    propose(session, "set_terms" if terms else "set_limits", dict(values), reason, not_before, as_json)


def _change(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        return name, int(value.replace("_", ""))
    except ValueError:
        raise ConfigError(f"{text!r}: expected NAME=NUMBER, such as block_txs=500") from None


@params.command("policy")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("rule", metavar="majority|quorum|NUMBER")
@reason_option
@not_before_option
@json_option
@reports_errors
@session_options
def policy(session: Session, kind: str, rule: str, reason: str, not_before: int, as_json: bool) -> None:
    """Propose how many votes decisions of KIND need: a majority, a quorum, or a stated NUMBER.

    KIND is one of contract, system_contract, program, admit_org, expel_org, suspend_org, reinstate_org,
    replace_key, add_node, remove_node, change_role, change_address, set_limits, set_policy, set_terms and
    set_access.
    """
    if rule.isascii() and rule.isdigit() and len(rule) < 20:
        payload = {"kind": kind, "rule": "votes", "votes": int(rule)}
    elif rule in ("majority", "quorum"):
        payload = {"kind": kind, "rule": rule, "votes": 0}
    else:
        raise ConfigError(f"{rule!r}: expected majority, quorum or a number of organisations")
    propose(session, "set_policy", payload, reason, not_before, as_json)
