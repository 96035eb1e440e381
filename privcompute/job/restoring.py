"""Restoring of a receiver's result whose file is missing or damaged, from what the holders still have."""

from __future__ import annotations

import asyncio
import logging

from privcompute.data.evidence import EvidenceLog
from privcompute.data.results import ResultError, ResultStore, make_result
from privcompute.job.environment import JobEnvironment
from privcompute.job.holding import HeldShares, shares_digest
from privcompute.job.release import Asker, gather_result, join_of_job, make_offer
from privcompute.job.view import JobView
from privcompute.programs.registry import PROGRAMS

SECONDS = 60.0
"""How long the holders are asked at a time."""

log = logging.getLogger("assent.agent")


async def restore_result(environment: JobEnvironment, view: JobView) -> bool:
    """Make the result of a certified job again if it is ours and its file is no good; tell whether we did.

    The salt is in our evidence log; only what hashes to our commitment on the ledger is stored. A pure join's
    count is not restored: its way back needs every owner at once. Raises SealedError, ResultError,
    NotWritten, and what asking raises.
    """
    identity, stores, reader = environment.identity, environment.stores, environment.node.reader
    me = view.party[identity.org]
    if me not in view.receiver_parties or join_of_job(view) is not None or _is_good(stores.results, view.id):
        return False
    salt = await asyncio.to_thread(_salt_of, stores.evidence, view.id)
    held = HeldShares.decode(await asyncio.to_thread(stores.held.load, view.id))
    offer = make_offer(view, identity.org, held)
    peers = await reader.peers(view.spec, identity.org)
    with Asker(view, me, peers, identity.key, None if offer is None else offer.bytes_max) as asker:
        values = await gather_result(asker, view, me, offer, held.commitments, SECONDS)
    program, shares = PROGRAMS[view.spec.program], shares_digest(held.commitments)
    made = make_result(
        view.id, program.id, view.spec.profile, program.output, values, shares=shares, salt=salt
    )
    committed = await reader.state("jobs", "results", (view.id, identity.org))
    if committed is None or committed["hash"] != made.hash:
        raise ResultError(f"job {view.id[:8]}: the result made again is not the one that we committed to")
    stores.results.save(made)
    log.info("job %s: its result was missing or damaged, and is made again from shares", view.id[:8])
    return True


def _is_good(results: ResultStore, job: str) -> bool:
    try:
        return results.load(job) is not None
    except ResultError as error:
        log.error("job %s: %s; asking the holders again", job[:8], error)
        return False


def _salt_of(evidence: EvidenceLog, job: str) -> bytes:
    entries = (entry for entry in evidence.entries() if (entry.job, entry.kind) == (job, "result"))
    salts = [entry.body["salt"]["$bytes"] for entry in entries]
    if not salts:
        raise ResultError(f"{evidence.path}: no salt of the result of job {job[:8]}; restore it from backup")
    return bytes.fromhex(salts[-1])
