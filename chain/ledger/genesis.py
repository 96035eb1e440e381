"""Genesis: what every member agreed on before height 0. Its hash is the chain id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from chain.ledger.block import (
    BATCH_BYTES_MAX,
    BATCH_TXS_MAX,
    PROTOCOL_VERSION,
    TX_BYTES_MAX,
    VALID_UNTIL_AHEAD_MAX,
)
from chain.ledger.recordjson import record_from_json, record_to_json
from chain.primitives.certificate import VALIDATORS_MAX
from chain.primitives.codec import U64, Bound, Name, PublicKey, Text, encode, max_bytes_of, record
from chain.primitives.crypto import SUITE, digest
from chain.primitives.errors import ConfigError, DecodeError
from chain.primitives.files import read_bounded, replace_file
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.values import Value, decode_value, encode_value

FILE_BYTES_MAX = 16_777_216
INIT_ARGS_BYTES_MAX = 1_048_576
ORG_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ROLES = ("owner", "user", "compute", "auditor", "operator")
ORGS_CONTRACT, GOVERNANCE_CONTRACT = "orgs", "governance"
RESERVED_NAMESPACES = ("executed", "schedule", "subjects")
"""Parts of the state that the ledger writes itself: no contract has these names."""
_KIND = "assent-genesis"
_FILE_VERSION = 1

Address = Annotated[str, Bound(0, 255)]


@record("limits", max_bytes=256)
class Limits:
    """Consensus-critical limits: the same at every node, changed only by governance."""

    block_txs: Annotated[int, Bound(1, BATCH_TXS_MAX)] = 1_000
    """Transactions in one batch."""
    block_bytes: Annotated[int, Bound(1_024, BATCH_BYTES_MAX)] = 4_194_304
    """Encoded transactions of one batch, in bytes."""
    tx_bytes: Annotated[int, Bound(512, TX_BYTES_MAX + 128)] = TX_BYTES_MAX + 128
    """One encoded transaction, in bytes."""
    tx_gas_default: Annotated[int, Bound(1_000, 10**12)] = 1_000_000
    """What a client asks for unless told otherwise."""
    tx_gas_max: Annotated[int, Bound(1_000, 10**12)] = 10_000_000
    """The most that one transaction may ask for."""
    block_gas: Annotated[int, Bound(1_000, 10**15)] = 50_000_000
    """Gas that one batch may use; what does not fit waits for a later batch."""
    validity_window: Annotated[int, Bound(10, VALID_UNTIL_AHEAD_MAX)] = VALID_UNTIL_AHEAD_MAX
    """How many heights ahead of its inclusion a transaction's `valid_until` may lie."""
    consensus_window: Annotated[int, Bound(1, 32)] = 8
    """Heights that may be in flight above the last certified one."""
    rotation: Annotated[int, Bound(1, 1_000_000)] = 16
    """Heights after which the next validator becomes primary."""
    max_clock_skew_ms: Annotated[int, Bound(100, 600_000)] = 5_000
    """How far ahead of a validator's clock a batch's time may lie, in milliseconds."""


FIXED_LIMITS = ("consensus_window", "rotation")
"""Limits that governance cannot change: heights in flight are numbered and led by them."""


@record("validator", max_bytes=512)
class Validator:
    """A node that votes."""

    org: Name
    name: Name
    public_key: PublicKey
    address: Address
    """"host:port" of its node-to-node port."""


@record("org-key", max_bytes=1_536)
class OrgKey:
    """A key that may sign for an organisation."""

    key: PublicKey
    roles: Annotated[tuple[Name, ...], Bound(0, 16)]


@record("org", max_bytes=131_072)
class Org:
    """A founding member, as `orgs.init` takes it."""

    id: Name
    name: Annotated[str, Bound(1, 256)]
    roles: Annotated[tuple[Name, ...], Bound(0, 16)]
    keys: Annotated[tuple[OrgKey, ...], Bound(1, 64)]
    agent_key: Annotated[bytes, Bound(0, 32)]
    """Key of its agent's TLS identity; empty when it runs none."""
    agent_address: Address
    """"host:port" of its agent; empty when it runs none."""


@record("contract-source", max_bytes=327_680)
class ContractSource:
    """A system contract, installed at height 0."""

    name: Name
    source: Text


@record("init-args", max_bytes=INIT_ARGS_BYTES_MAX + 512)
class InitArgs:
    """What a system contract's `@init` is given."""

    contract: Name
    args: Annotated[bytes, Bound(1, INIT_ARGS_BYTES_MAX)]
    """`encode_value` of a dict: argument name -> value."""


