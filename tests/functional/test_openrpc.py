"""A running node answers as the OpenRPC document that it serves says, whatever is asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.ledger.block import TransactionBody, sign_transaction
from chain.ledger.genesis import load_genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.possession import prove_possession
from chain.primitives.sessionproof import session_digest
from chain.primitives.values import encode_value
from tests.openrpc import HostileCalls, answer_faults

pytestmark = pytest.mark.functional
SEED, HOSTILE = 7, 400
ONLY_ELSEWHERE = {"subscribe", "unsubscribe", "getABI"}
"""Over a WebSocket alone; and of a contract that members deployed, whose answer any value may be."""


class Asker:
    """Asks a node over one connection, which it makes anew where the node closed it, as clients do."""

    def __init__(self, org: OrgFolder) -> None:
        self._address = urlsplit(node_url(org)).netloc
        self._secret = org.node_config.with_suffix(".token").read_text().strip()
        self._connection = http.client.HTTPConnection(self._address, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, params: Any) -> tuple[Any, Any]:
        """Return a call and its answer."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        fields = {"Content-Type": "application/json", "Authorization": f"Bearer {self._secret}"}
        for left in (2, 1, 0):
            try:
                self._connection.request("POST", "/", json.dumps(call), fields)
                answer = self._connection.getresponse()
                text = answer.read()
                assert answer.status == 200, text
                return call, json.loads(text)
            except (ConnectionError, http.client.HTTPException):
                self._connection.close()
                if not left:
                    raise
        raise AssertionError


def a_new_key(org: OrgFolder, chain_id: bytes) -> str:
    """Return a transaction, encoded, by which an organisation adds a key."""
    admin, key = load_key(org.key("admin")), PrivateKey.generate()
    proof = prove_possession(key, chain_id, org.name)
    body = TransactionBody(
        chain_id=chain_id, sender=admin.public, contract="orgs", method="add_key",
        args=encode_value({"key": key.public, "roles": ["steward"], "proof": proof}), gas_limit=3_000_000,
        nonce=os.urandom(16), valid_until=100,
    )  # fmt: skip
    return encode(sign_transaction(body, admin)).hex()


def test_every_method_of_a_running_node_answers_as_its_document_says(tmp_path: Path) -> None:
    made = create_consortium(tmp_path / "c", ["bank", "bureau"], [], 0, "stated")
    bank = made.org("bank")
    config = bank.node_config.read_text()
    bank.node_config.write_text(config.replace("[rpc]", "[rpc]\nprincipals = true"))
    chain_id = load_genesis(made.genesis).chain_id
    list(start_consortium(made, agents=False))
    with contextlib.ExitStack() as closing:
        closing.callback(lambda: list(stop_consortium(made)))
        asker = Asker(bank)
        closing.callback(asker.close)
        _, found = asker.ask("rpc.discover", {})
        document, seen = found["result"], set()

        def ask(asks: str, **params: Any) -> Any:
            call, answer = asker.ask(asks, params)
            assert answer_faults(document, call, answer) == [], f"{call}: {answer}"
            if answer.get("result") is not None:
                seen.add(asks)
            return answer.get("result")

        sent = ask("sendTransaction", transaction=a_new_key(bank, chain_id), mode="commit", timeoutMs=20_000)
        assert sent["outcome"] == "certified"
        assert sent["receipt"]["status"] == "ok", sent
        height, tx = sent["receipt"]["height"], sent["id"]
        assert "id" in ask("sendTransactions", transactions=[a_new_key(bank, chain_id), "00"])[0]
        for params in ({}, {"withProof": True}):
            ask("getTransaction", id=tx, **params)
            ask("getTransactionReceipt", id=tx, **params)
            ask("getState", contract="orgs", map="orgs", key="bank", **params)
            ask("getState", contract="orgs", map="orgs", key="none", **params)
        ask("getTransactionReceipt", id="00" * 32)
        ask("explainTransaction", id=tx)
        block = ask("getBlockByNumber", height=height)
        ask("getBlockByHash", hash=block["hash"])
        ask("getHeader", height=height)
        ask("getSkipDecision", height=height)
        ask("getCode", contract="orgs")
        ask("getABI", contract="orgs")
        ask("call", contract="datasets", method="dataset_of", args={"id": "bank/none"})
        key = PrivateKey.generate()
        proof = prove_possession(key, chain_id, "bank")
        holds = {"org": "bank", "key": {"$bytes": key.public.hex()}, "proof": {"$bytes": proof.hex()}}
        ask("call", contract="orgs", method="check_possession", args=holds)
        ask("getStateRange", contract="orgs", map="orgs", limit=1)
        ask("getEvents", subject="org:bank", limit=2)
        ask("getHistory", subject="org:bank")
        challenge = ask("getChallenge")
        node, shown = bytes.fromhex(challenge["node"]), bytes.fromhex(challenge["challenge"])
        admin = load_key(bank.key("admin"))
        signature = admin.sign(session_digest(chain_id, node, bytes(32), shown)).hex()
        ask("openSession", key=admin.public.hex(), challenge=shown.hex(), signature=signature)
        for method in document["methods"]:
            if (
                not any(item["required"] for item in method["params"])
                and method["name"] not in ONLY_ELSEWHERE
            ):
                ask(method["name"])
        stated = {item["name"] for item in document["methods"]}
        assert stated - seen - ONLY_ELSEWHERE == {"getSkipDecision"}, stated - seen
        document["methods"] = [item for item in document["methods"] if item["name"] not in ONLY_ELSEWHERE]
        drawn = HostileCalls(document, SEED)
        for number in range(HOSTILE):
            call = next(drawn)
            _, answer = asker.ask(call["method"], call["params"])
            assert answer_faults(document, call, answer) == [], (
                f"seed {SEED}, call {number}: {str(call)[:300]}"
            )
        assert "Traceback" not in bank.log("node").read_text()
