"""Settings of `node.toml` and `agent.toml` do in running processes what is said of them.

tests/unit/test_every_setting.py names a test for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from live import assent, rpc

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium, org_ports
from chain.cli.layout import OrgFolder
from chain.client.client import Client
from chain.ledger.block import TransactionBody, sign_transaction
from chain.ledger.genesis import load_genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.values import encode_value

pytestmark = pytest.mark.functional
ELSEWHERE = """
[files]
data_dir = "ledger"
genesis = "founding.json"
key = "identity.key"
[network]
listen = "127.0.0.1:0"
[rpc]
listen = "127.0.0.1:{port}"
hosts = ["ledger.example"]
max_request_bytes = 4096
max_answer_bytes = 65536
request_timeout_ms = 200
[log]
level = "error"
[solo]
organisation = "acme"
"""
HEIGHTS = 1_150
"""Beyond the least `keep_blocks` and a step of pruning."""


def test_a_running_node_prunes_and_archives_what_is_beyond_keep_blocks(tmp_path: Path) -> None:
    """`keep_blocks` was read and nothing came of it: the disks of running nodes filled."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "prunes")
    solo = made.org("solo")
    with solo.node_config.open("a") as config:
        config.write(
            '\n[storage]\nkeep_blocks = 1000\narchive_dir = "old"\n[consensus]\nbatch_interval_ms = 1\n'
        )
    admin, chain_id = load_key(solo.key("admin")), load_genesis(made.genesis).chain_id
    list(start_consortium(made, agents=False))
    try:

        async def fill() -> int:
            async with Client(node_url(solo)) as client:
                top = 0
                for _ in range(20 * HEIGHTS):
                    body = TransactionBody(
                        chain_id=chain_id, sender=admin.public, contract="orgs", method="none",
                        args=encode_value({}), gas_limit=100_000, nonce=os.urandom(16), valid_until=top + 100,
                    )  # fmt: skip
                    await client.submit(sign_transaction(body, admin))
                    top = await client.head()
                    if top >= HEIGHTS:
                        break
                return top

        assert asyncio.run(fill()) >= HEIGHTS
        pruned = lambda: rpc(solo, "getNodeInfo")["result"]["blocksFrom"] >= 100  # noqa: E731
        processes.wait_until(solo, "node", pruned, 60)
        assert list((solo.path / "old").iterdir())
        gone = rpc(solo, "getBlockByNumber", height=50)
        assert gone["error"]["data"]["code"] == "not_held"
    finally:
        list(stop_consortium(made))


def test_a_debug_log_tells_heights_and_sighup_opens_the_log_anew(tmp_path: Path) -> None:
    """`log.level` changed nothing; SIGHUP, which log rotation sends, killed the node."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "logs")
    solo = made.org("solo")
    with solo.node_config.open("a") as config:
        config.write('\n[log]\nlevel = "debug"\n')
    list(start_consortium(made, agents=False))
    try:
        log, kept = solo.log("node"), solo.path / "node.log.1"
        told = lambda: "height 1 is certified" in log.read_text()  # noqa: E731
        processes.wait_until(solo, "node", told, 60)
        log.rename(kept)
        running = processes.find(solo, "node")
        assert running is not None
        os.kill(running.pid, signal.SIGHUP)
        processes.wait_until(solo, "node", lambda: log.exists() and "log reopened" in log.read_text(), 60)
        assert log.stat().st_mode & 0o777 == 0o600
        assert "log reopened" not in kept.read_text()
        assert rpc(solo, "getBlockNumber")["result"] >= 1
        for path in [solo.pid("node"), *(solo.path / "data").rglob("*")]:
            assert path.stat().st_mode & 0o022 == 0, path
    finally:
        list(stop_consortium(made))
    assert "stopped at height" in log.read_text()


def test_who_asked_what_stands_in_the_access_log_which_reopen_opens_anew(tmp_path: Path) -> None:
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "asked")
    solo = made.org("solo")
    text = solo.node_config.read_text()
    solo.node_config.write_text(text.replace("[files]", '[files]\naccess_log = "access.log"'))
    list(start_consortium(made, agents=False))
    log, kept = solo.path / "access.log", solo.path / "access.log.1"
    try:
        rpc(solo, "getStateRange", contract="orgs", map="orgs")
        rpc(solo, "getBlockByNumber", height=10**9)
        processes.wait_until(solo, "node", lambda: "getBlockByNumber" in log.read_text(), 60)
        log.rename(kept)
        assert assent("logs", solo.path, "--reopen").returncode == 0
        rpc(solo, "getCode", contract="orgs")
        processes.wait_until(solo, "node", lambda: log.exists() and "getCode" in log.read_text(), 60)
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        list(stop_consortium(made))
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    asked = {line["method"]: line for line in lines}
    assert asked["getStateRange"]["about"] == {"contract": "orgs", "map": "orgs"}
    assert asked["getBlockByNumber"]["outcome"] == "not_found"
    assert {line["principal"] for line in lines} == {"local"}
    assert "getCode" not in asked


def ask(port: int, body: Any, host: str = "localhost") -> Any:
    """Send JSON to a node under some host name; return what it answers, parsed where it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json", "Host": host})
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return json.loads(text) if text[:1] in "[{" else text


