"""Skip decision: when it counts, by one rule for a node, for another node's block and for an auditor.

A batch that consensus ordered, and that no node can execute, stops the chain: every start meets it again. A
quorum of the validators of its height may then decide, outside consensus, that some of its transactions do
not run. `consensus/README.md` (*Skip*) argues why that cannot fork the chain. Nothing here reads a store.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import SKIP_REASON_CHARS, Block, Skip, SkipDecision, skip_digest
from chain.primitives.certificate import check_quorum, payload_digest
from chain.primitives.errors import ProofInvalid


def check_decision(decision: SkipDecision, chain_id: bytes, validators: Sequence[bytes]) -> None:
    """Raise ProofInvalid unless a quorum of the height's validators signed it, with a reason fit to print."""
    skip = decision.skip
    where = f"skip decision of height {skip.height}"
    if fault := reason_fault(skip.reason):
        raise ProofInvalid(f"{where}: {fault}")
    check_quorum(where, decision.signatures, skip_digest(chain_id, skip), validators)


def reason_fault(reason: str) -> str:
    """Return what makes a reason unfit for reports and logs; empty when nothing does."""
    if not 1 <= len(reason) <= SKIP_REASON_CHARS:
        return f"a reason of {len(reason)} characters: expected 1..{SKIP_REASON_CHARS}"
    if not reason.isprintable() or reason != reason.strip():
        return f"reason {reason!r}: expected one line of printable characters, without spaces around it"
    return ""


def matches(skip: Skip, height: int, payload: bytes, tx_ids: Sequence[bytes]) -> bool:
    """Tell whether a skip speaks of this batch and of transactions in it, in the batch's order."""
    if (skip.height, skip.batch) != (height, payload_digest(payload)):
        return False
    rest = iter(tx_ids)
    return all(tx_id in rest for tx_id in skip.tx_ids)  # each is looked for behind the one before


def check_block_skip(
    block: Block, tx_ids: Sequence[bytes], chain_id: bytes, validators: Sequence[bytes]
) -> None:
    """Raise ProofInvalid unless a block carries the very decision that its certified header names, or none.

    `tx_ids` are its batch's, `validators` those of its own height. What the header names must be known before
    the block is executed: without it, execution would run what nobody can.
    """
    header, decision = block.header, block.skip
    where = f"block {header.height}"
    if decision is None:
        if header.skip is not None:
            raise ProofInvalid(f"{where}: its header names a skip decision, which is not there")
        return
    if header.skip != skip_digest(chain_id, decision.skip):
        raise ProofInvalid(f"{where}: its skip decision is not the one that its header names")
    if not matches(decision.skip, header.height, block.payload, tx_ids):
        raise ProofInvalid(f"{where}: its skip decision is of another batch")
    check_decision(decision, chain_id, validators)
