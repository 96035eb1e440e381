"""`assent org eyes`, `pending`, `see` and `drop`: acts that several keys of one's organisation see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import click

from chain.cli.act_words import ActWords, act_words, brief
from chain.cli.governing import own_org, say
from chain.client.acts import (
    KeysAsked,
    PersonsKey,
    Waiting,
    asked_of,
    asked_of_dataset,
    call_of,
    facts,
    moment,
    named,
    persons_keys,
    waiting_of,
    words,
)
from chain.client.calls import as_account, call
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.signing import SigningClient
from chain.client.trust import trust_line
from chain.ledger.block import Receipt
from chain.primitives.acts import ACTS, DATASET_ACTS
from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import ARGS_BYTES_MAX
from chain.primitives.values import Value, decode_value
from chain.primitives.visible import json_text

KEYS_MAX = 32
digest_argument = click.argument("digits", metavar="DIGEST")


class KeysShort(AssentError):
    """A key whose end would leave fewer than an act asks for: the text says which, and what to do first."""

    code = "keys_short"


@click.command()
@click.argument("act", required=False, type=click.Choice(list(ACTS)))
@click.argument("k", required=False, type=click.IntRange(1, KEYS_MAX))
@click.option("--dataset", metavar="ID", default="", help="Of this dataset of one's own alone.")
@json_option
@reports_errors
@session_options
def eyes(session: Session, act: str | None, k: int | None, dataset: str, as_json: bool) -> None:
    """Ask that K keys of one's organisation see an ACT before it is done; without ACT, show what is asked.

    1 asks for no second key. To ask for fewer than before takes as many admins as before.
    """
    if (act is None) != (k is None) or (act is None and dataset):
        raise ConfigError(
            "give ACT and K together, such as: assent org eyes approvals 2; or neither, to look"
        )
    if act is None or k is None:
        _show(session, as_json)
        return
    if dataset and act not in DATASET_ACTS:
        raise ConfigError(f"--dataset: an act of datasets is one of {', '.join(DATASET_ACTS)}, not {act}")
    args: dict[str, Value] = {"act": act, "dataset": dataset, "k": k}

    async def work(account: SigningClient) -> tuple[Receipt, dict[str, int], list[PersonsKey]]:
        receipt = await call(account, "orgs", "set_eyes", args)
        org, client = await own_org(account), account.client
        own = (await asked_of(client, org)).acts
        more = await asked_of_dataset(client, org, dataset) if dataset else {}
        asked = {name: max(own.get(name, 1), more.get(name, 1)) for name in ACTS}
        return receipt, asked, await persons_keys(client, org)

    receipt, asked, keys = as_account(session, work)
    of = f" of {dataset}" if dataset else ""
    say(
        receipt,
        as_json,
        f"{act}{of}: {k} {'keys see it before it is' if k > 1 else 'key does it, and it is'} done, from "
        f"height {receipt.height} on",
        *_warnings(act, k, asked, keys, dataset),
    )


def _warnings(act: str, k: int, asked: dict[str, int], keys: list[PersonsKey], dataset: str) -> list[str]:
    """Say what an organisation would rather know now than when a key is lost.

    `asked` is how many keys each act takes now, of the dataset where one is named.
    """
    if k == 1:
        return []
    able = sum(key.counts(act) for key in keys)
    lines = []
    if able <= k:
        way_out = (
            "members' assent org propose-key" if ACTS[act] == "admin" else "an admin's assent org add-key"
        )
        lines.append(
            f"all {able} keys that count for it are needed: if one is lost, {way_out} is the way out; "
            "register one more now: assent org add-key"
        )
    if ACTS[act] == "steward" and asked["keys"] < k:
        lines.append(
            f"fewer than {k} admins can still register another key that counts; to ask as many of them: "
            f"assent org eyes keys {k}"
        )
    for beside in ("approvers", "versions") if act == "approvals" else ():
        if asked[beside] < k:
            of = f" --dataset {dataset}" if dataset else ""
            lines.append(
                f"fewer than {k} keys can still do {beside}, and so decide who approves; to ask as many: "
                f"assent org eyes {beside} {k}{of}"
            )
    return lines


def _show(session: Session, as_json: bool) -> None:
    async def work(account: SigningClient) -> tuple[str, KeysAsked, list[PersonsKey], str]:
        org = await own_org(account)
        client = account.client
        return org, await asked_of(client, org), await persons_keys(client, org), trust_line(client)

    org, asked, keys, trust = as_account(session, work)
    rows = [
        [act, asked.acts.get(act, 1), asked.datasets.get(act, 0), sum(key.counts(act) for key in keys), role]
        for act, role in ACTS.items()
    ]
    names = ["act", "keys", "datasets that ask more", "keys that count", "role"]
    if as_json:
        print_json({"org": org, "acts": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    print_table(f"keys that see an act of {org}", ["act", *[f"#{name}" for name in names[1:4]], "role"], rows)
    print_text(trust)


@click.command()
@json_option
@reports_errors
@session_options
def pending(session: Session, as_json: bool) -> None:
    """List the acts of one's organisation that wait for other keys: what, seen by whom, and until when."""

    async def work(account: SigningClient) -> tuple[list[Waiting], list[PersonsKey], list[AskedCall]]:
        org, client = await own_org(account), account.client
        found = await waiting_of(client, org)
        now = (await client.header(await client.head())).time if found else 0
        return found, await persons_keys(client, org), [await _asked(client, one, now) for one in found]

    found, keys, asked = as_account(session, work)
    if as_json:
        print_json([{**facts(one), **asks.json()} for one, asks in zip(found, asked, strict=True)])
        return
    if not found:
        print_text("no act of one's organisation waits for another key")
    for one, asks in zip(found, asked, strict=True):
        first, *rest = words(one, keys)
        print_text(first)
        for line in (*asks.lines(), *rest):
            print_text(f"  {line}")


