"""A small chain in memory for tests of what builds on the ledger: a toy runtime, keys, blocks.

`ToyRuntime` is plain Python with the port of the contract runtime and one contract, `toy`. `ToyChain` plays
consensus: it makes batches, executes and certifies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from chain.ledger.batch_executor import ChainRuntime
from chain.ledger.block import (
    Batch,
    Block,
    DecodedTransaction,
    Header,
    Skip,
    SkipDecision,
    TransactionBody,
    header_hash,
    sign_transaction,
    skip_digest,
)
from chain.ledger.genesis import ContractSource, Genesis, Limits, Org, OrgKey, Validator
from chain.ledger.ledger import Ledger
from chain.ledger.signers import signer_in
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import Store
from chain.primitives.certificate import Certificate, checkpoint_digest, quorum
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.runtimeport import (
    ARGS_BYTES_MAX,
    OK,
    REVERTED,
    UNKNOWN_SENDER,
    Call,
    Event,
    Outcome,
    StateKey,
    StateReader,
    map_key,
    var_key,
)
from chain.primitives.values import Value, decode_value, encode_value

GAS = 1_000
START_MS = 1_700_000_000_000


class ToyRuntime:
    """Runs the contract `toy`: put, delete, move, announce, govern, revoke, fail, crash (see `_toy`)."""

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Run one method; every call costs 1,000 gas."""
        member = signer_in(state, call.sender)
        if member is None or member.refusal:
            return Outcome(REVERTED, UNKNOWN_SENDER if member is None else member.refusal, gas_used=GAS)
        if call.contract != "toy":
            return Outcome(REVERTED, "UNKNOWN_CONTRACT", gas_used=GAS)
        args = decode_value(call.args, max_bytes=ARGS_BYTES_MAX)
        if call.method == "crash":
            raise MemoryError("toy: the host is out of memory")
        if call.method == "fail":
            return Outcome(REVERTED, args["code"], gas_used=GAS)
        writes, events = _toy(call.method, args, state, member.org)
        return Outcome(OK, result=encode_value(len(writes)), gas_used=GAS, writes=writes, events=events)

    def view(self, call: Call, state: StateReader) -> Outcome:
        """Read one entry: get(key)."""
        args = decode_value(call.args, max_bytes=ARGS_BYTES_MAX)
        found = state.get("toy", map_key("values", args["key"]))
        return Outcome(OK, result=encode_value(None) if found is None else found, gas_used=GAS)

    def bootstrap(
        self,
        sources: Mapping[str, str],
        init_args: Mapping[str, Mapping[str, Value]],
        *,
        time: int,
        state: StateReader,
    ) -> Outcome:
        """Write the members and their keys where the contract `orgs` keeps them."""
        del time, state
        writes: dict[StateKey, bytes | None] = {
            ("lifecycle", map_key("active", name)): b"\xc3" for name in sources
        }
        events = []
        for org in init_args["orgs"]["orgs"]:
            writes["orgs", map_key("orgs", org["id"])] = encode_value(org)
            for key in org["keys"]:
                entry = {"org": org["id"], "roles": key["roles"], "status": "active"}
                writes["orgs", map_key("keys", key["key"].hex())] = encode_value(entry)
            fields = encode_value({"org": f"org:{org['id']}"})
            events.append(Event("orgs", "Registered", fields, (f"org:{org['id']}",)))
        return Outcome(OK, writes=writes, events=tuple(events))


def _toy(
    method: str, args: Mapping[str, Value], state: StateReader, org: str
) -> tuple[dict[StateKey, bytes | None], tuple[Event, ...]]:
    if method == "put":
        return {("toy", map_key("values", args["key"])): encode_value(args["value"])}, ()
    if method == "delete":
        return {("toy", map_key("values", args["key"])): None}, ()
    if method == "govern":  # writes what the contract `governance` would
        return {("governance", var_key(args["var"])): encode_value(args["value"])}, ()
    if method == "revoke":  # as the contract `orgs` would
        entry = {"org": org, "roles": ["admin"], "status": "revoked"}
        return {("orgs", map_key("keys", args["key"].hex())): encode_value(entry)}, ()
    if method == "announce":
        subjects = tuple(args["subjects"])
        return {}, (Event("toy", args.get("name", "Announced"), encode_value({}), subjects),)
    source, target = map_key("values", args["source"]), map_key("values", args["target"])
    before = [decode_value(state.get("toy", key) or b"\0", max_bytes=64) for key in (source, target)]
    writes: dict[StateKey, bytes | None] = {
        ("toy", source): encode_value(before[0] + 1),
        ("toy", target): encode_value(before[1] + 1),
    }
    fields = encode_value({"source": args["source"], "by": f"org:{org}"})
    return writes, (Event("toy", "Moved", fields, (args.get("subject", f"org:{org}"),)),)


def toy_key(name: str) -> PrivateKey:
    """Return the key pair that belongs to a name."""
    return PrivateKey(sha256(b"assent/toy-key/" + name.encode()).digest())


