"""Skip decisions in an audit package: that all are there and hold, and what the report says of them."""

from __future__ import annotations

from chain.audit.records import Contents
from chain.audit.text import shown
from chain.ledger.batch_executor import SKIPPED, SKIPPED_BY_DECISION
from chain.ledger.block import SkipDecision, skip_digest, transaction_id
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.skip import check_decision
from chain.primitives.errors import ProofInvalid
from chain.primitives.words import counted


def check_skip(contents: Contents, verifier: ProofVerifier, decision: SkipDecision) -> None:
    """Raise ProofInvalid unless a quorum of the proved set of its height signed what the header names."""
    height = decision.skip.height
    header = contents.header(height, f"skip decision of height {height}").headers[0]
    if header.skip != skip_digest(verifier.chain_id, decision.skip):
        raise ProofInvalid(f"skip decision of height {height}: the header names another one, or none")
    check_decision(decision, verifier.chain_id, verifier.validators_at(height))


def check_complete(contents: Contents) -> None:
    """Raise ProofInvalid unless each header that names a decision comes with it, once, and receipts agree.

    Headers that only lead from one to its certificate need none.
    """
    held = sorted([decision.skip.height for decision in contents.skips])
    named = sorted([height for height, proof in contents.headers.items() if proof.headers[0].skip])
    if held != named:
        raise ProofInvalid(f"headers name skip decisions of heights {named}, the package has those of {held}")
    skipped = {(item.skip.height, tx_id) for item in contents.skips for tx_id in item.skip.tx_ids}
    for item in contents.receipts:
        receipt = item.receipt
        where = f"receipt of {receipt.tx_id.hex()[:16]} at height {receipt.height}"
        decided = (receipt.height, receipt.tx_id) in skipped
        if receipt.code == SKIPPED_BY_DECISION and not decided:
            raise ProofInvalid(f"{where}: skipped by decision, but none names it")
        if receipt.status != SKIPPED and decided:
            raise ProofInvalid(f"{where}: it ran, though a decision says that it does not")


def report_lines(contents: Contents) -> list[str]:
    """Return the report's section; empty when nothing was skipped by decision."""
    if not contents.skips:
        return []
    lines = ["Skipped by decision (no node could execute the block otherwise)", ""]
    here = {transaction_id(item.transaction.body): item.transaction.body for item in contents.transactions}
    for decision in contents.skips:
        skip = decision.skip
        count = counted(len(skip.tx_ids), "transaction")
        lines.append(
            f"- height {skip.height}: {count}, decided by {len(decision.signatures)} "
            f"validators at attempt {skip.attempt}: {shown(skip.reason)}"
        )
        lines += [f"    signed by {key.hex()}" for key, _ in decision.signatures]
        lines += [
            f"    {tx_id.hex()} {here[tx_id].contract}.{here[tx_id].method}"
            for tx_id in skip.tx_ids
            if tx_id in here
        ]
    return lines
