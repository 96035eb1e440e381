"""Audit evidence from a node's RPC: `proof` fields hold canonical records as hex."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from chain.audit.source import PAGE_ENTRIES
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
from chain.primitives.codec import decode
from chain.primitives.errors import DecodeError, LimitError
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value

HISTORY_PARTS_MAX = 1_024
"""Parts of a megabyte: more than the largest provable history."""

R = TypeVar("R")


class Requester(Protocol):
    """A client that calls RPC methods (`chain.api.client.Client`)."""

    async def request(self, rpc_method: str, **params: Any) -> Any:
        """Return the result of one call; raise AssentError."""


class RpcSource:
    """Asks one node; its answers are hostile until their proofs are checked."""

    def __init__(self, client: Requester) -> None:
        self._client = client

    async def head(self) -> int:
        """Return the certified height."""
        height = await self._client.request("getBlockNumber")
        if type(height) is not int or height < 0:
            raise DecodeError("getBlockNumber: the node's answer is not a height")
        return height

    async def header(self, height: int) -> Header:
        """Return a header as the node shows it."""
        answer = await self._client.request("getHeader", height=height)
        return _proof(HeaderProof, "getHeader", answer).headers[0]

    async def entries(
        self, subject: str, first: int, last: int, after: str | None
    ) -> tuple[tuple[EventEntry, ...], str | None]:
        """Return one page of a subject's log."""
        answer = await self._client.request(
            "getEvents", subject=subject, fromHeight=first, toHeight=last, limit=PAGE_ENTRIES, after=after
        )
        try:
            entries = tuple([_record(EventEntry, item["raw"]) for item in answer["entries"]])
            following = answer["next"]
        except (KeyError, TypeError):
            raise DecodeError("getEvents: the node's answer is not a page of entries") from None
        return entries, None if following is None else str(following)

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        """Return a transaction with its proof."""
        answer = await self._client.request("getTransaction", id=tx_id.hex(), withProof=True)
        return None if answer is None else _proof(ProvedTransaction, "getTransaction", answer)

    async def receipt(self, tx_id: bytes) -> ProvedReceipt | None:
        """Return a receipt with its proof."""
        answer = await self._client.request("getTransactionReceipt", id=tx_id.hex(), withProof=True)
        return None if answer is None else _proof(ProvedReceipt, "getTransactionReceipt", answer)

    async def state(self, contract: str, map_name: str, key: Value, height: int) -> ProvedState:
        """Return an entry of a contract's Map with its proof."""
        answer = await self._client.request(
            "getState", contract=contract, map=map_name, key=to_json(key), height=height, withProof=True
        )
        return _proof(ProvedState, "getState", answer)

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        """Return a subject's complete history with its proof; a long one comes in parts, each to some height.

        The log's state before the first part and after the last one proves all of them together.
        """
        parts: list[ProvedHistory] = []
        following = first
        while True:
            answer = await self._client.request(
                "getHistory", subject=subject, fromHeight=following, toHeight=last
            )
            part = _proof(ProvedHistory, "getHistory", answer)
            if not following <= part.last <= last:
                raise DecodeError(f"getHistory: the node's answer ends with height {part.last}")
            if len(parts) == HISTORY_PARTS_MAX:
                raise LimitError(f"{subject}: more than {HISTORY_PARTS_MAX} parts; ask for a shorter range")
            parts.append(part)
            following = part.last + 1
            if part.last == last:
                break
        entries = tuple([entry for part in parts for entry in part.entries])
        return replace(parts[0], last=last, after=parts[-1].after, entries=entries)

    async def set_changes(self, above: int) -> tuple[SetChange, ...]:
        """Return the validator sets in force from heights above this one."""
        return read_set_changes(await self._client.request("getSetChanges", aboveHeight=above))

    async def skip(self, height: int) -> SkipDecision | None:
        """Return the skip decision of a height."""
        answer = await self._client.request("getSkipDecision", height=height)
        return None if answer is None else _proof(SkipDecision, "getSkipDecision", answer)


def read_set_changes(answer: Any) -> tuple[SetChange, ...]:
    """Return what `getSetChanges` answered; raise DecodeError."""
    if not isinstance(answer, list) or len(answer) > SET_CHANGES_MAX:
        raise DecodeError("getSetChanges: the node's answer is not a list of changes")
    return tuple([_proof(SetChange, "getSetChanges", item) for item in answer])


def _proof(cls: type[R], method: str, answer: Any) -> R:
    if not isinstance(answer, dict) or not isinstance(answer.get("proof"), str):
        raise DecodeError(f"{method}: the node's answer holds no proof")
    return _record(cls, answer["proof"])


def _record(cls: type[R], text: Any) -> R:
    try:
        return decode(cls, bytes.fromhex(text))
    except (TypeError, ValueError):
        raise DecodeError("the node's answer is not hex") from None
