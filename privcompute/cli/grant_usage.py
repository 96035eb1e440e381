"""`assent grant usage`: what was granted, which jobs used it as what, and what was never used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import click

from chain.client.client import Client
from chain.client.console import Missing, json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.client.trust import trust_line
from chain.ledger.block import EventEntry
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import RESULT_BYTES_MAX
from chain.primitives.values import Value, decode_value, encode_value
from chain.primitives.words import counted
from privcompute.cli.common import UsageFault
from privcompute.cli.page_needs import allows_no_more, enough_for

GRANTS_MAX = 100
"""Grants of one page of the report."""
JOBS_MAX = 200
"""Jobs of one grant whose specs are read, the newest."""
LOOKUPS_AT_ONCE = 16
_USED, _RETURNED = "joining", "returned"
"""Phases of a job at which it uses its run of a grant, and gives it back."""


@dataclass(frozen=True, slots=True)
class ColumnUsage:
    """A granted column and what jobs made of it."""

    name: str
    constraint: str
    jobs: Mapping[str, tuple[str, ...]]
    """Use -> the jobs that made it, the newest last."""

    @property
    def enough(self) -> str:
        """The strictest constraint that covers the uses that were made; "" where there were none."""
        return enough_for(sorted(self.jobs)) if self.jobs else ""


@dataclass(frozen=True, slots=True)
class GrantUsage:
    """A grant and what jobs used of it."""

    id: str
    dataset: str
    grantee: str
    status: str
    runs: int
    jobs: tuple[str, ...]
    """Jobs that used a run, the newest last."""
    looked_at: int
    """How many of them, the newest, are counted by column."""
    columns: tuple[ColumnUsage, ...]

    @property
    def whole(self) -> bool:
        """Whether all of its jobs were looked at."""
        return self.looked_at == len(self.jobs)


@click.command("usage")
@click.argument("grant_id", metavar="[ID]", required=False)
@click.option("--unused", is_flag=True, help="Only columns that no job used, or of which less is enough.")
@click.option("--dataset", "dataset_id", help="Only grants on this dataset.")
@click.option("--after", metavar="ID", default="", help="Go on behind this grant.")
@click.option(
    "--limit", type=click.IntRange(1, GRANTS_MAX), default=20, show_default=True, help="Grants at most."
)
@json_option
@reports_errors
@session_options
def usage(
    session: Session,
    grant_id: str | None,
    unused: bool,
    dataset_id: str | None,
    after: str,
    limit: int,
    as_json: bool,
) -> None:
    """Say of each granted column which jobs used it as what, and what was never used.

    A job used what its inputs name once its owners began to join. With a genesis each grant's history is
    proved to be whole, so "never used" is proved, too; which grants there are is the node's word.
    """

    async def work() -> tuple[list[GrantUsage], str, str]:
        async with session.client() as client:
            chosen, following = await _chosen(client, grant_id, dataset_id, after, limit)
            found = [await usage_of(client, one) for one in chosen]
            return found, following, trust_line(client)

    found, following, trust = run(work())
    if as_json:
        print_json({"grants": [usage_json(one, unused=unused) for one in found], "next": following or None})
        return
    for one in found:
        _print(one, unused=unused)
    if not found:
        print_text("no such grant was ever in force; see: assent grant list")
    if following:
        print_text(f"more grants: --after {following}")
    print_text(trust)


async def _chosen(
    client: Client, grant_id: str | None, dataset: str | None, after: str, limit: int
) -> tuple[list[str], str]:
    """Return the ids of a page of grants in order, and behind which one the next page begins, "" for none."""
    if grant_id is not None:
        if await client.state("grants", "grants", grant_id) is None:
            raise UsageFault(f"{grant_id!r}: the ledger has no such grant; see: assent grant list")
        return [grant_id], ""
    ids: list[str] = []
    async for ident, record in client.entries("grants", "grants"):
        grant: Any = record
        if str(ident) > after and dataset in (None, grant["dataset"]):
            ids.append(str(ident))
    ids.sort()
    return ids[:limit], ids[limit - 1] if len(ids) > limit else ""


async def usage_of(client: Client, ident: str) -> GrantUsage:
    """Return what jobs used of a grant, from its whole history; raise ProofInvalid for one that is not."""
    grant: Any = await client.state("grants", "grants", ident)
    standing: Any = await client.state("grants", "standing", ident)
    jobs = used_by(await client.history(f"grant:{ident}", 0, await client.head()))
    newest = jobs[-JOBS_MAX:]
    specs: list[Any] = []
    for at in range(0, len(newest), LOOKUPS_AT_ONCE):
        specs += await asyncio.gather(*[_spec(client, job) for job in newest[at : at + LOOKUPS_AT_ONCE]])
    return GrantUsage(
        ident,
        str(grant["dataset"]),
        str(grant["grantee"]),
        "requested" if standing is None else str(standing["status"]),
        int(grant["quota_runs"]),
        tuple(jobs),
        len(newest),
        tuple(columns_used(ident, grant["columns"], list(zip(newest, specs, strict=True)))),
    )


async def _spec(client: Client, job: str) -> Any:
    """Return a job's spec, which its id proves."""
    spec = await client.state("jobs", "specs", job)
    if spec is None or sha256(encode_value(spec)).hexdigest() != job:
        raise ProofInvalid(f"job {job[:16]}: the node shows no spec of this id; ask another node")
    return spec


