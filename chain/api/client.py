"""A typed client of a node's RPC; given the genesis it verifies what it is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import aiohttp

from chain.api.answers import (
    HTTP_BUSY,
    HTTP_OK,
    NodeBusy,
    NodeUnreachable,
    OtherChain,
    RpcError,
    checked_url,
    height_of,
    read_answer,
    reading,
    refusal_of,
    result_of,
    silence_of,
    text_of,
)
from chain.ledger.block import (
    EventEntry,
    Header,
    Receipt,
    Transaction,
    TransactionBody,
    sign_transaction,
    transaction_id,
)
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof, ProvedReceipt, ProvedState, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import Signer
from chain.primitives.errors import AssentError, Exit, ProofInvalid
from chain.primitives.execution import map_key, var_key
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value, decode_value, encode_value
from chain.primitives.visible import one_line

P = TypeVar("P", HeaderProof, ProvedReceipt, ProvedState)

VALUE_BYTES_MAX = 1_048_576
WAIT_POLL_S = 0.05
CERTIFY_WAIT_S = 5.0
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0
VALIDITY_BLOCKS = 500
NOT_HELD = "not_held"
BUSY_PAUSES_S = (0.05, 0.2, 0.8)
"""A busy node is asked again after these."""
TAKEN_BEFORE = ("duplicate", "already_committed")
"""What a node says of a transaction that it took, though its answer did not come."""


class TransactionFailed(AssentError):
    """A transaction whose receipt says that it changed nothing; `reason` is the contract's code."""

    code = "transaction_failed"

    def __init__(self, receipt: Receipt, what: str) -> None:
        super().__init__(
            f"{what}: {one_line(receipt.status)} {one_line(receipt.code)} (gas {receipt.gas_used}); "
            f"where and why: assent tx explain {receipt.tx_id.hex()}"
        )
        self.receipt, self.reason = receipt, one_line(receipt.code)


class OutcomeUnknown(AssentError):
    """A transaction that no block held in the time given: it may still be executed; ask again by its id."""

    code = "outcome_unknown"
    exit = Exit.NO_QUORUM


