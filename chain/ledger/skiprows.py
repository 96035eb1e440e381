"""Rows of skip decisions: one a height, of heights executed under it and of those to come.

A decision that waits is stored by a command while the node is stopped, so a running node knows all that wait
from its start, and executing looks into memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.ledger.block import SkipDecision
from chain.ledger.skip import check_decision, matches
from chain.ledger.store import rows
from chain.ledger.store.port import Store
from chain.ledger.store.records import Row
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError


class SkipRefused(AssentError):
    """A skip that this node cannot take: the text says why, and nothing was stored."""

    code = "skip_refused"


def check_height(height: int, head: int, settled: int) -> None:
    """Raise SkipRefused unless a skip may wait for this height in a ledger that stands at `head`."""
    if height <= head:
        raise SkipRefused(
            f"skip of height {height}: this node has executed that height (it stands at {head}); if the "
            "others went on under a skip, see docs/skip.md, *A node that could execute it*"
        )
    if height > settled:
        raise SkipRefused(
            f"skip of height {height}: this node stands at {head} and knows the validators up to height "
            f"{settled}; let it catch up first"
        )


class Skips:
    """What was decided about heights that this ledger has not executed yet."""

    def __init__(self, store: Store, chain_id: bytes) -> None:
        self._store, self._chain_id = store, chain_id
        self._waiting: dict[int, SkipDecision] = {}

    def load(self, head: int) -> None:
        """Read the decisions above the head."""
        found = self._store.iterate(prefix=rows.SKIP, start=rows.at(rows.SKIP, head + 1))
        self._waiting = {rows.height_of(key): decode(SkipDecision, row) for key, row in found}

    def waiting(self, height: int) -> SkipDecision | None:
        """Return the decision that waits for a height, whatever is ordered there."""
        return self._waiting.get(height)

    def of(self, height: int, payload: bytes, tx_ids: Sequence[bytes]) -> SkipDecision | None:
        """Return the decision about this batch; one about another batch of its height does nothing."""
        decision = self._waiting.get(height)
        if decision is None or not matches(decision.skip, height, payload, tx_ids):
            return None
        return decision

    def add(
        self, decision: SkipDecision, head: int, settled: int, validators: Callable[[int], Sequence[bytes]]
    ) -> bool:
        """Keep a decision, durably, until its height is executed; return False when it was here already.

        `validators` returns those of a height up to `settled`. Raises ProofInvalid (no quorum of them signed
        it) and SkipRefused; then nothing is stored.
        """
        skip = decision.skip
        what = f"skip of height {skip.height}"
        check_height(skip.height, head, settled)
        check_decision(decision, self._chain_id, validators(skip.height))
        known = self._waiting.get(skip.height)
        if known is not None and known.skip == skip:
            return False
        if known is not None and skip.attempt <= known.skip.attempt:
            raise SkipRefused(
                f"{what}: attempt {skip.attempt}, but attempt {known.skip.attempt} waits here with other "
                "contents; a decision that shall replace it needs a higher attempt"
            )
        self._store.write([(rows.at(rows.SKIP, skip.height), encode(decision))], sync=True)
        self._waiting[skip.height] = decision
        return True

    def rows_of(self, height: int, decision: SkipDecision | None) -> tuple[list[Row], list[bytes]]:
        """Return what executing a height puts and deletes: it was under a decision, or under none."""
        key = rows.at(rows.SKIP, height)
        if decision is not None:
            return [(key, encode(decision))], []
        return [], [key] if height in self._waiting else []

    def executed(self, height: int) -> None:
        """Forget what waited for a height that is durable now."""
        self._waiting.pop(height, None)