def used_by(entries: Sequence[EventEntry]) -> list[str]:
    """Return the jobs that used a run of a grant and did not give it back, the newest last."""
    found: dict[str, None] = {}
    for entry in entries:
        if (entry.event.contract, entry.event.name) != ("grants", "GrantUsed"):
            continue
        fields: Any = decode_value(entry.event.fields, max_bytes=RESULT_BYTES_MAX)
        job = str(fields["job"]).removeprefix("job:")
        if fields["phase"] == _USED:
            found[job] = None
        elif fields["phase"] == _RETURNED:
            found.pop(job, None)
    return list(found)


def columns_used(
    ident: str, columns: Mapping[str, str], specs: Sequence[tuple[str, Any]]
) -> Iterator[ColumnUsage]:
    """Yield each granted column with the jobs that used it."""
    made: dict[str, dict[str, list[str]]] = {}
    for job, spec in specs:
        for item in spec["inputs"]:
            if item["grant"] == ident:
                for name, use in item["columns"].items():
                    made.setdefault(name, {}).setdefault(use, []).append(job)
    for name, constraint in sorted(columns.items()):
        jobs = {use: tuple(several) for use, several in sorted(made.get(name, {}).items())}
        yield ColumnUsage(name, constraint, jobs)


def verdict(grant: GrantUsage, column: ColumnUsage) -> str:
    """Say what of a column was not used, "" where all was."""
    among = "" if grant.whole else f" by the newest {grant.looked_at} jobs"
    if not column.jobs:
        return f"never used{among}"
    if column.enough != column.constraint and allows_no_more(column.enough, column.constraint):
        return f"{column.enough} was enough{among}"
    return ""


def usage_json(grant: GrantUsage, *, unused: bool) -> Value:
    """Return what `--json` says of a grant."""
    return {
        "id": grant.id,
        "dataset": grant.dataset,
        "grantee": grant.grantee,
        "status": grant.status,
        "runs": grant.runs,
        "jobs": list(grant.jobs),
        "looked_at": grant.looked_at,
        "columns": [
            {
                "name": one.name,
                "constraint": one.constraint,
                "jobs": {use: list(jobs) for use, jobs in one.jobs.items()},
                "unused": verdict(grant, one),
            }
            for one in grant.columns
            if verdict(grant, one) or not unused
        ],
    }


def _print(grant: GrantUsage, *, unused: bool) -> None:
    used = f"{counted(len(grant.jobs), 'job')} used it"
    print_text(
        f"{grant.id}: {grant.status}, of {grant.grantee} on {grant.dataset}; {used}, of {grant.runs} runs"
    )
    rows = [
        [
            one.name,
            one.constraint,
            [f"{use} by {counted(len(jobs), 'job')}" for use, jobs in one.jobs.items()],
            [jobs[-1][:16] for jobs in one.jobs.values()],
            Missing(verdict(grant, one)),
        ]
        for one in grant.columns
        if verdict(grant, one) or not unused
    ]
    if rows:
        print_table("columns", ["column", "granted", "used as", "last by job", "not used"], rows)
