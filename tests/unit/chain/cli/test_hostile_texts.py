"""What others wrote reaches no terminal as more than text, whatever the command, encoding and output."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli.main import main
from chain.primitives.errors import AssentError, Exit
from chain.primitives.values import encode_value
from tests.unit.chain.cli.commands import all_commands, required, takes

EVIL = "[/x][black on black]a\n  approved by all\x1b]0;t\x07\x1b[2J\x9b\u202e\u2066\u200b数据ü…"
KEY, HASH = "cd" * 32, "ab" * 32


TEXTS = [
    "id",
    "name",
    "status",
    "kind",
    "by",
    "reason",
    "org",
    "role",
    "address",
    "description",
    "owner",
    "grantee",
    "purpose",
    "legal_basis",
    "asked_because",
    "dataset",
    "policy",
    "profile",
    "initiator",
    "state",
    "program",
    "agent_address",
    "node",
    "code",
    "method",
    "contract",
    "text",
    "why",
    "about",
    "type",
    "sensitivity",
    "size_bucket",
    "created_by",
]
LISTS = [
    "roles",
    "approvers",
    "programs",
    "receivers",
    "co_parties",
    "membership",
    "approvals",
    "rejections",
    "counted",
    "missing",
]
NUMBERS = [
    "seq",
    "version",
    "height",
    "since",
    "joined",
    "expires",
    "not_before",
    "committed_at",
    "threshold",
    "registered_at",
    "quota_runs",
    "run_epsilon",
    "partner_versions",
    "used",
    "reserved",
    "min_group",
    "view",
    "reported_at",
    "from_height",
    "needed",
    "bytes",
    "published_at",
    "open",
    "until",
]
RECORD: dict[str, Any] = {
    **dict.fromkeys(TEXTS, EVIL), **{name: [EVIL] for name in LISTS}, **dict.fromkeys(NUMBERS, 1),
    **dict.fromkeys(("public_key", "key", "hash", "root", "spec_hash"), b"\1"),
    "hashes": [b"\1"], "payload": {EVIL: EVIL}, "columns": {EVIL: EVIL}, "due": False, "passed": False,
    "withdrawn": False, "schema": b"\1",
}  # fmt: skip
"""One record with every field that any list asks for."""
INFO = {
    "chainId": HASH, "chainName": EVIL, "key": KEY, "name": EVIL, "org": EVIL, "role": EVIL,
    "lostVotes": False, "height": 1, "peers": 0,
    "seatMoves": "", "blocksFrom": 0, "stall": EVIL, "phase": EVIL, "notes": [EVIL], "offences": [EVIL],
}  # fmt: skip
HEADER = {"height": 1, EVIL: EVIL}
ANSWERS: dict[str, Any] = {
    "getNodeInfo": INFO,
    "getBlockNumber": 1,
    "getPeers": [{"key": KEY, "connected": True, "votes": True}],
    "getSealerList": [{"key": KEY}],
    "getEvidence": [{"accused": EVIL, "key": KEY, "kind": EVIL, "slot": [1, 2],
                     "first": "00", "second": "01"}],
    "getBlockByNumber": {"header": HEADER, "hash": EVIL, "signers": [EVIL], "transactions": [EVIL],
                         "skip": {"transactions": [EVIL], "attempt": 0, "reason": EVIL, "signers": [EVIL]}},
    "getTransaction": {"id": EVIL, "status": EVIL, "height": 1, "contract": EVIL, "method": EVIL,
                       "args": {EVIL: EVIL}, "sender": EVIL, "validUntil": 1},
    "explainTransaction": {"id": EVIL, "height": 1, "status": EVIL, "code": EVIL, "gasUsed": 1, "line": 1,
                           "why": EVIL, "trace": [], "contract": EVIL, "method": EVIL,
                           "args": {EVIL: EVIL}, "sender": EVIL},
}  # fmt: skip


class _Hostile(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = asked["method"]
        if method == "getStateRange":
            by_hash = asked["params"]["map"] == "libraries"
            key = encode_value(bytes.fromhex(HASH) if by_hash else HASH).hex()
            rows = [{"key": key, "raw": encode_value(RECORD).hex()}]
            result: Any = {"entries": rows, "next": None}
        elif method == "call":
            result = {"raw": encode_value(RECORD).hex()}
        elif method == "getEvidence" and asked["params"]["after"]:
            result = []
        else:
            result = ANSWERS.get(method)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": result}
        if result is None:
            answer = {
                "jsonrpc": "2.0",
                "id": 1,
                "error": {"code": -1, "message": EVIL, "data": {"code": EVIL}},
            }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """The address of a node all of whose texts are hostile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SHOWN = {
    ("call",), ("org", "list"), ("validator", "evidence"), ("proposal", "list"), ("dataset", "list"),
    ("dataset", "drafts"), ("grant", "list"), ("job", "list"), ("tx", "get"), ("tx", "explain"),
    ("block", "show"), ("contract", "libraries"),
    ("node", "evidence", "list"),
}  # fmt: skip
"""Commands whose whole answer this node can give, since nothing of it is proved."""


