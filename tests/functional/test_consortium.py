"""What an operator does with real nodes, and what the nodes answer to bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import ORGS, assent, assent_here, rpc

from chain.cli import processes
from chain.cli.consortium import start_consortium, stop_consortium, why_not_ready
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.ledger.block import Transaction, TransactionBody, sign_transaction, transaction_id
from chain.ledger.genesis import load_genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit
from chain.primitives.keyfile import load_key, save_key
from chain.primitives.possession import prove_possession
from chain.primitives.values import Value, encode_value

pytestmark = pytest.mark.functional
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsortiumFolder]:
    """Four running validators, without agents, as each test leaves them to the next one."""
    made = create_consortium(tmp_path_factory.mktemp("shared") / "c", ORGS, ORGS[:3], 0, "test")
    try:
        list(start_consortium(made, agents=False))
        yield made
    finally:
        list(stop_consortium(made))


def transaction(consortium: ConsortiumFolder, key: PrivateKey, **changes: Any) -> Transaction:
    """Return a signed call of orgs.add_key."""
    genesis, new = load_genesis(consortium.genesis), PrivateKey.generate()
    org = next((item.id for item in genesis.orgs if key.public in [one.key for one in item.keys]), "nobody")
    proof = prove_possession(new, genesis.chain_id, org)
    args: dict[str, Value] = {"key": new.public, "roles": ["steward"], "proof": proof}
    fields: dict[str, Any] = {
        "chain_id": genesis.chain_id,
        "sender": key.public,
        "contract": "orgs",
        "method": "add_key",
        "args": encode_value(args),
        "gas_limit": 1_000_000,
        "nonce": os.urandom(16),
        "valid_until": 200,
    }
    return sign_transaction(TransactionBody(**(fields | changes)), key)


def commit(consortium: ConsortiumFolder, org: str) -> dict[str, Any]:
    """Send a call through an organisation's node and wait for its certificate."""
    folder = consortium.org(org)
    tx = transaction(consortium, load_key(folder.key("admin")))
    sent = rpc(folder, "sendTransaction", transaction=encode(tx).hex())
    assert "error" not in sent, sent
    answer = rpc(folder, "getTransactionReceipt", id=transaction_id(tx.body).hex(), waitMs=9_000)
    assert answer["result"], "no certified receipt within 9 s"
    assert answer["result"]["status"] == "ok"
    result: dict[str, Any] = answer["result"]
    return result


def heights(consortium: ConsortiumFolder) -> list[int]:
    """Return the certified height of every node."""
    return [rpc(org, "getBlockNumber")["result"] for org in consortium.orgs]


def roots(consortium: ConsortiumFolder, height: int) -> set[str]:
    """Return the state roots that the nodes have at a height."""
    return {
        rpc(org, "getBlockByNumber", height=height)["result"]["header"]["stateRoot"]
        for org in consortium.orgs
    }


def test_a_killed_primary_is_replaced_and_catches_up_after_its_restart(consortium: ConsortiumFolder) -> None:
    """SIGKILL of the primary: a view change, then certified blocks without it, then its return."""
    before = commit(consortium, "bureau")["height"]
    primary = rpc(consortium.orgs[1], "getNodeInfo")["result"]["primary"]
    assert primary == "bank-node"
    running = processes.find(consortium.org("bank"), "node")
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    running.wait(10)
    after = commit(consortium, "bureau")["height"]
    assert after > before
    assert rpc(consortium.orgs[1], "getNodeInfo")["result"]["view"] >= 1
    list(start_consortium(consortium, agents=False))
    top = commit(consortium, "bank")["height"]
    processes.wait_until(consortium.org("bank"), "node", lambda: min(heights(consortium)) >= top, 20)
    assert len(roots(consortium, top)) == 1


