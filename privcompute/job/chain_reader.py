"""Reader of the agent's own node: it returns proved state, and sends calls until their outcome is known.

A node that is away is asked again, ever less often; an answer whose proof does not hold is treated like no
answer, and said loudly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from chain.client.answers import NodeUnreachable, RpcError
from chain.client.client import Client
from chain.client.signing import OutcomeUnknown, SigningClient, TransactionFailed
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.settings import split_address
from chain.primitives.values import Value
from privcompute.data.schema import Column, column_declared
from privcompute.job.enforcement import JobRefusal, ProvedFacts
from privcompute.job.view import CertificateRecords, JobMalformed, JobSpec, JobView, parse_spec, parse_view
from privcompute.net.transport import Peer

RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0
GAS_LIMIT = 8_000_000
"""For one step of a job: the last binding asks every grant and its policy contract again."""

LOOKUPS_AT_ONCE = 16
COLUMNS_KEPT = 2_048
"""Declared columns that are remembered: two jobs of as many as a job may use, 32 KiB each at most."""

K = TypeVar("K", str, tuple[str, int])
T = TypeVar("T")
Asking = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]
log = logging.getLogger("assent.agent")


async def patiently(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the node answers with something that is proved; waits grow from 0.2 to 5 s."""
    pause = RETRY_FIRST_S
    while True:
        try:
            return await ask()
        except (NodeUnreachable, RpcError) as error:
            log.warning("%s: %s; asking again in %.1f s", what, error, pause)
        except (ProofInvalid, DecodeError) as error:
            log.error("%s: our node's answer is not proved: %s; asking again in %.1f s", what, error, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)