def a_call(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_a_node_lives_at_the_paths_and_ports_that_are_set(tmp_path: Path) -> None:
    port = int(org_ports(1, 0)[0][1].rpartition(":")[2])
    acme = OrgFolder(tmp_path)
    acme.node_config.write_text(ELSEWHERE.format(port=port))
    processes.start(acme, "node")
    try:
        info = a_call("getNodeInfo")

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return bool(ask(port, info)["result"])
            return False

        processes.wait_until(acme, "node", answers, 60)
        assert ask(port, info)["result"]["org"] == "acme"
        assert ask(port, info)["result"]["key"] == load_key(tmp_path / "identity.key").public.hex()
        assert load_genesis(tmp_path / "founding.json").orgs[0].id == "acme"
        assert (tmp_path / "ledger" / "records").is_dir()
        assert not (tmp_path / "data").exists()
        assert ask(port, info, "ledger.example")["result"]
        assert "rpc.hosts" in ask(port, info, "other.example")
        assert "4096" in str(ask(port, a_call("getNodeInfo", x="y" * 5_000)))
        large = ask(port, [a_call("getGenesis")] * 4)
        assert "rpc.max_answer_bytes" in large[-1]["error"]["message"]
        late = ask(port, a_call("getTransactionReceipt", id="ab" * 32, waitMs=20_000))
        assert late["error"]["data"]["code"] == "timeout"
        assert "INFO" not in acme.log("node").read_text()
    finally:
        processes.stop(acme, "node")


def signed(key: PrivateKey, chain_id: bytes, size: int = 0) -> str:
    """Return a transaction, encoded, whose arguments have so many bytes."""
    body = TransactionBody(
        chain_id=chain_id, sender=key.public, contract="orgs", method="none",
        args=encode_value({"x": "y" * size}), gas_limit=100_000, nonce=os.urandom(16), valid_until=100,
    )  # fmt: skip
    return encode(sign_transaction(body, key)).hex()


@pytest.mark.parametrize(
    ("bounds", "size", "accepted", "code"),
    [
        ("max_per_sender = 7", 0, 7, "sender_full"),
        ("max_transactions = 100", 0, 100, "pool_full"),
        ("max_bytes = 1048576", 60_000, 17, "pool_full"),
    ],
)
def test_the_pool_of_a_node_that_orders_nothing_keeps_its_bounds(
    tmp_path: Path, bounds: str, size: int, accepted: int, code: str
) -> None:
    """One of two validators runs, so what it is sent waits."""
    made = create_consortium(tmp_path / "c", ["bank", "bureau"], [], 0, "waits")
    bank = made.org("bank")
    with bank.node_config.open("a") as config:
        config.write(f"\n[mempool]\n{bounds}\n")
    key, chain_id = load_key(bank.key("admin")), load_genesis(made.genesis).chain_id
    processes.start(bank, "node")
    try:
        processes.wait_until(bank, "node", lambda: is_up(bank), 60)
        sent: list[dict[str, Any]] = []
        for _ in range(0, accepted + 1, 20):
            some = [signed(key, chain_id, size) for _ in range(min(20, accepted + 1 - len(sent)))]
            sent += rpc(bank, "sendTransactions", transactions=some)["result"]
        codes = [item["error"]["code"] if "error" in item else "" for item in sent]
        assert codes == [""] * accepted + [code]
        assert rpc(bank, "getNodeInfo")["result"]["pool"] == accepted
    finally:
        list(stop_consortium(made))


def is_up(org: OrgFolder) -> bool:
    with contextlib.suppress(OSError):
        return bool(rpc(org, "getNodeInfo"))
    return False


def test_proposals_keep_the_batch_interval_that_is_set(tmp_path: Path) -> None:
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "slow")
    solo = made.org("solo")
    with solo.node_config.open("a") as config:
        config.write("\n[consensus]\nbatch_interval_ms = 1500\n")
    key, chain_id = load_key(solo.key("admin")), load_genesis(made.genesis).chain_id
    list(start_consortium(made, agents=False))
    try:
        for number in range(1, 4):
            assert rpc(solo, "sendTransaction", transaction=signed(key, chain_id))["result"]
            done = lambda number=number: rpc(solo, "getBlockNumber")["result"] >= number  # noqa: E731
            processes.wait_until(solo, "node", done, 60)
        times = [rpc(solo, "getBlockByNumber", height=h)["result"]["header"]["time"] for h in (1, 2, 3)]
        assert min(times[1] - times[0], times[2] - times[1]) >= 1_400
    finally:
        list(stop_consortium(made))