def test_a_stopped_consortium_starts_again_where_it_stood(consortium: ConsortiumFolder) -> None:
    """Stop, status, start: nothing is lost and the roots agree."""
    top = commit(consortium, "bank")["height"]
    stopped = assent("stop", consortium.path)
    assert stopped.returncode == 0
    assert "regulator: node stopped" in stopped.stdout
    shown = json.loads(assent("status", consortium.path, "--json").stdout)
    assert {node["state"] for node in shown["nodes"]} == {"stopped"}
    assert "start it with" in shown["nodes"][0]["stall"]
    list(start_consortium(consortium, agents=False))
    assert commit(consortium, "regulator")["height"] > top
    assert len(roots(consortium, top)) == 1


def test_bad_transactions_are_refused_with_a_stable_code(consortium: ConsortiumFolder) -> None:
    """Malformed, unknown sender, forged, wrong chain, expired, far ahead, replayed, too much gas."""
    org = consortium.org("bank")
    admin, stranger = load_key(org.key("admin")), PrivateKey.generate()
    good = transaction(consortium, admin)
    forged = Transaction(good.body, bytes(64))
    cases = {
        "malformed": b"\x93\xa2tx",
        "unknown_sender": encode(transaction(consortium, stranger)),
        "bad_signature": encode(forged),
        "wrong_chain": encode(transaction(consortium, admin, chain_id=bytes(32))),
        "expired": encode(transaction(consortium, admin, valid_until=0)),
        "too_far_ahead": encode(transaction(consortium, admin, valid_until=10_000)),
        "gas_limit": encode(transaction(consortium, admin, gas_limit=10**12)),
        "too_large": bytes(200_000),
    }
    for code, raw in cases.items():
        answer = rpc(org, "sendTransaction", transaction=raw.hex())
        assert answer["error"]["data"]["code"] == code, answer
        assert len(answer["error"]["message"]) > 20
    assert "error" not in rpc(org, "sendTransaction", transaction=encode(good).hex(), mode="commit")
    again = rpc(org, "sendTransaction", transaction=encode(good).hex())
    assert again["error"]["data"]["code"] == "already_committed"
    unknown = rpc(org, "call", contract="nothing", method="nothing")
    assert unknown["error"]["data"]["code"] == "call_failed"


def test_a_failed_transaction_is_explained_with_its_place_in_the_contract(
    consortium: ConsortiumFolder,
) -> None:
    """`tx explain` runs it again on the state that it met: contract, function, line, and the line itself."""
    org = consortium.org("bank")
    account = ("--as", org.path)
    sent = assent("tx", "send", "lifecycle", "commit", "--args", '{"name": "nothing", "seq": 1}', *account)
    tx_id = re.search(r"[0-9a-f]{64}", sent.stdout + sent.stderr)
    assert tx_id is not None, sent
    told = assent_here("tx", "explain", tx_id[0], *account)
    assert told.returncode == 0, told
    assert re.search(r"lifecycle\.commit, lifecycle:\d+\n    \S.*\n", told.stdout), told.stdout
    assert 'lifecycle.commit(name="nothing", seq=1) by ' in told.stdout
    shown = json.loads(assent_here("tx", "explain", tx_id[0], "--json", *account).stdout)
    assert (shown["status"], shown["id"]) == ("reverted", tx_id[0])
    assert shown["trace"][-1]["function"] == "commit"
    assert shown["args"] == {"name": "nothing", "seq": 1}
    unknown = rpc(org, "explainTransaction", id="00" * 32)
    assert unknown["error"]["data"]["code"] == "not_found"


def test_a_second_process_on_a_data_directory_and_a_busy_port_are_refused(
    consortium: ConsortiumFolder,
) -> None:
    """Both name the thing and the remedy, and the running node is not disturbed."""
    bank = consortium.org("bank")
    second = assent("node", "run", "--config", bank.node_config)
    assert second.returncode == Exit.CONFIG
    assert "data_locked" in second.stderr
    other = bank.path / "other.toml"
    other.write_text(bank.node_config.read_text().replace('data_dir = "data"', 'data_dir = "other-data"'))
    busy = assent("node", "run", "--config", other)
    assert busy.returncode == Exit.CONFIG
    assert "port_busy" in busy.stderr
    assert "rpc.listen = 127.0.0.1:" in busy.stderr
    assert rpc(bank, "getNodeInfo")["result"]["stall"] == ""


