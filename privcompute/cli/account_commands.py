"""`assent dataset account`, `caps` and `begin-account`: what figures gave away, and what its owner allows.

The caps and what is spent and held are proved rows. Which grantees there are is the node's list, held against
the account: what they have comes to what it says. What composes to what, and what is left, is arithmetic of
the ledger, asked of our node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from chain.client.calls import as_account, call
from chain.client.client import Client
from chain.client.console import (
    json_option,
    print_folded,
    print_json,
    print_table,
    print_text,
    reports_errors,
)
from chain.client.options import Session, run, session_options
from chain.client.signing import SigningClient
from chain.client.trust import trust_line
from chain.ledger.block import Receipt
from chain.primitives.errors import ProofInvalid
from chain.primitives.values import Value
from privcompute.cli.amounts import DELTA_DIGITS, EPSILON_DIGITS, parse_amount, show_amount
from privcompute.cli.common import GAS_LIMIT, UsageFault, need_state, send, sent_json
from privcompute.cli.declarations import SEE_LIST

DEFAULT_CAPS: Mapping[str, int] = {
    "delta": 10**13,
    "epsilon": 8 * 10**9,
    "figures": 200,
    "grantee_delta": 375 * 10**10,
    "grantee_epsilon": 3 * 10**9,
    "grantee_figures": 75,
}
"""What holds where an owner set none (contracts/system/README.md, accounts)."""
NOISE = ("epsilon", "delta", "rho")
LOOKUPS_AT_ONCE = 16


def _epsilon(amount: int) -> str:
    return show_amount(amount, EPSILON_DIGITS)


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """What one grantee has of an account."""

    grantee: str
    spent: Mapping[str, int]
    reserved: Mapping[str, int]
    epsilon: int
    """What both compose to."""
    left: int
    """The epsilon that one more figure with Laplace noise may have."""


@dataclass(frozen=True, slots=True)
class DisclosureAccount:
    """The account that a version of a dataset is in."""

    dataset: str
    first: int
    """Its first version."""
    last: int
    """Its last version so far."""
    caps: Mapping[str, int]
    by_owner: bool
    """Whether its owner set the caps."""
    spent: Mapping[str, int]
    reserved: Mapping[str, int]
    epsilon: int
    delta_left: int
    shares: Sequence[Share]
    columns: Sequence[tuple[str, int, int, int]]
    """Column, figures released without noise, held by open jobs, left."""
    rests_on: str


async def read_account(
    client: Client, dataset: str, version: int | None, grantee: str | None
) -> DisclosureAccount:
    """Return an account; raise UsageFault for what is unknown, ProofInvalid where grantees are missing."""
    record: Any = await need_state(client, "datasets", "datasets", dataset, SEE_LIST)
    newest = int(record["version"])
    wanted = newest if version is None else version
    if wanted > newest:
        raise UsageFault(
            f"--version {wanted}: {dataset} has versions 1 to {newest}; see: assent dataset show"
        )
    begun: Any = await client.state("accounts", "begun", dataset) or []
    first = max([1, *(one for one in begun if one <= wanted)])
    caps: Any = await client.state("accounts", "owner_caps", dataset)
    row: Any = await client.state("accounts", "accounts", (dataset, first))
    nothing = dict.fromkeys(NOISE, 0)
    sides = {"spent": nothing, "reserved": nothing} if row is None else row
    names = [key[2] for key in await _keys(client, "shares", dataset, first)]
    shares = await _shares(client, dataset, first, sorted(map(str, names)))
    _check_whole(dataset, sides, shares)
    told: Any = await client.view("accounts", "account_of", {"id": dataset, "version": first})
    columns = await _columns(client, dataset, first, caps or DEFAULT_CAPS)
    chosen = [one for one in shares if grantee in (None, one.grantee)]
    if grantee is not None and not chosen:
        chosen = [Share(grantee, nothing, nothing, 0, await _left(client, dataset, first, grantee))]
    return DisclosureAccount(
        dataset=dataset,
        first=first,
        last=min([newest, *(one - 1 for one in begun if one > first)]),
        caps=caps or DEFAULT_CAPS,
        by_owner=caps is not None,
        spent=sides["spent"],
        reserved=sides["reserved"],
        epsilon=int(told["epsilon"]),
        delta_left=_rest((caps or DEFAULT_CAPS)["delta"], sides, "delta"),
        shares=chosen,
        columns=columns,
        rests_on=trust_line(client),
    )


def _rest(most: int, sides: Any, name: str) -> int:
    return max(0, int(most) - int(sides["spent"][name]) - int(sides["reserved"][name]))


async def _keys(client: Client, map_name: str, dataset: str, first: int) -> list[tuple[str, int, str]]:
    """Return the keys of a Map that are of this account, as our node lists them."""
    found = []
    async for key, _ in client.entries("accounts", map_name):
        whose: Any = key
        if isinstance(key, tuple) and len(key) == 3 and (whose[0], whose[1]) == (dataset, first):
            found.append((str(whose[0]), int(whose[1]), str(whose[2])))
    return found


async def _rows(client: Client, map_name: str, keys: Sequence[tuple[str, int, str]]) -> list[Any]:
    found: list[Any] = []
    for at in range(0, len(keys), LOOKUPS_AT_ONCE):
        some = keys[at : at + LOOKUPS_AT_ONCE]
        found += await asyncio.gather(*[client.state("accounts", map_name, key) for key in some])
    return found


async def _shares(client: Client, dataset: str, first: int, names: Sequence[str]) -> list[Share]:
    rows = await _rows(client, "shares", [(dataset, first, name) for name in names])
    found = []
    for name, row in zip(names, rows, strict=True):
        asked = {"id": dataset, "version": first, "grantee": name}
        told: Any = await client.view("accounts", "share_of", asked)
        left = await _left(client, dataset, first, name)
        found.append(Share(name, row["spent"], row["reserved"], int(told["epsilon"]), left))
    return found


async def _left(client: Client, dataset: str, version: int, grantee: str) -> int:
    asked: dict[str, Value] = {"id": dataset, "version": version, "grantee": grantee, "columns": []}
    told: Any = await client.view("accounts", "left", asked)
    return int(told["epsilon"])


def _check_whole(dataset: str, sides: Any, shares: Sequence[Share]) -> None:
    """Raise ProofInvalid unless what the listed grantees have comes to what the account says."""
    for name in NOISE:
        for side in ("spent", "reserved"):
            listed = sum(getattr(one, side)[name] for one in shares)
            if listed != sides[side][name]:
                raise ProofInvalid(
                    f"account of {dataset}: grantees that the node lists have {name} {listed} {side}, the "
                    f"account proves {sides[side][name]}; ask another node"
                )


async def _columns(
    client: Client, dataset: str, first: int, caps: Mapping[str, int]
) -> list[tuple[str, int, int, int]]:
    keys = sorted(await _keys(client, "figures", dataset, first))
    rows = await _rows(client, "figures", keys)
    return [
        (
            key[2],
            int(row["spent"]),
            int(row["reserved"]),
            max(0, caps["figures"] - row["spent"] - row["reserved"]),
        )
        for key, row in zip(keys, rows, strict=True)
    ]


# --- commands -------------------------------------------------------------------------------------


@click.command("account")
@click.argument("dataset_id", metavar="ID")
@click.option(
    "--version", type=click.IntRange(1), help="Of the account that this version is in; else the newest."
)
@click.option("--grantee", metavar="ORG", help="Only what this organisation has, and what is left for it.")
@json_option
@reports_errors
@session_options
def account(
    session: Session, dataset_id: str, version: int | None, grantee: str | None, as_json: bool
) -> None:
    """Show what figures about ID gave away, what open jobs hold, and what is left of its owner's caps."""

    async def work() -> DisclosureAccount:
        async with session.client() as client:
            return await read_account(client, dataset_id, version, grantee)

    found = run(work())
    if as_json:
        print_json(account_json(found))
    else:
        print_account(found)