@record("genesis", max_bytes=FILE_BYTES_MAX)
class Genesis:
    """Everything that height 0 and the rules above it follow from."""

    chain_name: Name
    time: U64
    """Milliseconds since the epoch: the time of height 0."""
    validators: Annotated[tuple[Validator, ...], Bound(1, VALIDATORS_MAX)]
    """In primary order."""
    orgs: Annotated[tuple[Org, ...], Bound(1, 1_024)]
    contracts: Annotated[tuple[ContractSource, ...], Bound(1, 64)]
    """Installed, and initialised, in this order."""
    init_args: Annotated[tuple[InitArgs, ...], Bound(0, 64)] = ()
    """Beside what follows from the fields above: `orgs` is given the organisations, `governance` the
    validators and the limits that it may change."""
    features: Annotated[tuple[Name, ...], Bound(0, 256)] = ()
    """Protocol features in force from the start."""
    limits: Limits = Limits()
    suite: Name = SUITE
    protocol_version: U64 = PROTOCOL_VERSION

    @property
    def chain_id(self) -> bytes:
        """The 32 bytes that name this chain; every signature covers them."""
        return _chain_id(self)

    @property
    def validator_keys(self) -> tuple[bytes, ...]:
        """Public keys of the founding validators, in primary order."""
        return tuple(validator.public_key for validator in self.validators)

    @property
    def sources(self) -> dict[str, str]:
        """System contracts in order of installation: name -> source."""
        return {contract.name: contract.source for contract in self.contracts}


@lru_cache(maxsize=16)
def _chain_id(genesis: Genesis) -> bytes:
    return digest("assent/genesis", encode(genesis))


def make_init_args(args: Mapping[str, Mapping[str, Value]]) -> tuple[InitArgs, ...]:
    """Return the records for contract name -> argument name -> value."""
    return tuple(InitArgs(contract, encode_value(dict(values))) for contract, values in args.items())


def init_args(genesis: Genesis) -> dict[str, dict[str, Value]]:
    """Return the arguments of every system contract's `@init`: those given, and those that follow."""
    args: dict[str, dict[str, Value]] = {
        item.contract: decode_value(item.args, max_bytes=INIT_ARGS_BYTES_MAX) for item in genesis.init_args
    }
    for contract, derived in _derived_args(genesis).items():
        if contract in genesis.sources:
            args[contract] = {**args.get(contract, {}), **derived}
    return args


def _derived_args(genesis: Genesis) -> dict[str, dict[str, Value]]:
    limits = {name: value for name, value in asdict(genesis.limits).items() if name not in FIXED_LIMITS}
    nodes = [{**asdict(validator), "role": "validator"} for validator in genesis.validators]
    return {
        ORGS_CONTRACT: {"orgs": [_org_value(org) for org in genesis.orgs]},
        GOVERNANCE_CONTRACT: {"nodes": nodes, "limits": limits},
    }


def _org_value(org: Org) -> Value:
    return {
        "id": org.id,
        "name": org.name,
        "roles": list(org.roles),
        "keys": [{"key": key.key, "roles": list(key.roles)} for key in org.keys],
        "agent_key": org.agent_key,
        "agent_address": org.agent_address,
    }


def check_genesis(genesis: Genesis, where: str = "genesis") -> Genesis:
    """Return the genesis if its parts agree with one another; raise ConfigError naming the first fault."""
    _check_protocol(genesis, where)
    check_limits(genesis.limits, f"{where}.limits")
    _check_orgs(genesis, where)
    _distinct(f"{where}.validators", "public_key", [v.public_key.hex() for v in genesis.validators])
    _distinct(f"{where}.validators", "name", [v.name for v in genesis.validators])
    known = {org.id for org in genesis.orgs}
    for i, validator in enumerate(genesis.validators):
        _require(
            validator.org in known, f"{where}.validators[{i}].org", validator.org, f"one of {sorted(known)}"
        )
    _check_contracts(genesis, where)
    return genesis


def check_limits(limits: Limits, where: str) -> Limits:
    """Return the limits if they agree with one another; raise ConfigError naming the first fault."""
    _require(limits.tx_bytes <= limits.block_bytes, f"{where}.tx_bytes", limits.tx_bytes,
             f"at most block_bytes ({limits.block_bytes})")  # fmt: skip
    _require(limits.tx_gas_default <= limits.tx_gas_max, f"{where}.tx_gas_default",
             limits.tx_gas_default, f"at most tx_gas_max ({limits.tx_gas_max})")  # fmt: skip
    _require(limits.tx_gas_max <= limits.block_gas, f"{where}.tx_gas_max", limits.tx_gas_max,
             f"at most block_gas ({limits.block_gas})")  # fmt: skip
    return limits


def _check_protocol(genesis: Genesis, where: str) -> None:
    _require(genesis.suite == SUITE, f"{where}.suite", genesis.suite, f"{SUITE!r}, which this Assent has")
    _require(genesis.protocol_version == PROTOCOL_VERSION, f"{where}.protocol_version",
             genesis.protocol_version, f"{PROTOCOL_VERSION}, which this Assent speaks")  # fmt: skip
    _require(not genesis.features, f"{where}.features", list(genesis.features),
             "an empty list: this Assent knows no optional features")  # fmt: skip