def test_a_node_run_by_hand_is_seen_and_never_taken_for_the_one_that_start_began(tmp_path: Path) -> None:
    """`status`, `start` and `stop` know it; `start` fails when its own process died and another answers."""
    made = create_consortium(tmp_path / "hand", ["solo"], [], 0, "hand")
    solo = made.org("solo")
    command = [str(Path(sys.executable).with_name("assent")), "node", "run"]
    with subprocess.Popen(command, cwd=solo.path, stderr=subprocess.DEVNULL) as own:
        try:
            processes.wait_until(solo, "node", lambda: not why_not_ready(solo), 60)
            assert json.loads(assent("status", made.path, "--json").stdout)["nodes"][0]["state"] == "running"
            assert "was running" in assent("start", made.path).stdout
            twin = tmp_path / "twin"
            shutil.copytree(made.path, twin, ignore=shutil.ignore_patterns("data", "*.pid"))
            (twin / "solo" / "data").symlink_to(solo.path / "data")
            second = assent("start", twin)
            assert second.returncode == Exit.CONFIG
            assert "data_locked" in second.stderr
            assert "node stopped" in assent("stop", made.path).stdout
            assert own.wait(30) == 0
        finally:
            own.kill()


def test_the_first_organisations_of_a_chain_start_each_on_its_own_and_wait_for_the_others(
    tmp_path: Path,
) -> None:
    """The first to start got an error after a minute, and its agent did not run until it started again."""
    made = create_consortium(tmp_path / "c", ORGS, ORGS[:2], 0, "founding")
    try:
        for count, name in enumerate(ORGS, 1):
            told = assent("start", made.path, "--org", name)
            assert told.returncode == 0, told.stderr
            assert f"{name}: node started, RPC at" in told.stdout
            assert (f"{name}: agent started" in told.stdout) == (name in ORGS[:2])
            waits = f"not ready yet: {count} of 4 validators are connected, 3 are needed"
            assert (waits in told.stdout) == (count < 3), told.stdout
        shown = json.loads(assent("status", made.path, "--json").stdout)
        assert {item["state"] for item in [*shown["nodes"], *shown["agents"]]} == {"running"}
        whole = assent("start", made.path)
        assert whole.returncode == 0, whole.stderr
        assert whole.stdout.count("was running") == 6
        assert commit(made, "regulator")["height"] >= 1
    finally:
        assert assent("stop", made.path).stdout.count("stopped") == 6


def test_the_whole_consortium_is_not_said_to_have_started_while_too_few_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create_consortium(tmp_path / "c", ["bank", "bureau"], [], 0, "half")
    monkeypatch.setattr("chain.cli.consortium.READY_S", 8.0)
    half = ConsortiumFolder(made.path, (made.org("bank"),))
    try:
        with pytest.raises(processes.NotReady, match="bank: not ready after 8 s") as caught:
            list(start_consortium(half))
        assert caught.value.exit == Exit.NO_QUORUM
        assert processes.find(made.org("bank"), "node") is not None
    finally:
        assent("stop", made.path)


