"""Skip decisions in an audit package: that they hold, and what the report says of them."""

from __future__ import annotations

from chain.audit.records import Contents
from chain.audit.text import shown
from chain.ledger.batch_executor import SKIPPED, SKIPPED_BY_DECISION
from chain.ledger.block import Header, SkipDecision, skip_digest
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.skip import check_decision
from chain.primitives.errors import ProofInvalid
from chain.primitives.words import counted


def check_skip(header: Header, verifier: ProofVerifier, decision: SkipDecision) -> None:
    """Raise ProofInvalid unless a quorum of the proved set of its height signed what the header names."""
    height = decision.skip.height
    if header.skip != skip_digest(verifier.chain_id, decision.skip):
        raise ProofInvalid(f"skip decision of height {height}: the header names another one, or none")
    check_decision(decision, verifier.chain_id, verifier.validators_at(height))


def check_outcomes(contents: Contents) -> None:
    """Raise ProofInvalid where a receipt and a decision disagree about whether a transaction ran."""
    skipped = {(item.skip.height, tx_id) for item in contents.skips for tx_id in item.skip.tx_ids}
    for tx_id, one in contents.caused.items():
        where = f"receipt of {tx_id.hex()[:16]} at height {one.height}"
        decided = (one.height, tx_id) in skipped
        if one.code == SKIPPED_BY_DECISION and not decided:
            raise ProofInvalid(f"{where}: skipped by decision, but none names it")
        if one.status != SKIPPED and decided:
            raise ProofInvalid(f"{where}: it ran, though a decision says that it does not")


def report_lines(contents: Contents) -> list[str]:
    """Return the report's section; empty when nothing was skipped by decision."""
    if not contents.skips:
        return []
    lines = ["Skipped by decision (no node could execute the block otherwise)", ""]
    for decision in contents.skips:
        skip = decision.skip
        count = counted(len(skip.tx_ids), "transaction")
        lines.append(
            f"- height {skip.height}: {count}, decided by {len(decision.signatures)} "
            f"validators at attempt {skip.attempt}: {shown(skip.reason)}"
        )
        lines += [f"    signed by {key.hex()}" for key, _ in decision.signatures]
        lines += [
            f"    {tx_id.hex()} {contents.caused[tx_id].contract}.{contents.caused[tx_id].method}"
            for tx_id in skip.tx_ids
            if tx_id in contents.caused
        ]
    return lines
