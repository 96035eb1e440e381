"""Validator sets and limits: announced by a block, in force W heights later, proved by headers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.genesis import Limits, init_args
from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.proof.proofs import HeaderProof, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis, toy_key
from chain.primitives.certificate import validators_hash
from chain.primitives.errors import ProofInvalid

WINDOW = 4
FOUNDERS = tuple(f"{org}-node" for org in ("bank", "bureau", "registry", "regulator"))


def make_chain() -> ToyChain:
    return ToyChain(toy_genesis(limits=Limits(consensus_window=WINDOW)))


def keys(*names: str) -> tuple[bytes, ...]:
    return tuple(toy_key(name).public for name in names)


def grow(chain: ToyChain, to: int) -> None:
    while chain.ledger.head.height < to:
        chain.add()


def changed(*sets: tuple[str, ...]) -> ToyChain:
    """A chain whose validators become each of these sets in turn, the next once the last is in force."""
    chain = make_chain()
    for names in sets:
        chain.add(chain.govern(names))
        grow(chain, chain.ledger.head.height + WINDOW + 1)
    return chain


def test_a_set_is_in_force_a_window_after_the_block_that_announces_it() -> None:
    chain = make_chain()
    grow(chain, 2)
    chain.add(chain.govern(("a", "b", "c", "d", "e"), observers=("f",)))
    ledger = chain.ledger
    assert ledger.settled_height == 3 + WINDOW
    assert ledger.validator_keys_at(2 + WINDOW) == chain.genesis.validator_keys
    assert ledger.validator_keys_at(3 + WINDOW) == keys("a", "b", "c", "d", "e")
    assert [(ledger.epoch_at(height).first) for height in (0, 2 + WINDOW, 3 + WINDOW, 99)] == [0, 0, 7, 7]
    assert [(item.node.name, item.role) for item in ledger.schedule.nodes()][-1] == ("f", "observer")
    assert ledger.schedule.newest() == 3 + WINDOW


def test_each_header_names_the_set_in_force_a_window_above() -> None:
    chain = changed(("a", "b"), ("a",), ("c", "b", "d"))
    for height in range(chain.ledger.head.height + 1):
        header = chain.ledger.read.header(height)
        assert header is not None
        assert header.validators_hash == validators_hash(chain.ledger.validator_keys_at(height + WINDOW))


def test_blocks_of_every_set_are_certified_by_that_set_in_catch_up() -> None:
    chain = changed(("a",), ("a", "b", "c", "d"), ("b", "c"))
    other = ToyChain(chain.genesis)
    for height in range(1, chain.ledger.head.height + 1):
        assert other.ledger.apply_block(chain.block(height))
    assert other.ledger.schedule.sets() == chain.ledger.schedule.sets()
    block = chain.block(chain.ledger.head.height)
    with pytest.raises(ProofInvalid, match="not in the validator set"):
        ToyChain(chain.genesis).ledger.apply_block(
            replace(chain.block(1), certificate=replace(block.certificate, height=1))
        )


def test_a_rebuilt_ledger_has_the_same_schedule() -> None:
    chain = changed(("a",), ("a", "b", "c", "d"))
    before = (chain.ledger.head, chain.ledger.schedule.sets())
    rebuild(chain.store, chain.genesis, ToyRuntime())
    rebuilt = Ledger(chain.store, chain.genesis, ToyRuntime())
    assert (rebuilt.head, rebuilt.schedule.sets()) == before


def test_writing_the_same_nodes_announces_nothing() -> None:
    chain = changed(("a", "b"))
    chain.add(chain.govern(("a", "b"), observers=("c",)))
    assert len(chain.ledger.schedule.sets()) == 2


def entry(name: str, key: bytes) -> dict[str, Any]:
    return {"org": "bank", "name": name, "public_key": key, "address": "", "role": "validator"}


WRONG_NODES: dict[str, tuple[Any, str]] = {
    "no list": (5, "NODES_MALFORMED"),
    "an entry without a role": ([{"org": "b", "name": "x", "address": ""}], "NODES_MALFORMED"),
    "a short key": ([entry("x", b"x")], "NODES_MALFORMED"),
    "no validator": ([], "NO_VALIDATOR"),
    "one key twice": ([entry(name, bytes(32)) for name in "xy"], "NOT_DISTINCT"),
    "one name twice": ([entry("x", bytes([i] * 32)) for i in range(2)], "NOT_DISTINCT"),
    "129 validators": ([entry(f"n{i}", bytes([i] * 32)) for i in range(129)], "TOO_MANY_VALIDATORS"),
}


@pytest.mark.parametrize("what", WRONG_NODES)
def test_a_list_that_would_break_the_chain_is_not_followed(what: str) -> None:
    """Every replica goes on with the set it has, and says why."""
    value, code = WRONG_NODES[what]
    chain = make_chain()
    chain.add(chain.call("govern", {"var": "nodes", "value": value}))
    assert len(chain.ledger.schedule.sets()) == 1
    assert chain.ledger.schedule.refusal() == {"height": 1, "what": "validators", "code": code}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (7, "LIMITS_MALFORMED"),
        ({"block_txs": "many"}, "LIMIT_RANGE"),
        ({"speed": 1}, "LIMITS_MALFORMED"),
        ({"rotation": 7}, "LIMIT_FIXED"),
        ({"consensus_window": 9}, "LIMIT_FIXED"),
        ({"block_txs": 0}, "LIMIT_RANGE"),
        ({"tx_gas_max": 2**70}, "LIMIT_RANGE"),
        ({"tx_bytes": 100_000, "block_bytes": 1_024}, "LIMIT_RANGE"),
    ],
)
def test_limits_that_cannot_hold_are_not_followed(value: Any, code: str) -> None:
    chain = make_chain()
    chain.add(chain.call("govern", {"var": "limits", "value": value}))
    assert chain.ledger.schedule.refusal() == {"height": 1, "what": "limits", "code": code}
    assert chain.ledger.schedule.limits_at(99) == chain.genesis.limits


def test_limits_are_in_force_a_window_later_and_bind_execution() -> None:
    chain = make_chain()
    chain.add(
        chain.call("govern", {"var": "limits", "value": {"tx_gas_max": 1_000, "tx_gas_default": 1_000}})
    )
    statuses = []
    for _ in range(WINDOW + 1):
        call = chain.call("put", {"key": 1, "value": 1}, gas_limit=2_000)
        chain.add(call)
        statuses.append(chain.ledger.read.receipts(chain.ledger.head.height)[0].code)
    assert statuses == [""] * (WINDOW - 1) + ["GAS_LIMIT"] * 2
    assert chain.ledger.limits.tx_gas_max == 1_000


def test_the_contract_is_given_the_founding_nodes_and_limits() -> None:
    genesis = toy_genesis()
    with_contract = replace(
        genesis, contracts=(*genesis.contracts, replace(genesis.contracts[0], name="governance"))
    )
    assert "governance" not in init_args(genesis)
    args = init_args(with_contract)["governance"]
    assert [node["name"] for node in args["nodes"]] == list(FOUNDERS)
    assert {node["role"] for node in args["nodes"]} == {"validator"}
    assert args["limits"]["block_txs"] == genesis.limits.block_txs
    assert not {"consensus_window", "rotation"} & args["limits"].keys()


def test_whoever_trusts_the_genesis_learns_every_later_set_from_headers() -> None:
    """Across disjoint sets, too: founders name a, a names b."""
    chain = changed(("a",), ("b", "c", "d", "e"), ("f",))
    prove, top = chain.ledger.prove, chain.ledger.head.height
    verifier = ProofVerifier(chain.genesis)
    with pytest.raises(ProofInvalid):
        verifier.check_header(prove.header(top))
    for change in prove.set_changes():
        verifier.follow(change)
    for height in range(top + 1):
        assert verifier.check_header(prove.header(height)).height == height
    assert prove.set_changes(verifier.followed) == ()


def lies(chain: ToyChain) -> dict[str, SetChange]:
    first, second, _ = chain.ledger.prove.set_changes()
    header = chain.ledger.read.header(first.first - WINDOW)
    assert header is not None
    forged = replace(header, validators_hash=validators_hash(keys("x")))
    return {
        "another set than the header names": replace(first, validators=keys("x")),
        "another height": replace(first, first=first.first + 1),
        "a set that skips the one before": second,
        "a header nobody certified": SetChange(
            first.first, keys("x"), HeaderProof((forged,), first.header.certificate)
        ),
        "a header certified by the set it names": replace(
            first,
            header=HeaderProof(
                tuple(
                    header
                    for height in range(first.first - WINDOW, first.first + 1)
                    if (header := chain.ledger.read.header(height)) is not None
                ),
                chain.block(first.first).certificate,
            ),
        ),
    }


@pytest.mark.parametrize("what", lies(changed(("a",), ("b", "c", "d", "e"), ("f",))))
def test_no_set_is_followed_that_the_set_before_did_not_name(what: str) -> None:
    chain = changed(("a",), ("b", "c", "d", "e"), ("f",))
    verifier = ProofVerifier(chain.genesis)
    with pytest.raises(ProofInvalid):
        verifier.follow(lies(chain)[what])
    assert verifier.followed == 0


def test_a_hidden_change_shows_in_the_header_that_names_it() -> None:
    """The announcing header is certified by the old set: whoever shows it must show the new set, too."""
    chain = make_chain()
    chain.add(chain.govern(("a",)))
    with pytest.raises(ProofInvalid, match="changes of the validator set"):
        ProofVerifier(chain.genesis).check_header(chain.ledger.prove.header(1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=1, max_size=12), st.data())
def test_any_sequence_of_changes_is_followed_by_ledgers_and_verifiers(
    sets: list[set[str]], data: st.DataObject
) -> None:
    """Changes may come in consecutive blocks: several are announced and not yet in force."""
    chain = make_chain()
    wished: dict[int, tuple[bytes, ...]] = {0: chain.genesis.validator_keys}
    for names in sets:
        grow(chain, chain.ledger.head.height + data.draw(st.integers(0, WINDOW + 1)))
        chain.add(chain.govern(sorted(names)))
        wished[chain.ledger.head.height + WINDOW] = keys(*sorted(names))
    grow(chain, chain.ledger.head.height + WINDOW + 1)
    verifier = ProofVerifier(chain.genesis, chain.ledger.prove.set_changes())
    for height in range(1, chain.ledger.head.height + 1):
        expected = wished[max(first for first in wished if first <= height)]
        assert chain.ledger.validator_keys_at(height) == expected
        verifier.check_header(chain.ledger.prove.header(height))
