"""Restoring of a receiver's result, from what the holders still have.

Its file is missing or damaged, or it could not be written before the job's time was over.
"""

from __future__ import annotations

import asyncio
import logging

from chain.primitives.values import Value
from privcompute.data.evidence import EvidenceLog
from privcompute.data.results import ResultError, ResultStore
from privcompute.job.environment import JobEnvironment
from privcompute.job.holding import HeldShares, shares_digest
from privcompute.job.release import Asker, gather_result, make_offer
from privcompute.job.steps import keep_result, result_of
from privcompute.job.view import JobView

SECONDS = 60.0
"""How long the holders are asked at a time."""

log = logging.getLogger("assent.agent")


async def restore_result(environment: JobEnvironment, view: JobView) -> bool:
    """Make the result of a revealed job if it is ours and its file is no good; tell whether we did.

    Where we committed to it, the salt is in our evidence log, and only what hashes to our commitment on the
    ledger is stored. Where the job ended before we did, it gets a fresh one, and nobody certifies it. Raises
    SealedError, ResultError, NotWritten, and what asking raises.
    """
    identity, stores, reader = environment.identity, environment.stores, environment.node.reader
    me = view.party[identity.org]
    if me not in view.receiver_parties or _is_good(stores.results, view.id):
        return False
    committed = await reader.state("jobs", "results", (view.id, identity.org))
    salt = None if committed is None else await asyncio.to_thread(_salt_of, stores.evidence, view.id)
    held = HeldShares.decode(await asyncio.to_thread(stores.held.load, view.id))
    offer = make_offer(view, identity.org, held)
    peers = await reader.peers(view.spec, identity.org)
    with Asker(view, me, peers, identity.key, None if offer is None else offer.bytes_max) as asker:
        values = await gather_result(asker, view, me, offer, held.commitments, SECONDS)
    if salt is None:
        result, salt = keep_result(stores.results, view, values, held.commitments)
        entry: dict[str, Value] = {"hash": result.hash, "salt": salt, "schema": result.schema}
        stores.evidence.append(environment.now_ms(), view.id, "result", entry)
        log.info("job %s: its result is stored at last; the job ended before it was committed", view.id[:8])
        return True
    made = result_of(view, values, shares_digest(held.commitments), salt)
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
