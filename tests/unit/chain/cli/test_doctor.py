"""`assent doctor`: one line a check, one remedy where it is needed, and the status of the worst."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chain.api.tokens import Token, save_tokens
from chain.cli import doctor_checks, processes
from chain.cli.doctor import status_of
from chain.cli.doctor_checks import (
    DOUBTFUL,
    FINE,
    GIB,
    WRONG,
    Diagnosis,
    check_clock,
    check_libraries,
    check_limits,
    check_own_address,
    check_peers,
    fine,
    judge_room,
)
from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.cli.main import main
from chain.config import NodeConfig, load_node_config
from chain.ledger.genesis import load_genesis
from chain.primitives.errors import Exit
from chain.primitives.keyfile import load_key, replace_key


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a chain of one validator with an agent, not started."""
    return create_consortium(tmp_path_factory.mktemp("doctor") / "c", ["bank"], ["bank"], 0, "alone").path


@pytest.fixture
def org(made: Path, tmp_path: Path) -> OrgFolder:
    """A copy of it."""
    return OrgFolder(Path(shutil.copytree(made, tmp_path / "c")) / "bank")


def examine(org: OrgFolder, status: int) -> dict[str, dict[str, Any]]:
    """Return the checks of a folder by name."""
    told = CliRunner().invoke(main, ["doctor", str(org.path), "--json"])
    assert told.exit_code == status, told.output
    document = json.loads(told.output)
    assert document["status"] == status
    return {item["check"]: item for item in document["checks"]}


def set_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_host_that_is_as_it_must_be_has_nothing_wrong_and_ends_with_0(org: OrgFolder) -> None:
    found = examine(org, 0)
    assert [name for name, item in found.items() if item["verdict"] == WRONG] == []
    for name in ("python", "libraries", "configuration", "keys", "folders", "disk", "genesis", "file limits",
                 "port network.listen", "port rpc.listen", "port peers.listen", "peers"):  # fmt: skip
        assert found[name]["verdict"] == FINE, found[name]
        assert found[name]["remedy"] == ""
    chain = load_genesis(org.path.parent / "genesis.json").chain_id.hex()
    assert f"alone, {chain}; bank-node is a founder" in found["genesis"]["said"]
    assert found["node"]["verdict"] == DOUBTFUL
    assert found["node"]["remedy"] == org.start_command


def test_for_people_each_check_is_a_line_and_what_is_not_fine_has_a_remedy_below(org: OrgFolder) -> None:
    org.key("node").chmod(0o644)
    lines = CliRunner().invoke(main, ["doctor", str(org.path)]).output.splitlines()
    verdicts = [line.split()[0] for line in lines[:-1]]
    assert set(verdicts) <= {FINE, DOUBTFUL, WRONG, "→"}
    assert verdicts.count("→") == verdicts.count(DOUBTFUL) + verdicts.count(WRONG)
    assert f"{'':<9} → chmod 600 {org.key('node')}" in lines
    assert lines[-1].endswith(" 1 wrong")


def test_keys_that_others_read_that_are_missing_or_damaged_are_wrong_each_with_its_remedy(
    org: OrgFolder,
) -> None:
    key = org.key("agent")
    key.chmod(0o640)
    assert "mode 0640, others read it" in examine(org, Exit.CONFIG)["keys"]["said"]
    key.chmod(0o600)
    key.write_text("{}")
    assert "backup" in examine(org, Exit.CONFIG)["keys"]["remedy"]
    key.unlink()
    found = examine(org, Exit.CONFIG)["keys"]
    assert f"files.key of agent.toml, {key}: No such file" in found["said"]
    assert "backup" in found["remedy"]


def test_a_key_folder_in_which_others_write_is_wrong(org: OrgFolder) -> None:
    keys = org.key("node").parent
    keys.chmod(0o777)
    found = examine(org, Exit.CONFIG)["keys"]
    assert "others may exchange files" in found["said"]
    assert found["remedy"] == f"chmod 700 {keys}"