HIDDEN = """
organisation = "solo"
node = "http://{rpc}"
[files]
genesis = "keys/same.json"
key = "keys/private.key"
data_dir = "work"
[peers]
listen = "127.0.0.1:{port}"
[log]
level = "{level}"
[[datasets]]
id = "solo/people"
path = "people.duckdb"
schema_file = "people.toml"
"""
PEOPLE = """
[file]
table = "grown_ups"
[[columns]]
name = "person"
type = "text"
sensitivity = "identifier"
[[columns]]
name = "age"
type = "decimal"
sensitivity = "sensitive"
"""


def test_an_agent_lives_at_the_paths_and_ports_that_are_set(tmp_path: Path) -> None:
    """Its dataset is a table of a database, with some of its columns, of types and classes that are set."""
    made = create_consortium(tmp_path / "c", ["solo"], ["solo"], 0, "agent")
    solo = made.org("solo")
    url = node_url(solo)
    port = int(org_ports(1, 0)[0][2].rpartition(":")[2])
    solo.key("agent").rename(solo.path / "keys" / "private.key")
    shutil.copy(made.genesis, solo.path / "keys" / "same.json")
    with duckdb.connect(solo.path / "people.duckdb") as data:
        data.execute(
            "create table grown_ups as select 'p' || i as person, i as age, i as wage from range(9) t(i)"
        )
    (solo.path / "people.toml").write_text(PEOPLE)
    written = HIDDEN.format(rpc=url.removeprefix("http://"), port=port, level="info")
    solo.agent_config.write_text(written)
    list(start_consortium(made, agents=False))
    try:
        processes.start(solo, "agent")
        ready = f"agent of solo ready: peers at 127.0.0.1:{port}, node {url}"
        processes.wait_until(solo, "agent", lambda: ready in solo.log("agent").read_text(), 60)
        assert (solo.path / "work" / "lock").exists()
        assert not (solo.path / "agent").exists()
        made_known = assent("dataset", "register", "solo/people", "--as", solo.path)
        assert made_known.returncode == 0, made_known.stderr
        shown = json.loads(assent("dataset", "show", "solo/people", "--json", "--as", solo.path).stdout)
        assert [(c["name"], c["type"], c["sensitivity"]) for c in shown["schema"]] == [
            ("person", "text", "identifier"), ("age", "decimal", "sensitive"),
        ]  # fmt: skip
        processes.stop(solo, "agent")
        solo.log("agent").unlink()
        solo.agent_config.write_text(written.replace('"info"', '"error"'))
        processes.start(solo, "agent")
        processes.wait_until(solo, "agent", lambda: processes.owns_port(solo, "agent", port), 60)
        processes.stop(solo, "agent")
        assert "INFO" not in solo.log("agent").read_text()
        solo.agent_config.write_text(written.replace('organisation = "solo"', 'organisation = "acme"'))
        run = [sys.executable, "-m", "chain.cli.main", "agent", "run", "--config", str(solo.agent_config)]
        refused = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
        assert "organisation = 'acme': the ledger has no such member" in refused.stderr
    finally:
        list(stop_consortium(made))
