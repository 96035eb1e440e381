"""The genesis file: round trip, chain id, and errors that name file, key, value and range."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.ledger.block import PROTOCOL_VERSION
from chain.ledger.genesis import (
    Genesis,
    Limits,
    check_genesis,
    genesis_from_json,
    genesis_to_json,
    init_args,
    load_genesis,
    make_init_args,
    save_genesis,
)
from chain.ledger.testing import toy_genesis, toy_key
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import digest
from chain.primitives.errors import ConfigError

VECTORS = Path(__file__).parents[3] / "vectors"


def with_args(**args: Any) -> Genesis:
    genesis = toy_genesis()
    fields = {name: getattr(genesis, name) for name in genesis.__slots__}  # type: ignore[attr-defined]
    return Genesis(**{**fields, "init_args": make_init_args(args)})


def test_a_saved_genesis_loads_to_the_same_chain(tmp_path: Path) -> None:
    genesis = with_args(
        toy={"programs": [{"id": "psi", "hash": b"\x01\x02"}], "title": "数据", "limit": None}
    )
    save_genesis(tmp_path / "genesis.json", genesis)
    assert load_genesis(tmp_path / "genesis.json") == genesis
    assert decode(Genesis, encode(genesis)) == genesis
    assert not list(tmp_path.glob("*.partial"))


def test_the_chain_id_is_the_digest_of_the_record_and_pinned() -> None:
    genesis = load_genesis(VECTORS / "ledger_genesis.json")
    assert genesis.chain_id == digest("assent/genesis", encode(genesis))
    assert genesis == toy_genesis()


def test_sources_are_readable_lines_in_the_file() -> None:
    document = genesis_to_json(toy_genesis())
    assert document["contracts"][0] == {"name": "orgs", "source": ["# toy", ""]}
    document["contracts"][0]["source"] = "# toy\n"
    assert genesis_from_json(document, "g").chain_id == toy_genesis().chain_id


def test_the_members_are_the_arguments_of_the_contract_orgs() -> None:
    genesis = with_args(toy={"a": 1})
    args = init_args(genesis)
    assert args["toy"] == {"a": 1}
    assert [org["id"] for org in args["orgs"]["orgs"]] == ["bank", "bureau", "registry", "regulator"]
    assert args["orgs"]["orgs"][0]["keys"] == [{"key": toy_key("bank").public, "roles": ["admin"]}]


def set_at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = document
        for part in parents:
            place = place[part]
        place[last] = value

    return change


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


KEY = toy_key("bank-node").public.hex()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_at("kind", "other"), 'not a genesis file (no "kind": "assent-genesis")'),
        (set_at("version", 2), "g.json.version = 2: expected 1"),
        (set_at("colour", 1), "g.json.colour: unknown key"),
        (drop("validators"), "g.json.validators: required"),
        (set_at("validators", []), "g.json.validators: 0 items, expected 1..128"),
        (
            set_at("validators.1.public_key", "zz"),
            "g.json.validators[1].public_key = 'zz': expected 32 bytes",
        ),
        (set_at("validators.1.public_key", KEY), "validators[1].public_key = '" + KEY),
        (set_at("validators.2.org", "acme"), "g.json.validators[2].org = 'acme': expected one of"),
        (set_at("time", -1), "g.json.time = -1: expected a whole number in 0..18446744073709551615"),
        (set_at("time", True), "g.json.time = True: expected a whole number"),
        (set_at("chain_name", ""), "g.json.chain_name = '': expected 1..64 characters"),
        (
            set_at("limits.validity_window", 601),
            "limits.validity_window = 601: expected a whole number in 10..600",
        ),
        (set_at("limits.block_txs", 0), "limits.block_txs = 0: expected a whole number in 1..10000"),
        (
            set_at("limits.block_bytes", 2_000),
            "limits.tx_bytes = 132224: expected at most block_bytes (2000)",
        ),
        (set_at("limits.tx_gas_max", 10**9), "limits.tx_gas_max = 1000000000: expected at most block_gas"),
        (
            set_at("limits.tx_gas_default", 10**8),
            "limits.tx_gas_default = 100000000: expected at most tx_gas_max",
        ),
        (set_at("orgs.0.id", "Bank!"), "g.json.orgs[0].id = 'Bank!': expected [a-z0-9]"),
        (set_at("orgs.1.id", "bank"), "g.json.orgs[1].id = 'bank': expected a value not used before"),
        (set_at("orgs.0.roles", ["king"]), "g.json.orgs[0].roles = ['king']: expected a selection of"),
        (set_at("orgs.0.agent_key", "aabb"), "g.json.orgs[0].agent_key = 'aabb': expected 32 bytes"),
        (set_at("orgs.0.keys", []), "g.json.orgs[0].keys: 0 items, expected 1..64"),
        (set_at("contracts.1.name", "orgs"), "g.json.contracts[1].name = 'orgs': expected a value not used"),
        (set_at("contracts.0.source", 5), "g.json.contracts[0].source = 5: expected 0..65536 characters"),
        (
            set_at("init_args", {"nobody": {}}),
            "g.json.init_args.nobody = 'nobody': expected one of the contracts",
        ),
        (set_at("init_args", {"orgs": {"orgs": 1}}), "g.json.init_args.orgs.orgs = '...': expected none"),
        (set_at("init_args", {"toy": 5}), "g.json.init_args.toy = 'int': expected an object"),
        (set_at("init_args", {"toy": {"x": 1.5}}), "g.json.init_args.toy: JSON value: float"),
        (set_at("init_args", []), "g.json.init_args: expected an object"),
        (set_at("suite", "sm2-sm3"), "g.json.suite = 'sm2-sm3': expected 'ed25519-sha256'"),
        (set_at("protocol_version", 9), f"g.json.protocol_version = 9: expected {PROTOCOL_VERSION}"),
        (set_at("features", ["warp"]), "g.json.features = ['warp']: expected an empty list"),
        (set_at("chain_name", "other"), "the file was edited: fetch it again"),
    ],
)
def test_a_wrong_genesis_names_file_key_value_and_range(
    change: Callable[[dict[str, Any]], Any], text: str
) -> None:
    document = json.loads(json.dumps(genesis_to_json(toy_genesis())))
    change(document)
    with pytest.raises(ConfigError) as caught:
        genesis_from_json(document, "g.json")
    assert text in str(caught.value)
    assert "g.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"[]"])
def test_a_file_that_is_no_genesis_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"genesis\.json: not"):
        load_genesis(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read"):
        load_genesis(tmp_path / "absent.json")


def test_arguments_that_json_cannot_carry_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JSON cannot carry"):
        save_genesis(tmp_path / "g.json", with_args(toy={"pair": (1, 2)}))
    assert not list(tmp_path.iterdir())


def test_default_limits_agree_with_one_another() -> None:
    assert check_genesis(toy_genesis(limits=Limits())).limits.validity_window == 600