def account_json(found: DisclosureAccount) -> Value:
    """Return what `--json` prints; epsilon in 10^-9, delta and rho in 10^-18."""
    return {
        "dataset": found.dataset,
        "versions": [found.first, found.last],
        "caps": dict(found.caps),
        "caps_by_owner": found.by_owner,
        "spent": dict(found.spent),
        "reserved": dict(found.reserved),
        "epsilon": found.epsilon,
        "delta_left": found.delta_left,
        "grantees": [
            {
                "org": one.grantee,
                "spent": dict(one.spent),
                "reserved": dict(one.reserved),
                "epsilon": one.epsilon,
                "left": one.left,
            }
            for one in found.shares
        ],
        "columns": [
            dict(zip(("name", "spent", "reserved", "left"), column, strict=True)) for column in found.columns
        ],
        "rests_on": found.rests_on,
    }


def print_account(found: DisclosureAccount) -> None:
    """Print an account at 80 columns."""
    versions = (
        f"version {found.first}" if found.first == found.last else f"versions {found.first} to {found.last}"
    )
    whose = "caps of its owner" if found.by_owner else "the default caps"
    print_text(f"{found.dataset}: account of {versions}, with {whose}")
    caps = found.caps
    print_table(
        "given away",
        ["", "#spent", "#held by open jobs", "#cap"],
        [
            ["epsilon, added up", *[_epsilon(side["epsilon"]) for side in (found.spent, found.reserved)], ""],
            ["epsilon, composed", _epsilon(found.epsilon), "", _epsilon(caps["epsilon"])],
            [
                "delta",
                *[show_amount(side["delta"], DELTA_DIGITS) for side in (found.spent, found.reserved)],
                show_amount(caps["delta"], DELTA_DIGITS),
            ],
        ],
    )
    if found.shares:
        print_table(
            f"by grantee, each up to epsilon {_epsilon(caps['grantee_epsilon'])}, delta "
            f"{show_amount(caps['grantee_delta'], DELTA_DIGITS)}",
            ["grantee", "#spent", "#held", "#composed", "#left for a figure"],
            [
                [
                    one.grantee,
                    _epsilon(one.spent["epsilon"]),
                    _epsilon(one.reserved["epsilon"]),
                    _epsilon(one.epsilon),
                    _epsilon(one.left),
                ]
                for one in found.shares
            ],
        )
    if found.columns:
        print_table(
            f"figures without noise, each column up to {caps['figures']},"
            f" {caps['grantee_figures']} for one grantee",
            ["column", "#released", "#held", "#left"],
            list(found.columns),
        )
    print_folded(f"{found.rests_on}; what is composed and left is our node's word")


