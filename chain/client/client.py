"""Client of one node: typed questions, answered with proofs that are checked where the genesis is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import aiohttp

from chain.client.access import NodeAccess
from chain.client.answers import (
    HTTP_BUSY,
    NodeUnreachable,
    NotCertifiedYet,
    OtherChain,
    OtherScheme,
    RpcError,
    height_of,
    reading,
    refusal_of,
)
from chain.client.connection import Connection
from chain.client.proofs import NodeProofs, follow_sets
from chain.ledger.block import EventEntry, Header, Receipt, Transaction, transaction_id
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof, ProvedReceipt, ProvedState, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.primitives.codec import encode
from chain.primitives.errors import ProofInvalid
from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import map_key, var_key
from chain.primitives.values import Value, decode_value
from chain.primitives.visible import one_line
from chain.primitives.words import OUTSIDE

P = TypeVar("P", HeaderProof, ProvedReceipt, ProvedState)
T = TypeVar("T")

VALUE_BYTES_MAX = 1_048_576
"""Bound of one value of the state, in bytes."""
WAIT_POLL_S = 0.05
RECEIPT_WAIT_MS = 2_000
"""A node is asked to wait so long for a receipt, before it is asked again."""
CERTIFY_WAIT_S = 5.0
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0
RANGE_ENTRIES = 256
"""Entries of a Map that are asked for in one page."""
NOT_HELD, NOT_CERTIFIED = "not_held", "not_certified"
"""Codes of a node's refusals."""
TAKEN_BEFORE = ("duplicate", "already_committed")
"""What a node says of a transaction that it took, though its answer did not come."""