def test_a_sealed_key_without_its_passphrase_is_doubtful(
    org: OrgFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_key(org.key("agent"), load_key(org.key("agent")), "correct horse")
    found = examine(org, 0)["keys"]
    assert (found["verdict"], "agent.key" in found["said"]) == (DOUBTFUL, True)
    monkeypatch.setenv("ASSENT_PASSPHRASE", "correct horse")
    assert examine(org, 0)["keys"]["verdict"] == FINE


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_of_another_process_and_an_address_of_another_host_are_wrong(
    org: OrgFolder, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = load_node_config(org.node_config)
    set_in(org.node_config, config.rpc.listen, f"127.0.0.1:{taken}")
    set_in(org.node_config, config.network.listen, "192.0.2.7:30300")
    found = examine(org, Exit.CONFIG)
    assert f"rpc.listen = 127.0.0.1:{taken}: " in found["port rpc.listen"]["said"]
    assert "stop what uses the port" in found["port rpc.listen"]["remedy"]
    assert "this host has no such address" in found["port network.listen"]["said"]
    assert found["port peers.listen"]["verdict"] == FINE
    monkeypatch.setattr(
        processes, "owns_port", lambda _org, process, port: (process, port) == ("node", taken)
    )
    assert "the node of bank listens" in examine(org, Exit.CONFIG)["port rpc.listen"]["said"]


def test_a_configuration_that_is_wrong_is_told_with_file_key_and_value_and_ends_the_examination(
    org: OrgFolder,
) -> None:
    set_in(org.node_config, 'data_dir = "data"', 'data_dir = "keys"')
    found = examine(org, Exit.CONFIG)
    assert "files.data_dir" in found["configuration"]["said"]
    assert found["configuration"]["remedy"]
    assert "keys" not in found


def test_a_genesis_that_is_missing_or_was_edited_is_wrong(org: OrgFolder) -> None:
    genesis = org.path.parent / "genesis.json"
    set_in(genesis, '"block_txs": 1000', '"block_txs": 999')
    found = examine(org, Exit.CONFIG)
    assert "the file was edited" in found["genesis"]["said"]
    genesis.unlink()
    assert "cannot be read" in examine(org, Exit.CONFIG)["genesis"]["said"]


def test_a_founding_record_that_was_altered_or_lacks_a_signature_is_wrong(tmp_path: Path) -> None:
    base, run = tmp_path, CliRunner().invoke
    org = OrgFolder(base / "bank")
    for words in (
        ["request", org.path, "--founding", "u", "--address", "127.0.0.1:29871"],
        ["combine", org.founding_card, "--out", base / "d.json"],
        ["sign", base / "d.json", "--as", org.path],
        ["install", base / "d.json", org.path / "bank.signature.json", "--as", org.path],
    ):
        told = run(main, ["found", *map(str, words)])
        assert told.exit_code == 0, told.output
    assert "signed by all 1 founders" in examine(org, 0)["genesis"]["said"]
    signature = org.path / "founding/bank.signature.json"
    whole = signature.read_bytes()
    signature.write_bytes(whole[:-10])
    assert str(signature) in examine(org, Exit.DAMAGED)["genesis"]["said"]
    signature.unlink()
    assert "not signed by bank" in examine(org, Exit.REFUSED)["genesis"]["said"]


def test_the_worst_that_is_wrong_is_the_status() -> None:
    of = lambda verdict, status: Diagnosis("x", verdict, "", "", status)  # noqa: E731
    assert status_of([fine("x", "")]) == 0
    assert status_of([of(DOUBTFUL, Exit.DAMAGED)]) == 0
    wrong = [of(WRONG, s) for s in (Exit.REFUSED, Exit.NO_QUORUM, Exit.IO, Exit.CONFIG, Exit.DAMAGED)]
    for count, worst in enumerate((Exit.REFUSED, Exit.NO_QUORUM, Exit.IO, Exit.CONFIG, Exit.DAMAGED), 1):
        assert status_of(wrong[:count]) == worst


def test_room_that_is_short_is_doubtful_and_hardly_any_is_wrong() -> None:
    assert judge_room("disk", 5 * GIB, 1, 5 * GIB, "").verdict == FINE
    assert judge_room("disk", 5 * GIB - 1, GIB, 5 * GIB, "").verdict == DOUBTFUL
    short = judge_room("disk", GIB - 1, GIB, 5 * GIB, "")
    assert (short.verdict, short.exit) == (WRONG, Exit.IO)
    assert "keep_blocks" in short.remedy


def test_a_clock_before_height_0_is_wrong_and_one_that_nobody_keeps_right_doubtful(
    org: OrgFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis = load_genesis(org.path.parent / "genesis.json")
    monkeypatch.setattr(doctor_checks, "_kept_right", lambda: True)
    assert check_clock(genesis, genesis.time).verdict == FINE
    assert check_clock(genesis, genesis.time - 1).verdict == WRONG
    monkeypatch.setattr(doctor_checks, "_kept_right", lambda: False)
    assert check_clock(genesis, genesis.time).verdict == DOUBTFUL
    monkeypatch.setattr(doctor_checks, "_kept_right", lambda: None)
    assert check_clock(genesis, genesis.time).verdict == FINE


def test_libraries_that_are_missing_old_or_of_another_machine_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check_libraries().verdict == FINE
    wanted = ["nobody-has-this>=1", "click>=9999.1", "msgpack>=1"]
    monkeypatch.setattr(doctor_checks, "requires", lambda _name: wanted)
    monkeypatch.setattr(doctor_checks, "NATIVE", ("no_such_module",))
    found = check_libraries()
    assert (found.verdict, found.exit) == (WRONG, Exit.CONFIG)
    assert "nobody-has-this is not installed" in found.said
    assert "is older than 9999.1" in found.said
    assert "no_such_module does not load" in found.said
    assert "msgpack" not in found.said


def test_too_low_a_limit_on_open_files_and_too_large_caches_have_their_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (64, 64))
    config = NodeConfig.model_validate({"cache": {"leveldb_mib": 65_536}})
    files, memory = check_limits(config, 4)
    assert (files.verdict, files.exit) == (WRONG, Exit.CONFIG)
    assert "the hard limit of this process is 64" in files.said
    assert "LimitNOFILE" in files.remedy
    assert memory.verdict == DOUBTFUL
    assert "lower them" in memory.remedy


async def test_peers_that_cannot_be_dialled_are_named_and_wrong_once_no_quorum_is_left(taken: int) -> None:
    there = ("b-node", f"localhost:{taken}")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = ("c-node", f"127.0.0.1:{closed.getsockname()[1]}")
    unknown = ("d-node", "no-such-host.invalid:1")
    assert (await check_peers([there, there, there], 4)).verdict == FINE
    one = await check_peers([there, there, away], 4)
    assert one.verdict == DOUBTFUL
    assert f"c-node at {away[1]} (Connection refused)" in one.said
    two = await check_peers([there, away, unknown], 4)
    assert (two.verdict, two.exit) == (WRONG, Exit.NO_QUORUM)
    assert "d-node at no-such-host.invalid:1 (the name does not resolve" in two.said


async def test_an_own_address_that_leads_to_nobody_is_doubtful(taken: int) -> None:
    assert (await check_own_address(f"localhost:{taken}")).verdict == FINE
    away = await check_own_address("no-such-host.invalid:1")
    assert away.verdict == DOUBTFUL
    assert "the name does not resolve" in away.said
    for text in ("", "nowhere", "a" * 70 + ".b:1", "x\x1b[2J:1", "[::1%x]:1", "h:99999"):
        assert (await check_own_address(text)).verdict == DOUBTFUL


def test_a_node_of_another_version_one_that_stalls_and_what_it_notes_are_told(
    org: OrgFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {
        "version": "0.0.1",
        "stall": "too few: a at x:1 (gone); b at y:2 (gone). Start them, or open it",
        "notes": ["a\x1b[2J clock; set it"],
    }

    class Answering:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        async def __aenter__(self) -> Any:
            async def request(_: str) -> Any:
                return info

            async def variable(*_: str) -> Any:
                return []

            async def page(_: str) -> Any:
                return {}

            async def entries(*_: str) -> AsyncIterator[tuple[Any, Any]]:
                for nothing in ():
                    yield nothing

            return SimpleNamespace(request=request, variable=variable, page=page, entries=entries)

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr("chain.cli.doctor.own_client", Answering)
    told = CliRunner().invoke(main, ["doctor", str(org.path)])
    assert told.exit_code == Exit.NO_QUORUM
    assert "\x1b" not in told.output
    assert "node: it runs Assent 0.0.1, and installed is" in told.output
    assert "head: it signs no head statement" in told.output
    said = "wrong     node: too few: a at x:1 (gone); b at y:2 (gone)\n          → Start them, or open it\n"
    assert said in told.output
    assert "→ set it" in told.output


def test_what_is_no_organisations_folder_is_said_so_with_the_next_step(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["doctor", str(tmp_path)])
    assert told.exit_code == Exit.CONFIG
    assert "neither the folder of a consortium nor that of an organisation" in told.output


def with_tokens(org: OrgFolder, **days: int) -> None:
    now = time.time_ns() // 1_000_000
    save_tokens(
        org.path / "rpc-tokens.json",
        tuple(
            Token(
                name=name, secret_sha256=f"{number:064x}", scopes=("read",), created=0,
                expires=now + day * 86_400_000 + 60_000,
            )
            for number, (name, day) in enumerate(days.items())
        ),
    )  # fmt: skip


def test_tokens_that_are_over_or_end_soon_are_named_with_how_to_replace_them(org: OrgFolder) -> None:
    assert "tokens" not in examine(org, 0)
    with_tokens(org, ci=15)
    assert examine(org, 0)["tokens"]["verdict"] == FINE
    with_tokens(org, ci=15, lab=13, old=-1)
    found = examine(org, 0)["tokens"]
    assert found["verdict"] == DOUBTFUL
    assert found["said"] == "over: old; end within 14 days: lab"
    assert f"assent node token remove old --config {org.node_config}" in found["remedy"]
    with_tokens(org, **{f"t{number}": -1 for number in range(30)})
    assert "t7 and 22 more" in examine(org, 0)["tokens"]["said"]
    set_in(org.node_config, "[rpc]", "[rpc]\nprincipals = true")
    (org.path / "rpc-tokens.json").write_text("{")
    found = examine(org, Exit.CONFIG)["tokens"]
    assert found["verdict"] == WRONG
    assert "assent node token new" in found["remedy"]


def test_secrets_of_the_port_that_others_may_read_are_named(org: OrgFolder) -> None:
    with_tokens(org, ci=15)
    assert examine(org, 0)["rpc secrets"]["verdict"] == FINE
    (org.path / "node.token").write_text("secret")
    for name, mode in (("node.token", 0o644), ("rpc-tokens.json", 0o606)):
        (org.path / name).chmod(mode)
        found = examine(org, Exit.CONFIG)["rpc secrets"]
        assert found["verdict"] == WRONG
        assert f"{name}: mode {mode:04o}" in found["said"]
        assert found["remedy"].startswith("chmod 600 ")
        (org.path / name).chmod(0o600)


def test_an_agent_that_asks_its_node_otherwise_than_it_answers_is_named_before_anything_starts(
    org: OrgFolder,
) -> None:
    """The agent waited for its node for ever, and `start` for the agent."""
    set_in(org.node_config, "[rpc]", "[rpc]\ntls = true")
    found = examine(org, Exit.CONFIG)["configuration"]
    assert found["verdict"] == WRONG
    listen = load_node_config(org.node_config)[0].rpc.listen
    assert f"agent.toml: node = 'http://{listen}'" in found["said"]
    assert f"write node = 'https://{listen}'" in found["said"]
    set_in(org.agent_config, "http://", "https://")
    assert examine(org, 0)["configuration"]["verdict"] == FINE


def test_a_certificate_that_no_port_would_show_is_refused(org: OrgFolder) -> None:
    set_in(org.node_config, "[files]", '[files]\nrpc_certificate = "port.pem"\nrpc_key = "port.key"')
    found = examine(org, Exit.CONFIG)["configuration"]
    assert "files.rpc_certificate = 'port.pem': nothing shows it while [rpc] tls = false" in found["said"]


def test_a_certificate_that_is_over_or_ends_soon_is_told_with_what_to_do(org: OrgFolder) -> None:
    files = '[files]\nrpc_certificate = "port.pem"\nrpc_key = "port.key"'
    set_in(org.node_config, "[files]", files)
    set_in(org.node_config, "[rpc]", "[rpc]\ntls = true")
    set_in(org.agent_config, "http://", "https://")
    now = datetime.now(UTC)
    for days, verdict, said in (
        (40, FINE, "good for 39"),
        (9, DOUBTFUL, "ends in 8 days"),
        (-1, WRONG, "valid"),
    ):
        certificate_of(org.path, now + timedelta(days=days))
        found = examine(org, Exit.CONFIG if verdict == WRONG else 0)["rpc certificate"]
        assert found["verdict"] == verdict
        assert said in found["said"]
        assert verdict == FINE or "renew it with its authority" in found["remedy"]
    (org.path / "port.key").chmod(0o644)
    certificate_of(org.path, now + timedelta(days=40), with_key=False)
    found = examine(org, Exit.CONFIG)["rpc certificate"]
    assert "mode 0644 lets others read it" in found["said"]
    assert "chmod 600" in found["remedy"]


def certificate_of(folder: Path, end: datetime, *, with_key: bool = True) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(end - timedelta(days=90)).not_valid_after(end)
    signed = made.sign(key, hashes.SHA256())
    (folder / "port.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    if with_key:
        raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "port.key").write_bytes(raw)
        (folder / "port.key").chmod(0o600)


def test_an_access_log_that_cannot_be_written_is_wrong_and_one_that_can_is_not_touched(
    org: OrgFolder,
) -> None:
    assert "access log" not in examine(org, 0)
    set_in(org.node_config, "[files]", '[files]\naccess_log = "logs/access.log"')
    found = examine(org, Exit.CONFIG)["access log"]
    assert "its folder is not there" in found["said"]
    assert found["remedy"] == f"mkdir -p {org.path}/logs"
    (org.path / "logs").mkdir()
    assert examine(org, 0)["access log"]["verdict"] == FINE
    assert list((org.path / "logs").iterdir()) == []
    os.mkfifo(org.path / "logs" / "access.log")
    assert "not a regular file" in examine(org, Exit.CONFIG)["access log"]["said"]