def toy_genesis(
    orgs: Sequence[str] = ("bank", "bureau", "registry", "regulator"), limits: Limits | None = None
) -> Genesis:
    """Return a genesis with one validator and one admin key, `toy_key(org)`, per organisation."""
    return Genesis(
        chain_name="toy",
        time=START_MS,
        validators=tuple(
            Validator(org, f"{org}-node", toy_key(f"{org}-node").public, f"127.0.0.1:{30300 + i}")
            for i, org in enumerate(orgs)
        ),
        orgs=tuple(
            Org(org, org.title(), ("owner", "compute"), (OrgKey(toy_key(org).public, ("admin",)),), b"", "")
            for org in orgs
        ),
        contracts=(ContractSource("orgs", "# toy\n"), ContractSource("toy", "# toy\n")),
        limits=limits or Limits(),
    )


class ToyChain:
    """One ledger and the keys of all its members."""

    def __init__(
        self,
        genesis: Genesis | None = None,
        store: Store | None = None,
        runtime: ChainRuntime | None = None,
    ) -> None:
        """Open or create a chain of four organisations in memory, unless told otherwise."""
        self.genesis = genesis or toy_genesis()
        self.store = store if store is not None else MemoryStore()
        self.ledger = Ledger(self.store, self.genesis, runtime or ToyRuntime())
        self._nonce = 0

    def call(
        self,
        method: str,
        args: Mapping[str, Value],
        *,
        sender: str = "bank",
        contract: str = "toy",
        valid_until: int | None = None,
        gas_limit: int = GAS,
    ) -> DecodedTransaction:
        """Return a signed transaction with a nonce of its own."""
        self._nonce += 1
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=toy_key(sender).public,
            contract=contract,
            method=method,
            args=encode_value(dict(args)),
            gas_limit=gas_limit,
            nonce=self._nonce.to_bytes(16, "big"),
            valid_until=self.ledger.head.height + 100 if valid_until is None else valid_until,
        )
        return DecodedTransaction.of(sign_transaction(body, toy_key(sender)))

    def payload(
        self,
        candidates: Sequence[DecodedTransaction],
        *,
        time: int | None = None,
        view: int = 0,
        base: int = 0,
    ) -> bytes:
        """Return the batch of these transactions for the next height, proposed by the first validator."""
        head = self.ledger.head_header
        return encode(
            Batch(
                height=head.height + 1,
                view=view,
                base=base,
                proposer=self.genesis.validator_keys[0],
                time=head.time + 1_000 if time is None else time,
                tx_ids=tuple(candidate.id for candidate in candidates),
            )
        )

    def execute(self, *candidates: DecodedTransaction) -> Header:
        """Execute a batch at the next height without certifying it."""
        height = self.ledger.head.height + 1
        return self.ledger.execute(height, self.payload(candidates), candidates)

    def add(self, *candidates: DecodedTransaction) -> Header:
        """Execute and certify a batch at the next height."""
        header = self.execute(*candidates)
        self.ledger.certify(self.certificate(header))
        return header

    def certificate(self, header: Header, signers: int | None = None) -> Certificate:
        """Return a certificate by a quorum of those in force, or by the given number of them."""
        validators = self.ledger.schedule.set_at(header.height).validators
        return toy_certificate(self.genesis, header, signers, validators)

    def govern(self, validators: Sequence[str], observers: Sequence[str] = ()) -> DecodedTransaction:
        """Return a transaction that makes these nodes, with keys `toy_key(name)`, the chain's."""
        roles = [(name, "validator") for name in validators] + [(name, "observer") for name in observers]
        nodes = [
            {"org": "bank", "name": name, "public_key": toy_key(name).public, "address": "", "role": role}
            for name, role in roles
        ]
        return self.call("govern", {"var": "nodes", "value": nodes})

    def block(self, height: int) -> Block:
        """Return a certified block."""
        block = self.ledger.read.block(height)
        assert block is not None
        return block


def toy_decision(
    genesis: Genesis, skip: Skip, signers: int | None = None, chain_id: bytes | None = None
) -> SkipDecision:
    """Return a skip decided by a quorum of the founders, or by their first few."""
    count = quorum(len(genesis.validators)) if signers is None else signers
    keys = [toy_key(validator.name) for validator in genesis.validators[:count]]
    message = skip_digest(genesis.chain_id if chain_id is None else chain_id, skip)
    return SkipDecision(skip, tuple(sorted((key.public, key.sign(message)) for key in keys)))


def toy_certificate(
    genesis: Genesis,
    header: Header,
    signers: int | None = None,
    validators: Sequence[Validator] | None = None,
) -> Certificate:
    """Return a certificate by these validators (those of genesis), or by the first few of them."""
    signing = genesis.validators if validators is None else validators
    count = quorum(len(signing)) if signers is None else signers
    keys = [toy_key(validator.name) for validator in signing[:count]]
    hashed = header_hash(header)
    message = checkpoint_digest(genesis.chain_id, header.height, hashed)
    signed = sorted((key.public, key.sign(message)) for key in keys)
    return Certificate(header.height, hashed, tuple(signed))