class Client(Connection):
    """One node, asked over HTTP and WebSocket; an async context manager."""

    def __init__(
        self,
        url: str,
        genesis: Genesis | None = None,
        *,
        timeout_s: float = 10.0,
        access: NodeAccess | None = None,
    ) -> None:
        """`url` is http://host:port or https://host:port (ConfigError for another).

        With `genesis`, a node of another chain is refused, and state and receipts are accepted only with
        proofs.
        """
        super().__init__(url, genesis, timeout_s=timeout_s, access=access)
        self.proofs = NodeProofs(self)
        """What the node can prove, as it says it: not checked."""
        self._verifier = None if genesis is None else ProofVerifier(genesis)
        self._seen = 0
        """Highest certified height that an answer was proved at: a node must not go back."""
        self._chain_id = None if genesis is None else genesis.chain_id
        self.kept: list[ProvedState] | None = None
        """Set to a list to keep the proof of every entry that is asked for."""
        self.followed: list[SetChange] = []
        """Changes of the validator set that were followed, in order."""

    @property
    def verifies(self) -> bool:
        """Tell whether state and receipts are accepted only with proofs."""
        return self._verifier is not None

    async def chain_id(self) -> bytes:
        """Return the chain id: from the genesis at hand, else as the node says."""
        if self._chain_id is None:
            info = await self.request("getNodeInfo")
            with reading(self.url, "getNodeInfo"):
                self._chain_id = bytes.fromhex(info["chainId"])
        return self._chain_id

    async def head(self) -> int:
        """Return the certified height."""
        return await self.proofs.head()

    async def header(self, height: int) -> Header:
        """Return a header, proved when the genesis is known."""
        proof = await self._certified(lambda: self.proofs.header_proof(height))
        if self._verifier is not None:
            await self._checked(self._verifier, self._verifier.check_header, proof)
        if proof.headers[0].height != height:
            raise ProofInvalid(f"{self.url}: proved header {proof.headers[0].height}, not {height}")
        return proof.headers[0]

    async def blocks_from(self) -> int:
        """Return the first height whose block the node holds: above 0 after pruning or a snapshot."""
        info = await self.request("getNodeInfo")
        with reading(self.url, "getNodeInfo"):
            return height_of(self.url, info["blocksFrom"])

    async def submit(self, *transactions: Transaction) -> list[bytes]:
        """Hand transactions to the node's pool; return their ids, or raise RpcError for the first refused."""
        encoded = [encode(tx).hex() for tx in transactions]
        sent, again = await self.patiently("sendTransactions", {"transactions": encoded})
        with reading(self.url, "sendTransactions"):
            faults = [answer["error"] for answer in sent if "error" in answer]
            refused = [fault for fault in faults if not (again and fault["code"] in TAKEN_BEFORE)]
            if refused:
                raise RpcError(-32000, str(refused[0]["message"]), refused[0])
        return [transaction_id(tx.body) for tx in transactions]

    async def wait(self, tx_id: bytes, timeout_s: float = 20.0) -> Receipt | None:
        """Wait for a certified receipt; None means unknown yet, never failed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            proved = await self._receipt(tx_id, RECEIPT_WAIT_MS if timeout_s * 1_000 > RECEIPT_WAIT_MS else 0)
            if proved is not None:
                return await self._checked_receipt(tx_id, proved)
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(WAIT_POLL_S)

    async def _receipt(self, tx_id: bytes, wait_ms: int) -> ProvedReceipt | None:
        try:
            return await self.proofs.receipt(tx_id, wait_ms)
        except RpcError as error:
            if error.reason != NOT_HELD:
                raise
            return None  # this node lacks old blocks: it cannot tell an old transaction from a new one

    async def _checked_receipt(self, tx_id: bytes, proved: ProvedReceipt) -> Receipt:
        if self._verifier is not None:
            if proved.receipt.tx_id != tx_id:
                raise ProofInvalid(f"{self.url}: proved another receipt than {tx_id.hex()}")
            await self._checked(self._verifier, self._verifier.check_receipt, proved)
        return proved.receipt

    async def _checked(self, verifier: ProofVerifier, check: Callable[[P], Header], proof: P) -> Header:
        """Check a proof; validator sets that came into force since the last one are followed first."""
        try:
            return check(proof)
        except ProofInvalid:
            if not await follow_sets(self.proofs, verifier, self.followed):
                raise
            return check(proof)

    async def view(self, contract: str, method: str, args: dict[str, Value]) -> Value:
        """Run a read-only method at the node; the answer is the node's word, not proved."""
        answer = await self.request("call", contract=contract, method=method, args=to_json(args))
        with reading(self.url, "call"):
            return decode_value(bytes.fromhex(answer["raw"]), max_bytes=VALUE_BYTES_MAX)

    async def state(
        self, contract: str, map_name: str, key: Value, *, height: int | None = None
    ) -> Value | None:
        """Return one entry of a contract's Map, proved when the genesis is known.

        It is that of the newest certified height, or of the one asked for.
        """
        proved = await self._certified(lambda: self.proofs.state(contract, map_name, key, height))
        return await self._checked_entry(proved, contract, map_name, map_key(map_name, key), height)

    async def variable(self, contract: str, name: str, *, height: int | None = None) -> Value | None:
        """Return a contract's Var like `state`; None when it was never set."""
        proved = await self._certified(lambda: self.proofs.variable(contract, name, height))
        return await self._checked_entry(proved, contract, name, var_key(name), height)

    async def _certified(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask for a proof; a node that has no certificate yet is asked again for CERTIFY_WAIT_S.

        Raises NotCertifiedYet with what the node says of itself: at once where it follows nobody.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CERTIFY_WAIT_S
        outside = None
        while True:
            try:
                return await ask()
            except RpcError as error:
                if error.reason != NOT_CERTIFIED:
                    raise
                if outside is None or loop.time() >= deadline:
                    outside, why = await self._standing()
                    if outside or loop.time() >= deadline:
                        raise NotCertifiedYet(error.number, f"{self.url}: {error}{why}", error.data) from None
            await asyncio.sleep(WAIT_POLL_S)

    async def _standing(self) -> tuple[bool, str]:
        """Return whether the node is no member's, and why it does not move, as it says."""
        info = await self.request("getNodeInfo")
        with reading(self.url, "getNodeInfo"):
            return info["role"] == OUTSIDE, f": {one_line(str(info['stall']))}" if info["stall"] else ""

    async def _checked_entry(
        self, proved: ProvedState, contract: str, name: str, key: bytes, height: int | None
    ) -> Value | None:
        """Return the value of an entry of the state; raise ProofInvalid unless it is the one asked for."""
        if self._verifier is not None:
            if (proved.namespace, proved.key) != (contract, key):
                raise ProofInvalid(f"{self.url}: proved another entry than {contract}.{name}")
            found = (await self._checked(self._verifier, self._verifier.check_state, proved)).height
            if height is None:
                if found < self._seen:
                    raise ProofInvalid(f"{self.url}: answered for height {found} after height {self._seen}")
                self._seen = found
            elif found != height:
                raise ProofInvalid(f"{self.url}: proved {contract}.{name} at height {found}, not at {height}")
        if self.kept is not None:
            self.kept.append(proved)
        return None if proved.value is None else decode_value(proved.value, max_bytes=VALUE_BYTES_MAX)

    async def history(self, subject: str, first: int, last: int) -> tuple[EventEntry, ...]:
        """Return the entries of a subject's log at heights first..last, all of them if the genesis is known.

        Raises ProofInvalid for a history that does not hold, LimitError for one that is too long.
        """
        found = await self._certified(lambda: self.proofs.history(subject, first, last))
        if self._verifier is not None:
            await follow_sets(self.proofs, self._verifier, self.followed)
            if (found.subject, found.last) != (subject, last) or found.first not in (first, first - 1):
                raise ProofInvalid(f"{self.url}: the history of another subject, or of other heights")
            self._verifier.check_history(found)
        return found.entries

    async def entries(self, contract: str, map_name: str) -> AsyncIterator[tuple[Value, Value]]:
        """Yield every entry of a contract's Map in key order, as the node says; not proved.

        Raises BadAnswer for a page that does not go on behind the one before: such a list might never end.
        """
        after: str | None = None
        while True:
            page = await self.request(
                "getStateRange", contract=contract, map=map_name, after=after, limit=RANGE_ENTRIES
            )
            with reading(self.url, "getStateRange"):
                rows = [
                    (
                        decode_value(bytes.fromhex(row["key"]), max_bytes=VALUE_BYTES_MAX),
                        decode_value(bytes.fromhex(row["raw"]), max_bytes=VALUE_BYTES_MAX),
                    )
                    for row in page["entries"]
                ]
                following = page["next"]
                if following is not None and not (after or "") < following:
                    raise ValueError("its pages do not go on")
            for row in rows:
                yield row
            after = following
            if after is None:
                return

    async def follow(
        self, *, contract: str | None = None, subject: str | None = None, from_height: int
    ) -> AsyncIterator[EventEntry]:
        """Yield events from a height on, in order, for ever; a silent node is asked again and again.

        A node that does not hold the blocks from there on is followed from the first that it holds.
        """
        height, retry = from_height, RETRY_FIRST_S
        chosen = {"contract": contract, "subject": subject}
        while True:
            try:
                async for following, entries in self.stream(chosen, height):
                    for entry in entries:
                        yield entry
                    height, retry = following, RETRY_FIRST_S
            except (OtherChain, OtherScheme):
                if not (self.met and self.verifies):
                    raise
                # ours was here before, and comes back: the next turn looks again
            except aiohttp.WSServerHandshakeError as error:
                if 400 <= error.status < 500 and error.status not in HTTP_BUSY:
                    raise refusal_of(self.url, error.status, error.message.encode()) from None
            except (NodeUnreachable, aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
                pass  # the node is away: the next turn resumes from `height`
            except RpcError as error:
                if error.reason != NOT_HELD:
                    raise
                height = max(height, await self.blocks_from())
            await asyncio.sleep(retry)
            retry = min(retry * 2, RETRY_MAX_S)
