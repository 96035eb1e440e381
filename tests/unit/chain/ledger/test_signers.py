"""For whom keys sign: a right that a block takes away is lost for the rest of that block, and afterwards."""

from __future__ import annotations

import pytest

from chain.ledger import writer
from chain.ledger.block import DecodedTransaction, Receipt
from chain.ledger.genesis import ContractSource, Genesis, Org, OrgKey, Validator, make_init_args
from chain.ledger.signers import signer_in
from chain.ledger.testing import START_MS, ToyChain, toy_key
from chain.mempool.mempool import Mempool
from chain.mempool.refusals import TransactionRefused
from chain.primitives.contractrecords import KeyHolder
from chain.primitives.possession import prove_possession
from chain.primitives.runtimeport import StateReader, map_key
from chain.primitives.values import Value, decode_stored
from contracts.system import default_init, sources
from contracts.testing import ConsortiumRuntime

ORGS = ("bank", "bureau", "registry", "rival")
GAS = 5_000_000


class Consortium:
    """A ledger with the real system contracts; the keys are those of the toy chain."""

    def __init__(self) -> None:
        genesis = Genesis(
            chain_name="identity",
            time=START_MS,
            validators=(Validator("bank", "bank-node", toy_key("bank-node").public, "127.0.0.1:1"),),
            orgs=tuple(
                Org(org, org, ("owner",), (OrgKey(toy_key(org).public, ("admin",)),), b"", "") for org in ORGS
            ),
            contracts=tuple(ContractSource(name, source) for name, source in sources().items()),
            init_args=make_init_args(default_init()),
        )
        self.chain = ToyChain(genesis, runtime=ConsortiumRuntime())
        ledger = self.chain.ledger
        self.pool = Mempool(genesis.chain_id, genesis.limits, ledger.signer_refusal, ledger.is_final)

    def call(self, org: str, target: str, **args: Value) -> DecodedTransaction:
        contract, method = target.split(".")
        return self.chain.call(method, args, sender=org, contract=contract, gas_limit=GAS)

    def block(self, *calls: DecodedTransaction) -> list[str]:
        """Order these calls in one block; return "ok" or the code of each."""
        self.chain.add(*calls)
        return [found.code or found.status for found in map(self.receipt, calls)]

    def receipt(self, call: DecodedTransaction) -> Receipt:
        found = self.chain.ledger.read.receipt(call.id)
        assert found is not None
        return found

    def add_key(self, org: str, name: str) -> DecodedTransaction:
        key = toy_key(name)
        proof = prove_possession(key, self.chain.genesis.chain_id, org)
        return self.call(org, "orgs.add_key", key=key.public, roles=["admin"], proof=proof)

    def decided(self, kind: str) -> int:
        """Propose this about `rival` and have it voted for; return the proposal's number."""
        wish = {"kind": kind, "payload": {"org": "rival"}, "reason": "", "not_before": 0}
        proposal = self.call("bank", "governance.propose", **wish)
        assert self.block(proposal) == ["ok"]
        seq: int = decode_stored(self.receipt(proposal).result)
        stored = self.chain.ledger.read.state("governance", map_key("proposals", seq))
        assert stored is not None
        voted = decode_stored(stored)["hash"]
        votes = [self.call(org, "governance.approve", seq=seq, hash=voted) for org in ("bureau", "registry")]
        assert self.block(*votes) == ["ok", "ok"]
        return seq


@pytest.mark.parametrize(("kind", "code"), [("expel_org", "ORG_EXPELLED"), ("suspend_org", "ORG_SUSPENDED")])
def test_an_organisation_cannot_give_itself_a_key_in_the_block_of_its_expulsion(kind: str, code: str) -> None:
    world = Consortium()
    seq = world.decided(kind)
    commit = world.call("bank", "governance.commit", seq=seq)
    assert world.block(world.add_key("rival", "before"), commit, world.add_key("rival", "ghost")) == [
        "ok", "ok", code,
    ]  # fmt: skip
    assert world.block(world.add_key("rival", "ghost"), world.add_key("before", "ghost")) == [code, code]
    for sender in ("rival", "before"):
        with pytest.raises(TransactionRefused) as refused:
            world.pool.admit(world.call(sender, "orgs.org_of", id="rival"), 5, verified=True)
        assert refused.value.code == code.lower()


def test_a_stolen_key_that_its_owner_revokes_does_nothing_more_in_that_block() -> None:
    world = Consortium()
    assert world.block(world.add_key("bank", "thief")) == ["ok"]
    revoke = world.call("bank", "orgs.revoke_key", key=toy_key("thief").public, reason="stolen")
    strike = world.call("thief", "orgs.revoke_key", key=toy_key("bank").public, reason="")
    proof = prove_possession(toy_key("ghost"), world.chain.genesis.chain_id, "bank")
    ghost = world.call("thief", "orgs.add_key", key=toy_key("ghost").public, roles=["admin"], proof=proof)
    assert world.block(revoke, strike, ghost) == ["ok", "KEY_REVOKED", "KEY_REVOKED"]
    assert world.block(world.add_key("bank", "other")) == ["ok"]


def test_the_state_is_asked_once_for_whom_a_key_signs_until_the_members_records_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, asked = Consortium(), list[bytes]()

    def counted(state: StateReader, public_key: bytes) -> KeyHolder | None:
        asked.append(public_key)
        return signer_in(state, public_key)

    monkeypatch.setattr(writer, "signer_in", counted)
    ledger, key = world.chain.ledger, toy_key("bureau").public
    assert [ledger.signer_refusal(key) for _ in range(3)] == ["", "", ""]
    world.chain.add()
    assert ledger.signer_refusal(key) == ""
    assert asked == [key]
    assert world.block(world.add_key("bureau", "second")) == ["ok"]
    assert ledger.signer_refusal(key) == ""
    assert asked == [key, key], "a block wrote to `orgs`"
    assert world.block(world.call("bureau", "orgs.revoke_key", key=key, reason="lost")) == ["ok"]
    assert ledger.signer_refusal(key) == "KEY_REVOKED"
