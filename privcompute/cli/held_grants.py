"""Which grants an organisation holds for what a page needs, each proved, and what is missing."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain.client.client import Client
from privcompute.cli.amounts import EPSILON_DIGITS, show_amount
from privcompute.cli.common import UsageFault
from privcompute.cli.page_needs import Basis, Needs, lacking

LOOKUPS_AT_ONCE = 16
CANDIDATES_MAX = 256
"""Grants of one organisation on one dataset that are looked at, the newest: as many as may be active."""


@dataclass(frozen=True, slots=True)
class HeldFor:
    """What is held for one dataset of a page."""

    dataset: str
    version: int
    needed: Mapping[str, str]
    """Column -> constraint."""
    grant: str
    """The grant that comes nearest; "" where there is none."""
    columns: Mapping[str, str]
    """Column -> constraint, as granted."""
    missing: tuple[str, ...]
    """What keeps a job from using it, in words; none where nothing does."""

    def missing_of(self, column: str) -> str:
        """Say what is missing of a column, "" for nothing."""
        return dict(lacking(self.columns, {column: self.needed[column]})).get(column, "")


async def inferred(client: Client, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return for each name the one dataset of the ledger that is called so; raise UsageFault otherwise."""
    found: dict[str, list[str]] = {name: [] for name in names}
    async for ident, _ in client.entries("datasets", "datasets"):
        name = str(ident).partition("/")[2]
        if name in found:
            found[name].append(str(ident))
    for name, several in found.items():
        if len(several) != 1:
            known = ", ".join(several[:8]) or "none is called so"
            raise UsageFault(
                f"which dataset stands for {name}? give --input {name}=OWNER/DATASET, and so for each of the "
                f"page ({known})"
            )
    return {name: (several[0], 0) for name, several in found.items()}


async def held_grants(client: Client, org: str, needs: Needs) -> list[HeldFor]:
    """Return for each dataset of a page the organisation's grant that comes nearest, and what it lacks."""
    places = [place for place in dict.fromkeys(needs.inputs.values()) if needs.of_dataset(*place)]
    mine: dict[str, list[str]] = {dataset: [] for dataset, _ in places}
    async for ident, record in client.entries("grants", "grants"):
        found: Any = record
        if found["grantee"] == org and found["dataset"] in mine:
            mine[found["dataset"]].append(str(ident))
    now = (await client.header(await client.head())).time
    return [await _nearest(client, needs, place, mine[place[0]][-CANDIDATES_MAX:], now) for place in places]


async def _nearest(
    client: Client, needs: Needs, place: tuple[str, int], candidates: Sequence[str], now: int
) -> HeldFor:
    needed = needs.of_dataset(*place)
    best = HeldFor(*place, needed, "", {}, tuple([f"{name} is not granted" for name in needed]))
    least = len(needed) + 8
    for at in range(0, len(candidates), LOOKUPS_AT_ONCE):
        some = candidates[at : at + LOOKUPS_AT_ONCE]
        proved = await asyncio.gather(*[_proved(client, ident) for ident in some])
        for ident, (grant, standing) in zip(some, proved, strict=True):
            if grant is None:
                continue
            missing = tuple(_missing(grant, standing, needs, place, now))
            if len(missing) < least:
                best, least = HeldFor(*place, needed, ident, dict(grant["columns"]), missing), len(missing)
    return best


async def _proved(client: Client, ident: str) -> tuple[Any, Any]:
    return await client.state("grants", "grants", ident), await client.state("grants", "standing", ident)


def _missing(grant: Any, standing: Any, needs: Needs, place: tuple[str, int], now: int) -> Iterator[str]:
    """Yield what keeps jobs of a page from using a grant, from proved rows alone."""
    dataset, version = place
    status = "requested" if standing is None else standing["status"]
    if status != "active":
        yield f"it is {status}"
    elif standing["used"] + standing["reserved"] >= grant["quota_runs"]:
        yield f"its {grant['quota_runs']} runs are used or reserved"
    if grant["version"] != version:
        yield f"it is on version {grant['version']}, not {version}"
    if not grant["not_before"] <= now < grant["expires"]:
        yield "its time has not come or is over"
    if needs.program not in grant["programs"]:
        yield f"it does not name program {needs.program}" if needs.program else "its page is no program yet"
    for receiver in needs.receivers:
        if receiver not in grant["receivers"]:
            yield f"{receiver} may not receive"
    for org in needs.membership_of(dataset, version):
        if org not in (*grant["membership"], grant["owner"]):
            yield f"{org} may not learn which rows are joined"
    taken, most = int(needs.charge_of(dataset, version)["epsilon"]), grant["run_epsilon"]
    if taken > most:
        shown = [show_amount(amount, EPSILON_DIGITS) for amount in (most, taken)]
        yield f"a run may take epsilon {shown[0]}, and takes {shown[1]}"
    for name, what in lacking(grant["columns"], needs.of_dataset(dataset, version)):
        yield f"{name}: {what}"


def asking(page: str, basis: Basis, org: str, held: HeldFor, given: Sequence[str]) -> str:
    """Return the command that asks for what a page needs of a dataset; `given` are its --set options."""
    words = ["assent", "grant", "request", f"{org}/NAME", "--for", page, "--dataset", held.dataset]
    for name, (dataset, version) in basis.inputs.items():
        words += ["--input", f"{name}={dataset}@{version}"]
    for text in given:
        words += ["--set", text]
    return f"{shlex.join(words)} --purpose PURPOSE --legal-basis TEXT --expires 30d"
