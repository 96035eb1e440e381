"""The other side: the production runtime over a dict, with every stored row also decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

from chain.primitives.crypto import PrivateKey
from chain.primitives.possession import REGISTRATION, Purpose, prove_possession
from chain.primitives.runtimeport import OK, Call, Outcome, StateKey, map_key
from chain.primitives.values import Value, decode_stored, encode_value
from contracts.runtime import ContractRuntime
from contracts.system import default_init, sources
from contracts.testing import ConsortiumRuntime
from tests.rules.base import DAY_MS
from tests.rules.model import Model, Step, system_code
from tests.rules.pages import FOUNDED

CHAIN_ID = bytes(range(32))
START_MS = 1_760_000_000_000
GAS = 10_000_000
ORGS: dict[str, list[str]] = {
    "bank": ["owner", "user", "compute"],
    "bureau": ["owner", "user", "compute"],
    "registry": ["owner", "compute"],
    "regulator": ["auditor"],
    "arbiter": ["auditor", "compute"],
    "rival": ["user", "owner", "compute"],
}
VALIDATING = ("bank", "bureau", "registry", "regulator")
LIMITS = {
    "block_txs": 1_000,
    "block_bytes": 4_194_304,
    "tx_bytes": 132_224,
    "tx_gas_default": 1_000_000,
    "tx_gas_max": GAS,
    "block_gas": 50_000_000,
    "validity_window": 600,
    "max_clock_skew_ms": 5_000,
}


@cache
def seeded(name: str) -> PrivateKey:
    """Return the key that belongs to a name."""
    return PrivateKey(sha256(name.encode()).digest())


@cache
def public(name: str) -> bytes:
    """Return the public key that belongs to a name."""
    return seeded(name).public


@cache
def proof(name: str, org: str, purpose: Purpose = REGISTRATION) -> bytes:
    """Return the proof by which the key of a name may be registered for this organisation."""
    return prove_possession(seeded(name), CHAIN_ID, org, purpose)


def genesis_arguments() -> dict[str, Any]:
    """Return the @init arguments of these histories."""
    nodes = [
        {
            "org": org,
            "name": f"{org}-node",
            "public_key": public(f"{org}/node"),
            "address": "127.0.0.1:30300",
            "role": "validator",
        }
        for org in VALIDATING
    ]
    return {
        **default_init(),
        "orgs": {"orgs": [_member(org, roles) for org, roles in ORGS.items()]},
        "governance": {"nodes": nodes, "limits": dict(LIMITS)},
        "programs": {"pages": dict(FOUNDED)},
    }


def _member(org: str, roles: list[str]) -> dict[str, Any]:
    return {
        "id": org,
        "name": org.title(),
        "roles": roles,
        "keys": [
            {"key": public(org), "roles": ["admin"]},
            {"key": public(f"{org}/steward"), "roles": ["steward"]},
        ],
        "agent_key": b"" if roles == ["auditor"] else public(f"{org}/agent"),
        "agent_address": "" if roles == ["auditor"] else "127.0.0.1:7000",
    }


@dataclass(slots=True)
class Chain:
    """State in memory and the clock; no ledger, no signatures of transactions."""

    runtime: ContractRuntime
    state: dict[StateKey, bytes]
    rows: dict[tuple[str, str, Any], Any]
    height: int = 0
    time: int = START_MS
    calls: int = 0
    last: Outcome = field(default_factory=lambda: Outcome(OK))

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None."""
        return self.state.get((namespace, key))

    def perform(self, step: Step) -> Outcome:
        """Make a call; its writes are kept if it ends well."""
        self.time += step.ms
        self.height += step.blocks
        self.calls += 1
        contract, method = step.target.split(".")
        call = Call(
            contract, method, encode_value(dict(step.args)), public(step.who),
            sha256(self.calls.to_bytes(8, "big")).digest(), GAS, self.height, self.time, CHAIN_ID,
        )  # fmt: skip
        outcome = (self.runtime.view if step.asks else self.runtime.execute)(call, self)
        if outcome.status == OK:
            self.apply(outcome)
        return outcome

    def spend(self, org: str, contract: str, acts: Mapping[str, int]) -> None:
        """Set how much an organisation has done today of what is counted by the day."""
        row = {"day": self.time // DAY_MS, **acts}
        self.apply(Outcome(OK, writes={(contract, map_key("daily", org)): encode_value(row)}))

    def answered(self, grant: str, returned: int, joined: Sequence[bytes]) -> None:
        """Set how many runs a grant took back today, and ever, and with what its data were joined."""
        row = {"day": self.time // DAY_MS, "today": returned, "ever": returned}
        rows: dict[str, Value] = {"returns": row, "partners": list(joined)}
        writes = {("grants", map_key(name, grant)): encode_value(value) for name, value in rows.items()}
        self.apply(Outcome(OK, writes=dict(writes)))

    def apply(self, outcome: Outcome) -> None:
        """Keep what a call wrote."""
        for place, data in outcome.writes.items():
            row = _place(place)
            if data is None:
                self.state.pop(place, None)
                self.rows.pop(row, None)
            else:
                self.state[place] = data
                self.rows[row] = decode_stored(data)


@cache
def _parsed(contract: str, key: bytes) -> tuple[str, str, Any]:
    name, slash, encoded = key.partition(b"/")
    ident = decode_stored(encoded) if slash else None
    return contract, name.decode(), ident


def _place(place: StateKey) -> tuple[str, str, Any]:
    return _parsed(*place)


class World:
    """Both sides at genesis, for one set of sources; each history starts with copies."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        """Compile the sources, by default those of the package, and run genesis."""
        self._texts = dict(texts or sources())
        self._runtime = ConsortiumRuntime(self._texts)
        self._init = genesis_arguments()
        self._codes = {name: system_code(program) for name, program in self._runtime.compiled.items()}
        self._genesis = Chain(self._runtime, {}, {})
        outcome = self._runtime.bootstrap(self._texts, self._init, time=START_MS, state=self._genesis)
        self._genesis.apply(outcome)

    def chain(self) -> Chain:
        """Return the contracts at genesis."""
        return Chain(self._runtime, dict(self._genesis.state), dict(self._genesis.rows))

    def model(self) -> Model:
        """Return the model at genesis."""
        return Model.genesis(CHAIN_ID, START_MS, self._init, self._codes)
