"""The governing commands read their options strictly, foresee stalls, and trust no file of proofs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from chain.cli import proposal as proposals
from chain.cli.contract import _access
from chain.cli.contract_views import _seq_at
from chain.cli.key import key as key_commands
from chain.cli.key import prove_key, proved_key, public_key
from chain.cli.main import main
from chain.cli.proofs import ProofFileError, check_proofs, write_proofs
from chain.cli.stall_check import WouldStall, check_reach
from chain.client.client import Client
from chain.ledger.genesis import save_genesis
from chain.ledger.proof.proofs import ProvedState
from chain.ledger.testing import ToyChain
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError, ConfigError, KeyFileError
from chain.primitives.keyfile import save_key
from chain.primitives.possession import proves_possession
from chain.primitives.runtimeport import map_key


def test_access_options_name_organisations_and_roles() -> None:
    assert _access(("add=bank,role:admin", "reset= bureau ,bank")) == {
        "add": {"orgs": ["bank"], "roles": ["admin"]},
        "reset": {"orgs": ["bureau", "bank"], "roles": []},
    }
    for bad in (("add",), ("add=",), ("=bank",), ("add=bank", "add=bureau")):
        with pytest.raises(ConfigError, match="--allow"):
            _access(bad)


def test_a_public_key_is_read_from_digits_or_a_file(tmp_path: Path) -> None:
    key, path = PrivateKey(bytes(32)), tmp_path / "node.key"
    save_key(path, key, "sealed with this")
    assert public_key(str(path), "--node-key") == public_key(key.public.hex(), "--node-key") == key.public
    (tmp_path / "other").write_text("{}")
    for bad in ("ab", "zz" * 32, str(tmp_path / "missing"), str(tmp_path / "other")):
        with pytest.raises(KeyFileError):
            public_key(bad, "--node-key")


def test_a_key_is_registered_from_its_file_or_from_what_its_holder_printed(tmp_path: Path) -> None:
    key, path, chain = PrivateKey(bytes(32)), tmp_path / "node.key", bytes(range(32))
    save_key(path, key)
    made = proved_key(str(path), "--node-key", chain, "bank")
    assert proves_possession(made.public, made.proof, chain, "bank")
    assert proved_key(str(made), "--node-key", chain, "bank") == made
    assert not proves_possession(made.public, made.proof, chain, "rival")
    with pytest.raises(KeyFileError, match=r"--node-key .* does not hold for 'rival'"):
        proved_key(str(made), "--node-key", chain, "rival")
    with pytest.raises(KeyFileError, match="on chain 0000000000000000"):
        proved_key(str(made), "--node-key", bytes(32), "bank")
    for bad in (key.public.hex(), "ab:cd", f"{made}:00", "zz:zz", str(tmp_path / "missing")):
        with pytest.raises(KeyFileError, match="assent key prove FILE --org bank"):
            proved_key(bad, "--node-key", chain, "bank")


def test_the_command_prints_what_the_options_take(tmp_path: Path) -> None:
    key, path, chain = PrivateKey(bytes(32)), tmp_path / "node.key", ToyChain()
    save_key(path, key)
    save_genesis(tmp_path / "genesis.json", chain.genesis)
    words = ["prove", str(path), "--org", "bank", "--genesis", str(tmp_path / "genesis.json")]
    printed = CliRunner().invoke(key_commands, words).output.strip()
    assert printed == str(prove_key(key, chain.genesis.chain_id, "bank"))
    assert proved_key(printed, "KEY", chain.genesis.chain_id, "bank").public == key.public


class Versions:
    """Answers as a node on which 40 versions of a contract began, the last of them at height 400."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, 0

    async def state(self, contract: str, map_name: str, key: str, *, height: int) -> Any:
        assert (contract, height) == ("lifecycle", 1_000)
        self.asked += 1
        if map_name == "numbers":
            return {"versions": self.count} if self.count else None
        assert map_name == "versions"
        place = int(key.removeprefix("rule/"))
        return [place + 1, 10 * (place + 1)]


@pytest.mark.parametrize(
    ("height", "seq", "reads"),
    [
        (9, None, 7),
        (10, 1, 7),
        (19, 1, 7),
        (200, 20, 7),
        (399, 39, 7),
        (400, 40, 7),
        (1_000, 40, 2),
        (1_001, 40, 2),
    ],
)
async def test_what_ran_at_a_height_is_found_in_few_reads(height: int, seq: int | None, reads: int) -> None:
    client: Any = Versions(40)
    assert await _seq_at(client, "rule", height, 1_000) == seq
    assert client.asked <= reads


async def test_a_contract_that_is_not_there_has_no_version() -> None:
    client: Any = Versions(0)
    assert await _seq_at(client, "rule", 5, 1_000) is None
    assert await _seq_at(client, "rule", 1_001, 1_000) is None


class Seen:
    """Answers as a node that is connected to some of the others."""

    def __init__(self, validators: int, running: int) -> None:
        self.nodes = [
            {"name": f"n{i}", "public_key": bytes([i]) * 32, "role": "validator"} for i in range(validators)
        ]
        self.running = [node["public_key"].hex() for node in self.nodes][:running]  # type: ignore[attr-defined]

    async def variable(self, *_: str) -> Any:
        return self.nodes

    async def request(self, method: str) -> Any:
        if method == "getNodeInfo":
            return {"key": self.running[0]}
        return [{"key": key, "connected": True} for key in self.running[1:]]


GHOST = {"name": "ghost", "public_key": bytes([99]) * 32, "role": "validator"}