@dataclass(frozen=True, slots=True)
class AskedCall:
    """What a call that waits asks for."""

    args: Value
    said: ActWords = field(default_factory=ActWords)
    unknown: str = ""
    """Why its arguments are not known here."""

    def lines(self) -> list[str]:
        """Say what whoever makes the call signs."""
        if self.unknown:
            return [f"not known here: {self.unknown}"]
        lines = [f"about: {self.said.about}"] if self.said.about else []
        lines.append(f"asks for: {json_text(brief(to_json(self.args)))}")
        if self.said.over:
            lines.append(f"IT CAN NO LONGER SUCCEED: {self.said.over}")
        return lines

    def json(self) -> dict[str, Any]:
        """Return the same for programs, the arguments whole."""
        asks = f"not known here: {self.unknown}" if self.unknown else json_text(to_json(self.args))
        return {"asks": asks, "says": self.said.about, "over": self.said.over}


async def _asked(client: Client, found: Waiting, now: int) -> AskedCall:
    try:
        body = await call_of(client, found)
        args: Any = decode_value(body.args, max_bytes=ARGS_BYTES_MAX)
        if now >= found.until:
            return AskedCall(args, ActWords(over=f"it lapsed at {moment(found.until)}"))
        return AskedCall(args, await act_words(client, found.call, found.org, args, now))
    except AssentError as error:
        return AskedCall(None, unknown=str(error))


@click.command()
@digest_argument
@json_option
@reports_errors
@session_options
def see(session: Session, digits: str, as_json: bool) -> None:
    """Make the call that waits as DIGEST with another key: the last that is asked for does it.

    Look first what it asks for, and whether it can still succeed: assent org pending.
    """

    async def work(account: SigningClient) -> tuple[Receipt, Waiting, AskedCall]:
        client = account.client
        found = named(await waiting_of(client, await own_org(account)), digits)
        body = await call_of(client, found)
        asked = await _asked(client, found, (await client.header(await client.head())).time)
        args = decode_value(body.args, max_bytes=ARGS_BYTES_MAX)
        return await call(account, body.contract, body.method, args, body.gas_limit), found, asked

    receipt, found, asked = as_account(session, work)
    keys = len({key for key, _, _ in found.seen}) + 1
    say(
        receipt,
        as_json,
        f"{found.call} is done at height {receipt.height}: {keys} keys have seen it",
        *asked.lines(),
    )


@click.command()
@digest_argument
@click.option("--reason", default="", help="Why, for whoever reads the ledger (256 characters).")
@json_option
@reports_errors
@session_options
def drop(session: Session, digits: str, reason: str, as_json: bool) -> None:
    """Take back the act that waits as DIGEST: one key is enough."""

    async def work(account: SigningClient) -> tuple[Receipt, Waiting]:
        found = named(await waiting_of(account.client, await own_org(account)), digits)
        args: dict[str, Value] = {"digest": found.digest, "reason": reason}
        return await call(account, "orgs", "drop", args), found

    receipt, found = as_account(session, work)
    say(receipt, as_json, f"{found.call} waits no longer, and was not done")


async def check_enough_left(client: Client, org: str, ending: bytes) -> None:
    """Raise KeysShort where the end of a key would leave fewer keys than an act asks for."""
    asked = await asked_of(client, org)
    keys = await persons_keys(client, org)
    for act, k in asked.acts.items():
        before = [key.public for key in keys if key.counts(act)]
        if ending in before and len(before) <= k:
            raise KeysShort(
                f"{act} asks for {k} keys, and {len(before) - 1} would be left. Register another first "
                f"(assent org add-key), or ask for fewer (assent org eyes {act} {k - 1}). A key in the wrong "
                "hands ends at once with --anyway"
                + (
                    "; then members give the organisation a new admin key: assent org propose-key"
                    if ACTS.get(act) == "admin"
                    else ""
                )
            )


async def act_rows(client: Client, org: str) -> list[list[str]]:
    """Return what an organisation asks several keys for, and what waits, as rows of a table of facts."""
    asked = await asked_of(client, org)
    rows = [["asks several keys", f"{act}: {k}"] for act, k in sorted(asked.acts.items())]
    rows += [
        ["asks several keys", f"{act}: more of {count} of its datasets"]
        for act, count in sorted(asked.datasets.items())
    ]
    for one in await waiting_of(client, org):
        said = f"{one.call}: {len(one.seen)} of {one.needed} keys, until {moment(one.until)}"
        rows.append(["waits for keys", f"{said}; {one.digest.hex()[:16]}"])
    return rows


COMMANDS = (eyes, pending, see, drop)