def _check_orgs(genesis: Genesis, where: str) -> None:
    _distinct(f"{where}.orgs", "id", [org.id for org in genesis.orgs])
    _distinct(f"{where}.orgs", "keys.key", [key.key.hex() for org in genesis.orgs for key in org.keys])
    for i, org in enumerate(genesis.orgs):
        _require(ORG_ID.fullmatch(org.id) is not None, f"{where}.orgs[{i}].id", org.id, ORG_ID.pattern)
        _require(set(org.roles) <= set(ROLES), f"{where}.orgs[{i}].roles", list(org.roles),
                 f"a selection of {list(ROLES)}")  # fmt: skip
        _require(len(org.agent_key) in (0, 32), f"{where}.orgs[{i}].agent_key", org.agent_key.hex(),
                 "32 bytes as hex digits, or none")  # fmt: skip


def _check_contracts(genesis: Genesis, where: str) -> None:
    names = [contract.name for contract in genesis.contracts]
    _distinct(f"{where}.contracts", "name", names)
    for name in names:
        _require(name not in RESERVED_NAMESPACES, f"{where}.contracts", name,
                 f"a name other than {list(RESERVED_NAMESPACES)}")  # fmt: skip
    derived = _derived_args(genesis)
    _distinct(f"{where}.init_args", "contract", [item.contract for item in genesis.init_args])
    for item in genesis.init_args:
        path = f"{where}.init_args.{item.contract}"
        _require(item.contract in names, path, item.contract, f"one of the contracts {names}")
        try:
            value = decode_value(item.args, max_bytes=INIT_ARGS_BYTES_MAX)
        except DecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
        _require(
            isinstance(value, dict), path, type(value).__name__, "an object of argument names and values"
        )
        for name in derived.get(item.contract, {}):
            _require(name not in value, f"{path}.{name}", "...", "none: it follows from the fields above")


def _require(holds: bool, where: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{where} = {value!r}: expected {allowed}")


def _distinct(where: str, key: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for i, value in enumerate(values):
        _require(value not in seen, f"{where}[{i}].{key}", value, "a value not used before in this list")
        seen.add(value)


# --- the file: JSON that people read and compare --------------------------------------------------


def load_genesis(path: Path) -> Genesis:
    """Read and check a genesis file; raise ConfigError naming file, key, value and allowed range."""
    try:
        raw = read_bounded(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name the genesis file") from None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error}); name the genesis file, or fetch it again") from None
    return genesis_from_json(document, path.name)


def save_genesis(path: Path, genesis: Genesis) -> None:
    """Write a genesis file that `load_genesis` reads back to the same chain id; replaced atomically."""
    document = genesis_to_json(check_genesis(genesis))
    if genesis_from_json({**document, "chain_id": None}, path.name) != genesis:
        raise ConfigError(
            f"{path}: init_args hold a value that JSON cannot carry (tuple, or int as dict key)"
        )
    replace_file(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def genesis_to_json(genesis: Genesis) -> dict[str, Any]:
    """Return the JSON document of a genesis; sources become lists of lines."""
    document: dict[str, Any] = {"kind": _KIND, "version": _FILE_VERSION, "chain_id": genesis.chain_id.hex()}
    document |= record_to_json(genesis)
    document["contracts"] = [
        {"name": contract.name, "source": contract.source.split("\n")} for contract in genesis.contracts
    ]
    document["init_args"] = {
        item.contract: to_json(decode_value(item.args, max_bytes=INIT_ARGS_BYTES_MAX))
        for item in genesis.init_args
    }
    return document


def genesis_from_json(document: Any, where: str) -> Genesis:
    """Read a genesis document; raise ConfigError naming `where`, key, value and allowed range."""
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise ConfigError(f'{where}: not a genesis file (no "kind": "{_KIND}"); name the right file')
    fields = dict(document)
    version, stated = fields.pop("version", None), fields.pop("chain_id", None)
    del fields["kind"]
    _require(version == _FILE_VERSION, f"{where}.version", version, f"{_FILE_VERSION}")
    if isinstance(fields.get("contracts"), list):
        fields["contracts"] = [_joined(item) for item in fields["contracts"]]
    fields["init_args"] = _args_from_json(fields.get("init_args", {}), f"{where}.init_args")
    genesis = check_genesis(record_from_json(Genesis, fields, where), where)
    if len(encode(genesis)) > max_bytes_of(Genesis):
        raise ConfigError(f"{where}: more than {max_bytes_of(Genesis)} bytes as a record")
    if stated is not None and stated != genesis.chain_id.hex():
        raise ConfigError(
            f"{where}.chain_id = {stated!r}: the content gives {genesis.chain_id.hex()}; "
            "the file was edited: fetch it again from a member"
        )
    return genesis


def _joined(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("source"), list):
        return item
    lines = item["source"]
    return {**item, "source": "\n".join(lines)} if all(isinstance(line, str) for line in lines) else item


def _args_from_json(raw: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected an object: contract name -> arguments")
    found = []
    for name, value in raw.items():
        try:
            found.append({"contract": name, "args": encode_value(from_json(value)).hex()})
        except DecodeError as error:
            raise ConfigError(f"{where}.{name}: {error}") from None
    return found
