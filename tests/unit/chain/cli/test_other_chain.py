"""No command takes a node of another chain for one of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.api.render import block_summary
from chain.cli import ledger
from chain.cli.init import create_consortium
from chain.cli.main import main
from chain.client.answers import ANSWER_BYTES_MAX
from chain.ledger.block import header_hash
from chain.ledger.genesis import save_genesis
from chain.ledger.testing import ToyChain, toy_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit, ProofInvalid
from chain.primitives.keyfile import save_key
from tests.unit.chain.cli.commands import all_commands, required, takes

OTHER = "ab" * 32
HASH = "cd" * 32
WORDS = {
    "name": "bank-node", "roles": "admin", "address": "h:1", "columns": "id", "programs": "private-join",
    "expires": "2030-01-01", "terms": '{"quota_runs": 1}', "changes": "block_txs=1", "rule": "majority",
    "subject": "org:bank", "tx_id": HASH, "job_id": HASH, "challenge": HASH, "ballot": "freeze",
    "dataset_id": "bank/d", "grant_id": "bank/g", "reason": "r",
}  # fmt: skip
OWN_FILES = {"dataset check", "dataset check-opening", "dataset new-version", "dataset open",
             "dataset register", "contract propose", "contract publish", "program propose",
             "contract acl", "validator report", "job result"}  # fmt: skip
"""These read files of their own before they ask a node."""
JOB = [
    "--program",
    "private-join",
    "--purpose",
    "x",
    "--receiver",
    "x",
    "--input",
    "a/b",
    "--input",
    "a/c",
]
GRANT = ["--dataset", "a/b", "--column", "x=plain", "--program", "x", "--receiver", "x", "--runs", "1"]
MORE = {
    "job propose": JOB,
    "job preflight": JOB,
    "program check": ["--org", "bank", "--input", "a=a/b@1"],
    "grant request": GRANT,
    "dataset caps": ["--epsilon", "1"],
    "grant narrow": ["--runs", "1"],
}
"""What a command takes from options or a file."""


class Other(ThreadingHTTPServer):
    """A node of another chain: it says which, and answers everything else with `answer`."""

    daemon_threads = True

    def __init__(self, answer: bytes = b"", chain: str = OTHER) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.chain = answer, chain
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Other

    def do_POST(self) -> None:
        method = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["method"]
        self.server.asked.append(method)
        info = {"chainId": self.server.chain, "chainName": "theirs\x1b[31m"}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": info}).encode()
        body = body if method == "getNodeInfo" else self.server.answer
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


def serving(node: Other) -> Iterator[Other]:
    thread = threading.Thread(target=node.serve_forever)
    thread.start()
    try:
        yield node
    finally:
        node.shutdown()
        thread.join()
        node.server_close()


@pytest.fixture
def other() -> Iterator[Other]:
    yield from serving(Other())


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """--genesis and --key of this chain."""
    genesis, key = tmp_path / "genesis.json", tmp_path / "admin.key"
    save_genesis(genesis, toy_genesis())
    save_key(key, PrivateKey.generate())
    return ["--genesis", str(genesis), "--key", str(key)]


def test_every_command_refuses_a_node_of_another_chain_before_it_asks_anything(
    other: Other, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = dict.fromkeys(("new_key", "old_key", "agent_key", "admin_key", "key_text"), files[-1])
    checked = 0
    for words, command in all_commands():
        if not takes(command, "--genesis") or not takes(command, "--node") or " ".join(words) in OWN_FILES:
            continue
        values = (
            WORDS | keys | {"digits": "0" * 64} | ({"roles": "owner"} if "propose-admit" in words else {})
        )
        given = [*required(command, values), *MORE.get(" ".join(words), ())]
        told = CliRunner().invoke(main, [*words, *given, "--node", other.url, *files], catch_exceptions=False)
        assert "error [other_chain]" in told.output, (words, told.output)
        assert "theirs\\x1b[31m" in told.output
        assert told.exit_code != 0
        checked += 1
    assert checked > 50
    assert set(other.asked) == {"getNodeInfo"}


@pytest.mark.parametrize("answer", [b"[]", b"7", b"{", b"\xff", b'{"result": 3}', b'{"error": 1}',
                                    b'{"result": {"entries": [{}], "next": null}}',
                                    b'{"result": {"entries": [], "next": ""}}'])  # fmt: skip
def test_an_answer_that_no_node_gives_is_named_as_such(answer: bytes, files: list[str]) -> None:
    """It used to end in a traceback, and pages that do not go on were asked for for ever."""
    for node in serving(Other(answer, toy_genesis().chain_id.hex())):
        for words in (["org", "list"], ["org", "show", "bank"], ["call", "orgs", "m"], ["contract", "list"]):
            told = CliRunner().invoke(main, [*words, "--node", node.url, *files], catch_exceptions=False)
            assert "error [bad_answer]" in told.output, (words, told.output)


def test_an_answer_is_read_up_to_a_bound(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ANSWER_BYTES_MAX == 67_108_864
    monkeypatch.setattr("chain.client.answers.ANSWER_BYTES_MAX", 5_000)
    for node in serving(Other(b" " * 5_001, toy_genesis().chain_id.hex())):
        told = CliRunner().invoke(main, ["org", "list", "--node", node.url, *files], catch_exceptions=False)
        assert "more than 5000 bytes" in told.output


@pytest.mark.parametrize("url", ["127.0.0.1:8545", "[::1]:8545", "http://h:1/rpc", "http://h:x", "ftp://h:1"])
def test_an_address_of_another_form_is_told_the_form(url: str) -> None:
    told = CliRunner().invoke(main, ["org", "list", "--node", url], catch_exceptions=False)
    assert "error [config]" in told.output
    assert "give http://HOST:PORT" in told.output


def test_a_block_is_shown_only_as_its_header_proves_it() -> None:
    """Each field that the node tells, the hash and the transactions are compared with the proved header."""
    chain = ToyChain()
    chain.add(*[chain.call("put", {"key": str(n), "value": n}) for n in range(3)])
    height = chain.ledger.certified_height
    header = chain.ledger.read.header(height)
    found = block_summary(chain.ledger, height)
    assert header is not None
    assert found is not None
    assert found["hash"] == header_hash(header).hex()
    ledger._check_block(found, header)
    for change in (
        {"hash": HASH},
        {"header": found["header"] | {"time": 1}},
        {"transactions": [*found["transactions"], HASH]},
        {"transactions": ["x"]},
        {"transactions": None},
    ):
        with pytest.raises(ProofInvalid, match=f"block {height}: "):
            ledger._check_block(found | change, header)


def test_status_and_start_do_not_take_the_node_of_another_chain_on_their_port(
    other: Other, tmp_path: Path
) -> None:
    """`status` showed the other chain's height; `start` said "started" of a node that had died."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "ours")
    config = made.org("solo").node_config
    before = config.read_text()
    rpc = before.split('[rpc]\nlisten = "')[1].split('"')[0]
    config.write_text(before.replace(rpc, other.url.removeprefix("http://")))
    told = CliRunner().invoke(main, ["status", str(made.path)], catch_exceptions=False)
    assert "stopped" in told.output
    assert "serves the chain 'theirs\\x1b[31m'" in told.output
    started = CliRunner().invoke(main, ["start", str(made.path)], catch_exceptions=False)
    assert started.exit_code == Exit.CONFIG
    assert "port_busy" in started.output
    assert "node started" not in started.output