@click.command("caps")
@click.argument("dataset_id", metavar="ID")
@click.option("--epsilon", metavar="E", help="What all figures with noise may come to.")
@click.option("--grantee-epsilon", metavar="E", help="What those of one grantee may come to.")
@click.option("--delta", metavar="D", help="What their deltas may come to, such as 1e-5.")
@click.option("--grantee-delta", metavar="D", help="What those of one grantee may come to.")
@click.option("--figures", metavar="N", help="Figures of a column without noise.")
@click.option("--grantee-figures", metavar="N", help="Those of one grantee.")
@json_option
@reports_errors
@session_options
def caps(session: Session, dataset_id: str, as_json: bool, **given: str | None) -> None:
    """Set caps of ID: what figures about it may give away. Who asks several keys asks them to raise one."""
    asked = {name: _cap(name, text) for name, text in given.items() if text is not None}
    if not asked:
        raise UsageFault(
            "which cap? "
            "give --epsilon, --grantee-epsilon, --delta, --grantee-delta, --figures or --grantee-figures"
        )

    async def work(account: SigningClient) -> Receipt:
        now: Any = await account.client.state("accounts", "owner_caps", dataset_id) or DEFAULT_CAPS
        args: dict[str, Value] = {"id": dataset_id, "caps": dict(asked)}
        return await call(account, "accounts", method_for(asked, now), args, GAS_LIMIT)

    receipt = as_account(session, work)
    if as_json:
        print_json(sent_json(receipt))
    else:
        print_text(
            f"the caps of {dataset_id} are set at height {receipt.height}; see: assent dataset account"
        )


def method_for(asked: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Return the call that sets these caps: what lowers alone is no act that several keys see."""
    return "set_caps" if any(asked[name] > now[name] for name in asked) else "lower_caps"


_CAPS_MOST = {
    "epsilon": (EPSILON_DIGITS, 1_000 * 10**9),
    "grantee_epsilon": (EPSILON_DIGITS, 1_000 * 10**9),
    "delta": (DELTA_DIGITS, 10**15),
    "grantee_delta": (DELTA_DIGITS, 10**15),
    "figures": (0, 10**6),
    "grantee_figures": (0, 10**6),
}


def _cap(name: str, text: str) -> int:
    return parse_amount(text, "--" + name.replace("_", "-"), *_CAPS_MOST[name])


@click.command("begin-account")
@click.argument("dataset_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), required=True, help="The account's first version.")
@click.option("--because", required=True, metavar="TEXT", help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def begin_account(session: Session, dataset_id: str, version: int, because: str, as_json: bool) -> None:
    """Begin a new account of ID with a version: its rows tell nothing of the rows before it."""
    args: dict[str, Value] = {"id": dataset_id, "version": version, "reason": because}
    receipt = send(session, "accounts", "begin", args)
    if as_json:
        print_json(sent_json(receipt))
    else:
        print_text(f"the account of {dataset_id} from version {version} on begins at height {receipt.height}")