async def at_once(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a single time: a person who waits would rather read why there is no answer."""
    del what
    return await ask()


class ChainReader:
    """Proved state of our own node, as the records that the agent works with."""

    def __init__(self, client: Client, how: Asking = patiently) -> None:
        """`how` says what becomes of a question without an answer; an agent asks until there is one."""
        self._client, self._how = client, how
        self._specs: dict[str, JobSpec] = {}
        self._columns: dict[tuple[str, bytes, str], Column] = {}
        """(owner, seal, name) -> what is declared; what is sealed never changes."""

    async def state(self, contract: str, map_name: str, key: Value) -> Value | None:
        """Return one proved entry, None when it is proved absent."""
        return await self._how(
            f"{contract}.{map_name}[{str(key)[:160]}]", lambda: self._client.state(contract, map_name, key)
        )

    async def states(self, contract: str, map_name: str, keys: Iterable[K]) -> dict[K, Value]:
        """Return several entries by key."""
        return {key: await self.state(contract, map_name, key) for key in dict.fromkeys(keys)}

    async def columns(self, dataset: str, version: int, names: Iterable[str]) -> dict[str, Column | None]:
        """Return what a version declares of columns, None where it has none of that name.

        Raises SchemaInvalid for a declaration that says nothing.
        """
        owner, record = (
            dataset.partition("/")[0],
            await self.state("datasets", "versions", (dataset, version)),
        )
        if record is None:
            return dict.fromkeys(names)
        keys = {name: (owner, record["schema"], name) for name in names}
        unknown = [key for key in keys.values() if key not in self._columns]
        for at in range(0, len(unknown), LOOKUPS_AT_ONCE):
            some = unknown[at : at + LOOKUPS_AT_ONCE]
            rows = await asyncio.gather(*[self.state("datasets", "columns", key) for key in some])
            if len(self._columns) + len(some) > COLUMNS_KEPT:
                self._columns = {key: self._columns[key] for key in keys.values() if key in self._columns}
            found = zip(some, rows, strict=True)
            self._columns |= {key: column_declared(row) for key, row in found if row is not None}
        return {name: self._columns.get(key) for name, key in keys.items()}

    async def job(self, job: str) -> JobView | None:
        """Return a job as the ledger shows it now, None when it shows none."""
        raw = await self.state("jobs", "jobs", job)
        if raw is None:
            return None
        if job not in self._specs:
            self._specs[job] = parse_spec(job, await self.state("jobs", "specs", job))
        return parse_view(self._specs[job], raw)

    def forget(self, job: str) -> None:
        """Drop what is remembered of a finished job."""
        self._specs.pop(job, None)

    async def facts(self, view: JobView, org: str) -> ProvedFacts:
        """Return everything that enforcement judges for `org`; how its grants stand is read last: newest.

        (Profiles come after them, and never change.)
        """
        spec, own = view.spec, view.inputs_of(org)
        current = await self.job(view.id) or view
        named = [view.initiator, *[one.org for one in spec.participants]]
        orgs = await self.states("orgs", "orgs", named)
        program = await self.state("programs", "programs", spec.program)
        datasets = await self.states("datasets", "datasets", (one.dataset for one in spec.inputs))
        versions = await self.states(
            "datasets", "versions", ((one.dataset, one.version) for one in spec.inputs)
        )
        ids = [one.grant for one in own]
        held = {grant: await self.state("grants", "live", (grant, view.id)) for grant in dict.fromkeys(ids)}
        grants = await self.states("grants", "grants", ids)
        standing = await self.states("grants", "standing", ids)
        profiles = {spec.profile, *(grant["profile"] for grant in grants.values() if grant is not None)}
        records = await self.states("grants", "profiles", sorted(profiles))
        ranks = {name: record["rank"] for name, record in records.items() if record is not None}
        return ProvedFacts(current, grants, standing, held, datasets, versions, orgs, program, ranks)

    async def peers(self, spec: JobSpec, me: str) -> dict[int, Peer]:
        """Return address and key of the other participants' agents, by index."""
        found: dict[int, Peer] = {}
        for index, one in enumerate(spec.participants):
            if one.org == me:
                continue
            record: Any = await self.state("orgs", "orgs", one.org)
            try:
                host, port = split_address(record["agent_address"])
            except (TypeError, KeyError, ValueError):
                raise JobRefusal(
                    "AGENT_ADDRESS_UNUSABLE",
                    f"{one.org}: no usable agent address on the ledger; its operator registers one with: "
                    "assent org set-agent",
                    org=one.org,
                ) from None
            found[index] = (host, port, one.agent_key)
        return found

    async def transcripts(self, view: JobView) -> dict[str, Mapping[str, bytes]]:
        """Return every participant's channel hashes; raise JobMalformed when one is missing."""
        names = [one.org for one in view.spec.participants]
        found = await self._of_parties("transcripts", view.id, names)
        return {name: dict(record) for name, record in found.items()}

    async def records(self, view: JobView) -> CertificateRecords:
        """Return what the job certificate covers."""
        names = [one.org for one in view.spec.participants]
        bindings = await self._of_parties("bindings", view.id, sorted(set(view.owners)))
        heads = await self._of_parties("stage_heads", view.id, names)
        results = await self._of_parties("results", view.id, view.spec.receivers)
        return CertificateRecords(
            bindings={name: record["commitment"] for name, record in bindings.items()},
            stages={name: (record["count"], record["hash"]) for name, record in heads.items()},
            transcripts=await self.transcripts(view),
            results={
                name: {key: record[key] for key in ("hash", "schema", "metrics")}
                for name, record in results.items()
            },
        )

    async def page(self, spec: JobSpec) -> Value | None:
        """Return the text of a job's page; None where the state has no such page."""
        return await self.state("programs", "pages", spec.page)

    async def key(self, dataset: str, version: int) -> tuple[str, ...]:
        """Return the columns of the key that a version declares; none where it has no such version."""
        record: Any = await self.state("datasets", "versions", (dataset, version))
        if record is None:
            return ()
        place = (dataset.partition("/")[0], record["schema"])
        schema: Any = await self.state("datasets", "schemas", place)
        return () if schema is None else tuple(schema["key"])

    async def _of_parties(self, map_name: str, job: str, names: Iterable[str]) -> dict[str, Any]:
        found = {}
        for name in names:
            record = await self.state("jobs", map_name, (job, name))
            if record is None:
                raise JobMalformed(f"job {job[:12]}: our node shows no {map_name} of {name}")
            found[name] = record
        return found


async def send_until_known(account: SigningClient, contract: str, method: str, args: dict[str, Value]) -> str:
    """Send a call until its outcome is known; return "" for success, else the ledger's refusal code.

    A call whose outcome stays unknown is sent again: the steps of a job may be repeated.
    """
    pause = RETRY_FIRST_S
    while True:
        try:
            await account.send(contract, method, args, gas_limit=GAS_LIMIT)
        except TransactionFailed as refused:
            return refused.reason or refused.receipt.status.upper()
        except (NodeUnreachable, RpcError, OutcomeUnknown, ProofInvalid, DecodeError) as error:
            log.warning("%s.%s: %s; sending again in %.1f s", contract, method, error, pause)
        else:
            return ""
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)