def test_start_ends_with_the_words_and_the_status_of_the_node_that_ended_and_of_no_earlier_one(
    tmp_path: Path,
) -> None:
    """Words of an earlier process stood before them, and every cause had one status."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "ends")
    solo = made.org("solo")
    try:
        assert assent("start", made.path).returncode == 0
        assert assent("stop", made.path).returncode == 0
        assert "stopped at height" in solo.log("node").read_text()
        solo.key("node").chmod(0o644)
        told = assent("start", made.path)
        assert told.returncode == Exit.CONFIG, told.stderr
        assert "error [key_file]" in told.stderr
        assert "stopped at height" not in told.stderr
        solo.key("node").chmod(0o600)
        (solo.path / "data" / "CURRENT").write_text("nonsense")
        told = assent("start", made.path)
        assert told.returncode == Exit.DAMAGED, told.stderr
        assert "error [data_damaged]" in told.stderr
        assert "key_file" not in told.stderr
    finally:
        assent("stop", made.path)


def test_a_wrong_genesis_and_a_damaged_key_stop_a_node_with_the_remedy(tmp_path: Path) -> None:
    """The data of one chain are never opened as another's; a broken key file is never guessed at."""
    first = create_consortium(tmp_path / "one", ["solo"], ["solo"], 0, "one")
    list(start_consortium(first, agents=False))
    assert assent("stop", first.path).returncode == 0
    second = create_consortium(tmp_path / "two", ["solo"], ["solo"], 0, "two")
    shutil.copy(second.genesis, first.genesis)
    wrong = assent("node", "run", "--config", first.org("solo").node_config)
    assert wrong.returncode == Exit.CONFIG
    assert "wrong_genesis" in wrong.stderr
    key = second.org("solo").key("node")
    key.write_text(key.read_text()[:40])
    damaged = assent("node", "run", "--config", second.org("solo").node_config)
    assert damaged.returncode == Exit.CONFIG
    assert "key_file" in damaged.stderr
    assert "restore it from backup" in damaged.stderr
    edited = json.loads(second.genesis.read_text())
    edited["limits"]["block_txs"] = 0
    second.genesis.write_text(json.dumps(edited))
    refused = assent("node", "run", "--config", second.org("solo").node_config)
    assert "block_txs" in refused.stderr
    assert refused.returncode == Exit.CONFIG


def test_a_node_of_another_chain_gets_no_connection(consortium: ConsortiumFolder, tmp_path: Path) -> None:
    """A stranger with its own genesis is outside the membership: TLS refuses it, the chain goes on."""
    other = create_consortium(tmp_path / "other", ORGS, [], 0, "other")
    victim, intruder = consortium.org("bank"), other.org("bank")
    genesis = json.loads(other.genesis.read_text())
    address = victim.node_config.read_text().split('[network]\nlisten = "')[1].split('"')[0]
    genesis["validators"][1]["address"] = address
    genesis.pop("chain_id")
    other.genesis.write_text(json.dumps(genesis))
    processes.start(intruder, "node")
    try:
        commit(consortium, "bank")
        assert len(rpc(victim, "getPeers")["result"]) == 3
        assert all(peer["connected"] for peer in rpc(victim, "getPeers")["result"])
    finally:
        processes.stop(intruder, "node")


def test_the_sample_configuration_starts_a_node_as_it_is(tmp_path: Path) -> None:
    """`node.toml` at the root, in an empty folder, with its ports replaced by free ones."""
    ports = (
        create_consortium(tmp_path / "ports", ["solo"], [], 0, "ports").org("solo").node_config.read_text()
    )
    text = (REPOSITORY / "node.toml").read_text()
    text = text.replace("127.0.0.1:30300", ports.split('listen = "')[1].split('"')[0])
    text = text.replace("127.0.0.1:8545", ports.split('listen = "')[2].split('"')[0])
    home = create_consortium(tmp_path / "home", ["solo"], [], 0, "home")
    org = home.org("solo")
    shutil.rmtree(org.path / "keys")
    org.node_config.write_text(text)
    assert list(start_consortium(home, agents=False))
    try:
        info = rpc(org, "getNodeInfo")["result"]
        assert (info["role"], info["chainName"], info["stall"]) == ("validator", "solo", "")
    finally:
        assent("stop", home.path)
    for name in ("node.key", "admin.key", "agent.key"):
        assert (org.path / name).stat().st_mode & 0o777 == 0o600


def test_init_writes_a_whole_folder_or_nothing(tmp_path: Path) -> None:
    """A folder in the way, a bad name, a doubled name: an error and no trace."""
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    save_key(occupied / "mine.key", PrivateKey.generate())
    taken = assent_here("init", occupied, "--orgs", "a,b")
    assert taken.returncode == Exit.CONFIG
    assert "not empty" in taken.stderr
    for orgs in ("Bank", "a,,b", "a,a", "a b"):
        refused = assent_here("init", tmp_path / "new", "--orgs", orgs)
        assert refused.returncode == Exit.CONFIG
        assert "--orgs" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["occupied"]
    none = assent_here("status", tmp_path / "new")
    assert none.returncode == Exit.CONFIG
    assert "assent init" in none.stderr