class Client:
    """One node, asked over HTTP and WebSocket; an async context manager."""

    def __init__(self, url: str, genesis: Genesis | None = None, *, timeout_s: float = 10.0) -> None:
        """`url` is http://host:port (ConfigError for another).

        With `genesis`, a node of another chain is refused, and state and receipts are accepted only with
        proofs.
        """
        self.url = checked_url(url)
        self._genesis, self._met = genesis, genesis is None
        self._verifier = None if genesis is None else ProofVerifier(genesis)
        self._seen = 0
        """Highest certified height that an answer was proved at: a node must not go back."""
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._chain_id = None if genesis is None else genesis.chain_id
        self.kept: list[ProvedState] | None = None
        """Set to a list to keep the proof of every entry that is asked for."""
        self.followed: list[SetChange] = []
        """Changes of the validator set that were followed, in order."""

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(self, rpc_method: str, **params: Any) -> Any:
        """Call one RPC method; raise RpcError for a refusal, NodeUnreachable for silence.

        A node that is busy is asked again a few times, then NodeBusy is raised. One of another chain than
        the genesis at hand is asked nothing (OtherChain).
        """
        if not self._met:
            await self._meet()
        return (await self._patiently(rpc_method, params))[0]

    async def _meet(self) -> None:
        """Raise OtherChain where a node of another chain answers: ports are taken by others now and then."""
        if self._genesis is None:
            return
        info = (await self._patiently("getNodeInfo", {}))[0]
        served, ours = text_of(self.url, info, "chainId"), self._genesis.chain_id.hex()
        if served != ours:
            raise OtherChain(
                f"{self.url} serves the chain {text_of(self.url, info, 'chainName')!r} ({served[:16]}), not "
                f"{self._genesis.chain_name!r} ({ours[:16]}) of this genesis; name a node of this chain, or "
                "see what listens there"
            )
        self._met = True

    async def _patiently(self, rpc_method: str, params: dict[str, Any]) -> tuple[Any, bool]:
        """Return the answer, and whether the node was asked more than once."""
        for tries, pause in enumerate(BUSY_PAUSES_S):
            try:
                return await self._request_once(rpc_method, params), tries > 0
            except NodeBusy:
                await asyncio.sleep(pause)
        return await self._request_once(rpc_method, params), True

    async def _request_once(self, rpc_method: str, params: dict[str, Any]) -> Any:
        if self._session is None:
            raise RuntimeError("a Client is used inside `async with`")
        call = {"jsonrpc": "2.0", "id": 1, "method": rpc_method, "params": params}
        try:
            async with self._session.post(self.url + "/", json=call) as response:
                text = await read_answer(self.url, response)
                if response.status != HTTP_OK:
                    raise refusal_of(self.url, response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise silence_of(self.url, error) from None
        with reading(self.url, rpc_method):
            answer = json.loads(text)
        return result_of(self.url, answer)

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
        return height_of(self.url, await self.request("getBlockNumber"))

    async def header(self, height: int) -> Header:
        """Return a header, proved when the genesis is known."""
        answer = await self._certified("getHeader", height=height)
        with reading(self.url, "getHeader"):
            proof = decode(HeaderProof, bytes.fromhex(answer["proof"]))
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
        sent, again = await self._patiently("sendTransactions", {"transactions": encoded})
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
            answer = await self._receipt(tx_id, 2_000 if timeout_s > 2 else 0)
            if answer is not None:
                return await self._proved_receipt(tx_id, answer)
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(WAIT_POLL_S)

    async def _receipt(self, tx_id: bytes, wait_ms: int) -> Any:
        try:
            return await self.request("getTransactionReceipt", id=tx_id.hex(), withProof=True, waitMs=wait_ms)
        except RpcError as error:
            if error.reason != NOT_HELD:
                raise
            return None  # this node lacks old blocks: it cannot tell an old transaction from a new one

    async def _proved_receipt(self, tx_id: bytes, answer: Any) -> Receipt:
        with reading(self.url, "getTransactionReceipt"):
            proved = decode(ProvedReceipt, bytes.fromhex(answer["proof"]))
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
            if not await self._follow_sets(verifier):
                raise
            return check(proof)

    async def _follow_sets(self, verifier: ProofVerifier) -> bool:
        before = verifier.followed
        while answer := await self.request("getSetChanges", aboveHeight=verifier.followed):
            with reading(self.url, "getSetChanges"):
                changes = [decode(SetChange, bytes.fromhex(item["proof"])) for item in answer]
            for change in changes:
                verifier.follow(change)
                self.followed.append(change)
        return verifier.followed > before

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
        asked = {"map": map_name, "key": to_json(key)}
        return await self._entry(contract, map_key(map_name, key), asked, height)

    async def variable(self, contract: str, name: str, *, height: int | None = None) -> Value | None:
        """Return a contract's Var like `state`; None when it was never set."""
        return await self._entry(contract, var_key(name), {"var": name}, height)

    async def _certified(self, rpc_method: str, **params: Any) -> Any:
        """Call a method that proves; a node that has no certificate yet is asked again for a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CERTIFY_WAIT_S
        while True:
            try:
                return await self.request(rpc_method, **params)
            except RpcError as error:
                if error.reason != "not_certified" or loop.time() >= deadline:
                    raise
            await asyncio.sleep(WAIT_POLL_S)

    async def _entry(
        self, contract: str, key: bytes, asked: dict[str, Any], height: int | None
    ) -> Value | None:
        if height is not None:
            asked = {**asked, "height": height}
        answer = await self._certified("getState", contract=contract, withProof=True, **asked)
        with reading(self.url, "getState"):
            proved = decode(ProvedState, bytes.fromhex(answer["proof"]))
        if self._verifier is not None:
            what = f"{contract}.{asked.get('map') or asked['var']}"
            if (proved.namespace, proved.key) != (contract, key):
                raise ProofInvalid(f"{self.url}: proved another entry than {what}")
            found = (await self._checked(self._verifier, self._verifier.check_state, proved)).height
            if height is None:
                if found < self._seen:
                    raise ProofInvalid(f"{self.url}: answered for height {found} after height {self._seen}")
                self._seen = found
            elif found != height:
                raise ProofInvalid(f"{self.url}: proved {what} at height {found}, not at {height}")
        if self.kept is not None:
            self.kept.append(proved)
        return None if proved.value is None else decode_value(proved.value, max_bytes=VALUE_BYTES_MAX)

    async def entries(self, contract: str, map_name: str) -> AsyncIterator[tuple[Value, Value]]:
        """Yield every entry of a contract's Map in key order, as the node says; not proved.

        Raises BadAnswer for a page that does not go on behind the one before: such a list might never end.
        """
        after: str | None = None
        while True:
            page = await self.request(
                "getStateRange", contract=contract, map=map_name, after=after, limit=256
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
                async for following, entries in self._stream(chosen, height):
                    for entry in entries:
                        yield entry
                    height, retry = following, RETRY_FIRST_S
            except OtherChain:
                if not self._met:
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

    async def _stream(
        self, chosen: dict[str, str | None], from_height: int
    ) -> AsyncIterator[tuple[int, list[EventEntry]]]:
        """Yield the events of one height, or a part of them, and the height to resume from after them."""
        if self._session is None:
            raise RuntimeError("a Client is used inside `async with`")
        await self._meet()  # each time: another node may listen there by now
        params = {"kind": "events", "fromHeight": from_height, **{k: v for k, v in chosen.items() if v}}
        async with self._session.ws_connect(
            self.url + "/ws", heartbeat=20.0, max_msg_size=64 * 1024 * 1024, timeout=aiohttp.ClientWSTimeout()
        ) as socket:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                update = json.loads(message.data)
                if "method" in update:
                    block = update["params"]["result"]
                    if "error" in block:
                        fault = block["error"]
                        raise RpcError(-32000, fault["message"], fault)
                    raw = [bytes.fromhex(entry["raw"]) for entry in block["entries"]]
                    following = block["height"] if block.get("more") else block["height"] + 1
                    yield following, [decode(EventEntry, item) for item in raw]


class SigningClient:
    """A client and the key that it signs with."""

    def __init__(self, client: Client, signer: Signer, chain_id: bytes) -> None:
        """`signer.public` must be a key that the ledger lists for an organisation."""
        self.client, self.signer, self.chain_id = client, signer, chain_id

    async def build(
        self, contract: str, method: str, args: dict[str, Value], *, gas_limit: int = 1_000_000
    ) -> Transaction:
        """Return a signed transaction valid for the next 500 heights, with a random nonce."""
        body = TransactionBody(
            chain_id=self.chain_id,
            sender=self.signer.public,
            contract=contract,
            method=method,
            args=encode_value(args),
            gas_limit=gas_limit,
            nonce=os.urandom(16),
            valid_until=await self.client.head() + VALIDITY_BLOCKS,
        )
        return sign_transaction(body, self.signer)

    async def send(
        self,
        contract: str,
        method: str,
        args: dict[str, Value],
        *,
        gas_limit: int = 1_000_000,
        timeout_s: float = 30.0,
    ) -> Receipt:
        """Send a call and wait for its certified receipt; raise TransactionFailed or OutcomeUnknown."""
        tx = await self.build(contract, method, args, gas_limit=gas_limit)
        tx_id = transaction_id(tx.body)
        await self.client.submit(tx)
        receipt = await self.client.wait(tx_id, timeout_s)
        what = f"{contract}.{method}"
        if receipt is None:
            raise OutcomeUnknown(
                f"{what}: no block held it within {timeout_s:.0f} s; ask: assent tx wait {tx_id.hex()}"
            )
        if receipt.status != "ok":
            raise TransactionFailed(receipt, what)
        return receipt