@pytest.mark.parametrize(
    ("validators", "running", "kind", "payload", "stalls"),
    [
        (1, 1, "add_node", GHOST, True),
        (1, 1, "add_node", {**GHOST, "role": "observer"}, False),
        (3, 3, "add_node", GHOST, False),
        (4, 4, "add_node", GHOST, False),
        (4, 3, "add_node", GHOST, True),
        (3, 2, "remove_node", {"name": "n0"}, True),
        (3, 2, "remove_node", {"name": "n2"}, False),
        (3, 2, "change_role", {"name": "n1", "role": "observer"}, True),
        (4, 2, "set_limits", {"block_txs": 1}, False),
    ],
)
async def test_a_change_after_which_no_quorum_runs_is_foreseen(
    validators: int, running: int, kind: str, payload: dict[str, Any], stalls: bool
) -> None:
    client: Any = Seen(validators, running)
    if not stalls:
        await check_reach(client, kind, payload)
        return
    with pytest.raises(WouldStall, match="set-role"):
        await check_reach(client, kind, payload)


async def test_a_file_of_proofs_is_checked_byte_by_byte_and_changed_at_most_the_absent_key_it_names(
    tmp_path: Path,
) -> None:
    """One bucket proves the absence of many keys: a change of that name is another true statement."""
    chain = ToyChain()
    for number in range(3):
        chain.add(chain.call("put", {"key": number, "value": number}))
    client = Client("http://127.0.0.1:1", chain.genesis)
    kept = (
        chain.ledger.prove.state("toy", map_key("values", 1), 2),
        chain.ledger.prove.state("toy", b"absent", 2),
    )
    client.kept = list(kept)
    path = tmp_path / "proofs.json"
    await write_proofs(path, client)
    found = check_proofs(path, chain.genesis)
    assert [(proved["height"], proved["value"]) for proved in found] == [(2, 1), (2, None)]
    document = json.loads(path.read_text())
    assert [bytes.fromhex(raw) for raw in document["states"]] == [encode(proof) for proof in kept]
    for raw, proof in zip(map(bytes.fromhex, document["states"]), kept, strict=True):
        for place in range(0, len(raw), 7):
            changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            path.write_text(json.dumps({**document, "states": [changed.hex()]}))
            try:
                check_proofs(path, chain.genesis)
            except AssentError:
                continue
            other = decode(ProvedState, changed)
            assert proof.value is None, "where a value is proved nothing can be changed"
            assert other == dataclasses.replace(proof, key=other.key)
            assert len(other.key) == len(b"absent")
    for bad in (
        "",
        "[]",
        "{}",
        json.dumps({**document, "version": 9}),
        json.dumps({**document, "states": [1]}),
    ):
        path.write_text(bad)
        with pytest.raises(ProofFileError):
            check_proofs(path, chain.genesis)
    path.write_text(json.dumps({**document, "chain_id": "00" * 32}))
    with pytest.raises(ProofFileError, match="another chain"):
        check_proofs(path, chain.genesis)


def test_when_a_proposal_expires_reads_like_every_other_time() -> None:
    """It ended with +00:00 where others say UTC, and a far one was a traceback."""
    assert proposals._moment(1_700_000_000_123) == "2023-11-14 22:13:20.123 UTC"
    assert proposals._moment(2**63) == f"{2**63} ms UTC"


class Told:
    """A client of a node of this chain that proves states; what it says beside them is its word."""

    verifies, url = True, "http://told:1"
    kept: list[ProvedState] | None = None
    READY: ClassVar[dict[str, Any]] = {
        "status": "open", "needed": 3, "counted": ["bank"], "missing": ["bureau"], "passed": False,
        "due": False, "from_height": 1,
    }  # fmt: skip
    PROPOSAL: ClassVar[dict[str, Any]] = {
        "name": "c", "seq": 1, "by": "bank", "status": "open", "kind": "set_limits", "payload": {},
        "reason": "", "hash": b"\1", "expires": 0, "not_before": 0, "committed_at": 0,
    }  # fmt: skip

    async def __aenter__(self) -> Told:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def request(self, *_: Any) -> dict[str, Any]:
        return {"height": 7, "role": "validator", "stall": "", "peers": 3}

    async def head(self) -> int:
        return 7

    async def variable(self, _: str, name: str, **__: Any) -> Any:
        return {"block_txs": 5} if name == "limits" else 0

    async def state(self, *_: Any) -> Any:
        return self.PROPOSAL

    async def entries(self, *_: Any) -> AsyncIterator[tuple[Any, Any]]:
        yield 1, self.PROPOSAL

    async def view(self, _: str, method: str, __: Any) -> Any:
        answers = {
            "terms_of": {"proposal_ms": 5},
            "votes_needed": 3,
            "policy_of": {"rule": "quorum", "votes": 0},
        }
        return answers.get(method, self.READY)


@pytest.mark.parametrize(
    ("words", "part", "proved"),
    [
        (["params", "show"], "terms and voting policy: ", "limits"),
        (["contract", "list"], "open proposals: ", "contracts"),
        (["contract", "ready", "c", "1"], "", ""),
        (["proposal", "show", "1"], "status and votes: ", "proposal"),
    ],
)
def test_what_is_the_node_s_word_is_said_to_be_beneath_what_is_proved(
    monkeypatch: pytest.MonkeyPatch, words: list[str], part: str, proved: str
) -> None:
    """Tables that nothing proves stood beneath the word "verified"; a program could not tell at all."""
    monkeypatch.setattr("chain.client.options.Session.client", lambda _: Told())
    shown = CliRunner().invoke(main, [*words, "--node", "http://told:1"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[-1].startswith(f"{part}the word of http://told:1, ")
    told = CliRunner().invoke(main, [*words, "--node", "http://told:1", "--json"], catch_exceptions=False)
    rests = json.loads(told.output)["rests_on"]
    if proved:
        assert rests.pop(proved).startswith("verified")
        assert all("the word of" in word for word in rests.values())
    else:
        assert "the word of" in rests
