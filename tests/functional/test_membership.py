"""Nodes that join, vote, leave and change keys on a running chain of real processes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import ORGS, rpc

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.jsonvalue import from_json
from chain.primitives.keyfile import load_key, save_key
from chain.primitives.possession import prove_possession
from chain.primitives.values import Value

pytestmark = pytest.mark.functional


def call(consortium: ConsortiumFolder, org: str, method: str, **args: Value) -> None:
    """Send a call of `governance` as an organisation's admin, proved against the genesis."""

    async def send() -> None:
        genesis, folder = load_genesis(consortium.genesis), consortium.org(org)
        async with Client(node_url(folder), genesis) as client:
            account = SigningClient(client, load_key(folder.key("admin")), genesis.chain_id)
            await account.send("governance", method, dict(args), gas_limit=5_000_000)

    asyncio.run(send())


def decide(consortium: ConsortiumFolder, kind: str, payload: dict[str, Value]) -> None:
    """Propose, approve and commit; three of four organisations suffice."""
    bank = consortium.org("bank")
    call(consortium, "bank", "propose", kind=kind, payload=payload, reason="test", not_before=0)
    seq = len(rpc(bank, "getStateRange", contract="governance", map="proposals")["result"]["entries"])
    found = rpc(bank, "getState", contract="governance", map="proposals", key=seq)["result"]["value"]
    assert found["kind"] == kind
    for org in ("bureau", "registry"):
        call(consortium, org, "approve", seq=seq, hash=from_json(found["hash"]))
    call(consortium, "bank", "commit", seq=seq)


def info(org: OrgFolder) -> dict[str, Any]:
    found: dict[str, Any] = rpc(org, "getNodeInfo")["result"]
    return found


def until(org: OrgFolder, holds: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
    """Wait until a node says so of itself."""

    def ready() -> bool:
        try:
            return holds(info(org))
        except OSError:
            return False

    processes.wait_until(org, "node", ready, seconds)
    return info(org)


def newcomer(consortium: ConsortiumFolder, folder: Path) -> OrgFolder:
    """Make the folder of a node that shares the genesis and nothing else."""
    spare = create_consortium(folder, ["fifth"], [], 0, "spare")
    shutil.copy(consortium.genesis, spare.genesis)
    return spare.org("fifth")


def listen_of(org: OrgFolder) -> str:
    return org.node_config.read_text().split('[network]\nlisten = "')[1].split('"')[0]


def test_a_node_joins_votes_and_takes_the_place_of_another(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    """Observer, validator, five in all; one is removed, keeps answering and says that it is out."""
    fifth, regulator = newcomer(consortium, tmp_path / "new"), consortium.org("regulator")
    key = load_key(fifth.key("node"))
    proof = prove_possession(key, load_genesis(consortium.genesis).chain_id, "bank")
    seat: dict[str, Value] = {
        "org": "bank", "name": "bank-2", "public_key": key.public, "address": listen_of(fifth),
        "role": "observer", "proof": proof,
    }  # fmt: skip
    processes.start(fifth, "node")
    try:
        decide(consortium, "add_node", seat)
        shown = until(fifth, lambda it: it["role"] == "observer" and it["peers"] >= 4)
        assert shown["name"] == "bank-2"
        decide(consortium, "change_role", {"name": "bank-2", "role": "validator"})
        until(fifth, lambda it: it["role"] == "validator")
        sealers = [item["name"] for item in rpc(consortium.org("bank"), "getSealerList")["result"]]
        assert sealers == [*(f"{org}-node" for org in ORGS), "bank-2"]
        decide(consortium, "remove_node", {"name": "regulator-node"})
        gone = until(regulator, lambda it: it["role"] == "not a member" and it["peers"] == 0)
        assert "no longer a member" in gone["stall"]
        call(consortium, "bank", "propose", kind="change_role",
             payload={"name": "bank-2", "role": "observer"}, reason="later", not_before=0)  # fmt: skip
        top = info(consortium.org("bank"))["height"]
        assert until(fifth, lambda it: it["height"] >= top)["stall"] == ""
        block = rpc(fifth, "getBlockByNumber", height=top)["result"]
        assert load_key(regulator.key("node")).public.hex() not in block["signers"]
        assert rpc(regulator, "getBlockByNumber", height=gone["height"])["result"]
    finally:
        processes.stop(fifth, "node")


def test_a_validator_goes_on_under_its_next_key_by_itself(consortium: ConsortiumFolder) -> None:
    """Its own organisation moves the seat; the process switches at the height and the chain never stops."""
    bureau = consortium.org("bureau")
    new = PrivateKey.generate()
    save_key(bureau.path / "next.key", new)
    before = info(bureau)["key"]
    proof = prove_possession(new, load_genesis(consortium.genesis).chain_id, "bureau")
    call(consortium, "bureau", "rotate_node_key", name="bureau-node", public_key=new.public, proof=proof)
    shown = until(bureau, lambda it: it["key"] == new.public.hex() and it["role"] == "validator")
    assert shown["name"] == "bureau-node"
    processes.stop(consortium.org("bank"), "node")  # now the others need its votes
    call(consortium, "registry", "propose", kind="change_role",
         payload={"name": "bank-node", "role": "observer"}, reason="later", not_before=0)  # fmt: skip
    top = info(bureau)["height"]
    signers = rpc(bureau, "getBlockByNumber", height=top)["result"]["signers"]
    assert new.public.hex() in signers
    assert before not in signers
    list(stop_consortium(consortium))
    list(start_consortium(consortium, agents=False))
    assert info(bureau)["key"] == new.public.hex()