WAITING = {("job", "watch"), ("tx", "wait"), ("validator", "rejoin")}
"""Commands that go on asking a node that does not give what they wait for."""


@pytest.mark.parametrize("as_json", [False, True])
def test_every_command_prints_what_a_hostile_node_says_as_text(
    node: str, as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = set()
    values = {"tx_id": HASH, "job_id": HASH, "subject": "org:bank", "terms": "{}"}
    for words, command in all_commands():
        if not takes(command, "--genesis") or not takes(command, "--node") or words in WAITING:
            continue
        more = ["--json"] if as_json and takes(command, "--json") else []
        told = CliRunner().invoke(main, [*words, *required(command, values), "--node", node, *more])
        assert told.exception is None or isinstance(told.exception, SystemExit), (words, told.exception)
        assert told.exit_code != Exit.BUG, (words, told.output)
        assert all(char == "\n" or char.isprintable() for char in told.output), (words, told.output)
        lines = told.output.splitlines()
        assert not [line for line in lines if line.startswith("  approved by all")], (words, told.output)
        if told.exit_code == 0:
            ran.add(words)
    assert ran >= SHOWN, SHOWN - ran


def run(
    *words: str, output: Any = subprocess.PIPE, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    command = [str(Path(sys.executable).with_name("assent")), *words]
    return subprocess.run(
        command, stdout=output, stderr=subprocess.PIPE, timeout=120, check=False, env=environment
    )


PAGE = Path(__file__).parents[4] / "contracts/system/pages/private_join.py"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "cp1252"])
def test_an_output_of_another_encoding_gets_escapes_for_what_it_lacks(node: str, encoding: str) -> None:
    """Commands ended with UnicodeEncodeError, some of them after they had done what was asked."""
    for words in (
        ["org", "list", "--node", node],
        ["program", "check", str(PAGE)],
        ["call", "c", "m", "--node", node],
    ):
        told = run(*words, encoding=encoding)
        assert told.returncode == 0, told.stderr
        assert told.stderr.count(b"\n") <= 1
        told.stdout.decode(encoding)


def test_a_full_or_closed_output_is_one_line_and_a_status(node: str) -> None:
    for words in (["org", "list", "--node", node], ["org", "list", "--json", "--node", node], ["--help"]):
        with Path("/dev/full").open("wb") as full:
            told = run(*words, output=full)
        assert told.returncode == Exit.IO
        assert told.stderr.decode().startswith("error [output]: standard output cannot be written (No space")
        assert told.stderr.count(b"\n") == 1
        shell = ["bash", "-c", '"$@" >&-', "_", str(Path(sys.executable).with_name("assent")), *words]
        closed = subprocess.run(shell, stderr=subprocess.PIPE, timeout=120, check=False)
        assert closed.returncode == Exit.IO
        assert closed.stderr.decode().startswith("error [output]: standard output is closed")


def test_a_terminal_is_sent_no_escape_of_others(node: str) -> None:
    """On a terminal the tables are styled: what is left besides that is printable."""
    leader, follower = pty.openpty()
    told = run("org", "list", "--node", node, output=follower)
    os.close(follower)
    os.set_blocking(leader, False)
    seen = os.read(leader, 1_000_000).decode()
    os.close(leader)
    assert told.returncode == 0, told.stderr
    for harm in ("\x1b]0", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2066"):
        assert harm not in seen
    assert "[black on black]a" in seen


def test_an_own_fault_and_a_fault_of_the_system_end_with_their_own_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(error: BaseException) -> Any:
        def load(*_: Any) -> None:
            raise error

        return load

    class Damaged(AssentError):
        code = "damaged"
        exit = Exit.DAMAGED

    for error, status, said in (
        (ZeroDivisionError("\x1b[2J"), Exit.BUG, "error [bug]: ZeroDivisionError"),
        (
            OSError(28, "No space left on device", "/x/\x1b[31m"),
            Exit.IO,
            "error [system]: /x/\\x1b[31m: No space",
        ),
        (Damaged("row 7"), Exit.DAMAGED, "error [damaged]: row 7"),
    ):
        monkeypatch.setattr("chain.cli.main.LazyGroup.get_command", fails(error))
        told = CliRunner().invoke(main, ["org", "list"])
        assert told.exit_code == status
        assert said in told.output
        assert "\x1b" not in told.output
