"""Proofs from a node's RPC: `proof` fields hold canonical codec records in hex, decoded here and not checked.

What a node answers is hostile until a verifier has checked it (`chain.client.client`, `chain.audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from chain.client.answers import height_of, reading
from chain.ledger.block import EventEntry, Header, SkipDecision
from chain.ledger.proof.proofs import (
    HeaderProof,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.ledger.proof.prover import SET_CHANGES_MAX
from chain.ledger.proof.verifier import ProofVerifier
from chain.primitives.codec import decode
from chain.primitives.errors import LimitError
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value

PAGE_ENTRIES = 500
"""Entries of a subject's log that are asked for in one page."""
HISTORY_PARTS_MAX = 1_024
"""Parts of a megabyte: more than the largest provable history."""

R = TypeVar("R")


class Requester(Protocol):
    """What calls RPC methods of one node."""

    @property
    def url(self) -> str:
        """The node's address, which errors name."""

    async def request(self, rpc_method: str, **params: Any) -> Any:
        """Return the result of one call; raise AssentError."""


class SetChanges(Protocol):
    """What has the changes of the validator set: a node, or a ledger."""

    async def set_changes(self, above: int) -> Sequence[SetChange]:
        """Return the validator sets in force from heights above this one; call again above the last."""


class NodeProofs:
    """Asks one node for proofs; each method raises BadAnswer where the answer is not what it asked for."""

    def __init__(self, node: Requester) -> None:
        """Ask this node."""
        self._node = node

    async def head(self) -> int:
        """Return the certified height."""
        return height_of(self._node.url, await self._node.request("getBlockNumber"))

    async def header(self, height: int) -> Header:
        """Return a header as the node shows it; no proof comes with it."""
        return (await self.header_proof(height)).headers[0]

    async def header_proof(self, height: int) -> HeaderProof:
        """Return a header, which comes first in its proof, with that proof."""
        answer = await self._node.request("getHeader", height=height)
        return self._proof(HeaderProof, "getHeader", answer)

    async def entries(
        self, subject: str, first: int, last: int, after: str | None
    ) -> tuple[tuple[EventEntry, ...], str | None]:
        """Return one page of a subject's log at heights first..last, and the cursor of the next page."""
        answer = await self._node.request(
            "getEvents", subject=subject, fromHeight=first, toHeight=last, limit=PAGE_ENTRIES, after=after
        )
        with reading(self._node.url, "getEvents"):
            entries = tuple([decode(EventEntry, bytes.fromhex(item["raw"])) for item in answer["entries"]])
            following = answer["next"]
        return entries, None if following is None else str(following)

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        """Return a transaction with its proof; None when the node knows none."""
        answer = await self._node.request("getTransaction", id=tx_id.hex(), withProof=True)
        return None if answer is None else self._proof(ProvedTransaction, "getTransaction", answer)

    async def receipt(self, tx_id: bytes, wait_ms: int = 0) -> ProvedReceipt | None:
        """Return a receipt with its proof; None when the node knows none within `wait_ms`."""
        wait = {"waitMs": wait_ms} if wait_ms else {}
        answer = await self._node.request("getTransactionReceipt", id=tx_id.hex(), withProof=True, **wait)
        return None if answer is None else self._proof(ProvedReceipt, "getTransactionReceipt", answer)

    async def state(self, contract: str, map_name: str, key: Value, height: int | None) -> ProvedState:
        """Return an entry of a contract's Map, or its absence, with its proof.

        It is that of a height, or without one of the newest certified height.
        """
        return await self._state(contract, height, map=map_name, key=to_json(key))

    async def variable(self, contract: str, name: str, height: int | None) -> ProvedState:
        """Return a contract's Var like `state`."""
        return await self._state(contract, height, var=name)

    async def _state(self, contract: str, height: int | None, **asked: Any) -> ProvedState:
        at = {} if height is None else {"height": height}
        answer = await self._node.request("getState", contract=contract, withProof=True, **asked, **at)
        return self._proof(ProvedState, "getState", answer)

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        """Return all entries of a subject at heights first..last with the proof that they are all.

        A long one comes in parts, each to some height: the log's state before the first part and after the
        last one proves all of them together. Raises LimitError for more than HISTORY_PARTS_MAX parts.
        """
        parts: list[ProvedHistory] = []
        following = first
        while True:
            answer = await self._node.request(
                "getHistory", subject=subject, fromHeight=following, toHeight=last
            )
            part = self._proof(ProvedHistory, "getHistory", answer)
            with reading(self._node.url, "getHistory"):
                if not following <= part.last <= last:
                    raise ValueError(f"a part of heights {following}..{last} ends with height {part.last}")
            if len(parts) == HISTORY_PARTS_MAX:
                raise LimitError(f"{subject}: more than {HISTORY_PARTS_MAX} parts; ask for a shorter range")
            parts.append(part)
            following = part.last + 1
            if part.last == last:
                break
        entries = tuple([entry for part in parts for entry in part.entries])
        return replace(parts[0], last=last, after=parts[-1].after, entries=entries)

    async def set_changes(self, above: int) -> tuple[SetChange, ...]:
        """Return the validator sets in force from heights above this one; call again above the last."""
        answer = await self._node.request("getSetChanges", aboveHeight=above)
        with reading(self._node.url, "getSetChanges"):
            if not isinstance(answer, list) or len(answer) > SET_CHANGES_MAX:
                raise ValueError(f"it is not a list of at most {SET_CHANGES_MAX} changes")
        return tuple([self._proof(SetChange, "getSetChanges", item) for item in answer])

    async def skip(self, height: int) -> SkipDecision | None:
        """Return the skip decision of a height; None where the node has none."""
        answer = await self._node.request("getSkipDecision", height=height)
        return None if answer is None else self._proof(SkipDecision, "getSkipDecision", answer)

    def _proof(self, cls: type[R], method: str, answer: Any) -> R:
        with reading(self._node.url, method):
            return decode(cls, bytes.fromhex(answer["proof"]))


async def follow_sets(
    source: SetChanges, verifier: ProofVerifier, followed: list[SetChange] | None = None
) -> bool:
    """Let a verifier learn the validator sets since those it knows; tell whether there were any.

    Each change that it takes is appended to `followed`. Raises ProofInvalid for a change that is not proved.
    """
    before = verifier.followed
    while changes := await source.set_changes(verifier.followed):
        for change in changes:
            verifier.follow(change)
            if followed is not None:
                followed.append(change)
    return verifier.followed > before
