"""A short history on the production runtime: a dataset, a policy contract in two versions, a grant."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from chain.audit.package import build_package
from chain.ledger.block import Batch, DecodedTransaction, TransactionBody, sign_transaction
from chain.ledger.genesis import ContractSource, Genesis, Limits, Org, OrgKey, Validator, make_init_args
from chain.ledger.ledger import Ledger
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import START_MS, toy_certificate, toy_key
from chain.primitives.codec import encode
from chain.primitives.possession import prove_possession
from chain.primitives.values import Value, decode_value, encode_value
from contracts.system import default_init, sources
from contracts.testing import ConsortiumRuntime
from tests.schemas import column, declaring, seal_of
from tests.unit.chain.audit.ledgersource import LedgerSource

COLUMNS = [
    column("person", "text", "identifier", normalise=["trim"]),
    column("income", "integer", unit="EUR"),
]
ORGS = ("bank", "bureau", "registry", "regulator")
POLICY = """
@view
def allow(job: dict, phase: str) -> bool:
    return len(phase) > {limit}
"""


class Story:
    """One ledger whose blocks hold one transaction each."""

    def __init__(
        self,
        more: dict[str, str] | None = None,
        limits: Limits | None = None,
        roles: tuple[str, ...] = ("owner", "user"),
    ) -> None:
        installed = sources() | (more or {})
        self.genesis = Genesis(
            chain_name="story",
            time=START_MS,
            validators=tuple(
                Validator(org, f"{org}-node", toy_key(f"{org}-node").public, "127.0.0.1:1") for org in ORGS
            ),
            orgs=tuple(
                Org(org, org.title(), roles, (OrgKey(toy_key(org).public, ("admin",)),), b"", "")
                for org in ORGS
            ),
            contracts=tuple(ContractSource(name, source) for name, source in installed.items()),
            init_args=make_init_args(default_init()),
            limits=limits or Limits(),
        )
        self.ledger = Ledger(MemoryStore(), self.genesis, ConsortiumRuntime())
        self.source = LedgerSource(self.ledger.read, self.ledger.prove)
        self._later = 0

    def send(self, org: str, target: str, /, *, certify: bool = True, **args: Value) -> Value:
        contract, method = target.split(".")
        head = self.ledger.head_header
        body = TransactionBody(
            self.genesis.chain_id,
            toy_key(org).public,
            contract,
            method,
            encode_value(args),
            10_000_000,
            head.height.to_bytes(16, "big"),
            head.height + 10,
        )
        candidate = DecodedTransaction.of(sign_transaction(body, toy_key(org)))
        height, proposer = head.height + 1, self.genesis.validator_keys[0]
        payload = encode(Batch(height, 0, 0, proposer, head.time + 60_000 + self._later, (candidate.id,)))
        self._later = 0
        header = self.ledger.execute(height, payload, [candidate])
        if certify:
            validators = self.ledger.schedule.set_at(height).validators
            self.ledger.certify(toy_certificate(self.genesis, header, validators=validators))
        (receipt,) = self.ledger.read.receipts(height)
        assert receipt.status in ("ok", "reverted"), receipt
        if receipt.status == "reverted":
            return receipt.code
        return decode_value(receipt.result, max_bytes=100_000)

    def wait_ms(self, time: int) -> None:
        """Let so much more block time pass before the next block."""
        self._later += time

    def deploy(self, seq: int, limit: int) -> None:
        source = POLICY.format(limit=limit)
        assert (
            self.send("bureau", "lifecycle.propose", name="policy", source=source, arguments={}, terms={})
            == seq
        )
        stored = self.ledger.read.entries(subject="contract:policy", limit=1_000).entries[-1]
        voted = decode_value(stored.event.fields, max_bytes=10_000)["hash"]
        for org in ("bank", "regulator"):
            self.send(org, "lifecycle.approve", name="policy", seq=seq, hash=voted)
        self.send("bank", "lifecycle.commit", name="policy", seq=seq)

    def request(self, grant: str, **over: Value) -> Value:
        terms: dict[str, Value] = {
            "id": grant,
            "dataset": "bank/credit",
            "version": 1,
            "columns": {"income": "aggregate-only"},
            "purpose": "credit-risk-model",
            "legal_basis": "consent 2026-1",
            "asked_because": "",
            "programs": ["statistics"],
            "receivers": ["bureau"],
            "co_parties": ["registry"],
            "membership": [],
            "profile": "rep3",
            "not_before": 0,
            "expires": START_MS + 86_400_000,
            "quota_runs": 2,
            "run_epsilon": 10**9,
            "min_group": 10,
            "policy": "policy",
        }
        return self.send("bureau", "grants.request", **{**terms, **over})

    def proved(self, name: str) -> dict[str, Value]:
        """Return the arguments that register the key of a name for the bank."""
        key = toy_key(name)
        return {"key": key.public, "proof": prove_possession(key, self.genesis.chain_id, "bank")}

    def tell_dataset(self) -> None:
        for method, args in declaring(COLUMNS):
            self.send("bank", f"datasets.{method}", **args)
        self.send(
            "bank",
            "datasets.register",
            id="bank/credit",
            schema=seal_of(COLUMNS),
            root=sha256(b"rows").digest(),
            size_bucket="100-1000",
            approvers=["bank"],
            threshold=1,
            description="German credit",
        )

    def tell(self) -> None:
        self.tell_dataset()
        self.deploy(1, limit=2)
        self.request("bureau/g1")
        self.send("bank", "grants.approve", id="bureau/g1", terms={})
        assert self.request("bureau/g1") == "GRANT_EXISTS"
        self.deploy(2, limit=3)
        self.send("bank", "orgs.add_key", roles=["steward"], **self.proved("other"))
        self.send("bank", "datasets.suspend", id="bank/credit", reason="owner's review", certify=False)
        self.send("bank", "datasets.resume", id="bank/credit")
        self.send("bank", "grants.revoke", id="bureau/g1", reason="consent withdrawn")


@pytest.fixture(scope="session")
def story() -> Story:
    told = Story()
    told.tell()
    return told


@pytest.fixture(scope="session")
def package(story: Story) -> bytes:
    """The audit package of the dataset."""
    return asyncio.run(build_package(story.source, story.genesis, "dataset:bank/credit"))


@pytest.fixture(scope="session")
def make_story() -> type[Story]:
    """Stories of one's own: Story(more contracts, limits)."""
    return Story
