"""The runtime port: what the batch executor asks of whatever runs contracts; neither imports the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from chain.primitives.codec import Bound, Name, record
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.values import Value, encode_value

StateKey = tuple[str, bytes]
"""(namespace, key): the namespace is a contract's name, or one of the executor's own (`subjects`)."""

OK, REVERTED, OUT_OF_GAS, LIMIT, REJECTED = "ok", "reverted", "out_of_gas", "limit", "rejected"
ARGS_BYTES_MAX = 131_072
RESULT_BYTES_MAX = 65_536
SUBJECT_PATTERN = r"[a-z]{1,16}:[!-~]{1,128}"


UNKNOWN_SENDER = "UNKNOWN_SENDER"
SIGNER_REFUSALS = {
    UNKNOWN_SENDER: "no organisation ever listed it; an admin of yours adds it with: assent org add-key",
    "KEY_REVOKED": "its organisation revoked or replaced it; sign with a key that: assent org show lists",
    "ORG_SUSPENDED": "its organisation is suspended; it signs again when the members reinstate it",
    "ORG_EXPELLED": "its organisation is no longer a member",
}
"""Why a key may not sign: code -> what it means and what to do."""
_REFUSAL_OF_STATUS = {
    "active": "",
    "revoked": "KEY_REVOKED",
    "suspended": "ORG_SUSPENDED",
    "expelled": "ORG_EXPELLED",
}


def signer_refusal(status: str) -> str:
    """Return why a key of this status in `orgs.keys` may not sign, "" when it may; an unknown one may not."""
    return _REFUSAL_OF_STATUS.get(status, "KEY_REVOKED")


def map_key(name: str, key: Value) -> bytes:
    """Return the state key of entry `key` of a contract's `Map` called `name`."""
    return name.encode() + b"/" + encode_value(key)


def var_key(name: str) -> bytes:
    """Return the state key of a contract's `Var` called `name`."""
    return name.encode()


class StateReader(Protocol):
    """Committed state plus whatever earlier transactions of the block wrote."""

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a transaction, or an off-chain view, makes it."""

    contract: str
    method: str
    args: bytes
    """`encode_value` of a dict: argument name -> value."""
    sender: bytes
    """32-byte public key of the signer; its organisation is looked up in the state of `orgs`."""
    tx_id: bytes
    gas_limit: int
    height: int
    block_time: int
    """Milliseconds since the epoch, from the batch."""
    chain_id: bytes = ZERO_HASH
    """The chain that the transaction was signed for; zero bytes where there is no chain."""


@record("event", max_bytes=131_072)
class Event:
    """What a contract announced; `subjects` name the histories that it belongs to."""

    contract: Name
    name: Name
    fields: Annotated[bytes, Bound(0, RESULT_BYTES_MAX)]
    """`encode_value` of a dict: field name -> value."""
    subjects: Annotated[tuple[Annotated[str, Bound(3, 145)], ...], Bound(0, 16)]


@dataclass(frozen=True, slots=True)
class TraceFrame:
    """One frame of a failed call's trace: the function and the line that the failure went through.

    For people, never hashed.
    """

    contract: str
    function: str
    line: int
    """Source line, 0 when unknown."""
    library: str = ""
    """Hash, hex, of the library whose function it is; empty for one of the contract's own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call did. Writes and events are empty unless status is `ok`."""

    status: str
    code: str = ""
    """Stable code of a revert, limit or rejection; empty when ok."""
    result: bytes = b""
    """`encode_value` of what the method returned."""
    gas_used: int = 0
    line: int = 0
    """Source line of a failure, 0 when unknown: for people, never hashed."""
    detail: str = ""
    """Text for people (contract, function, line): never hashed, never in a receipt."""
    trace: tuple[TraceFrame, ...] = ()
    """The calls that a failure went through, innermost first, at most eight: never hashed."""
    why: str = ""
    """What was wrong beyond the code, for people: never hashed, never in a receipt."""
    writes: Mapping[StateKey, bytes | None] = field(default_factory=dict)
    """New bytes per key; None deletes."""
    events: tuple[Event, ...] = ()


class Runtime(Protocol):
    """Runs contracts: deterministic, metered, reading nothing but the state it is given."""

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Run an exported method for a transaction."""

    def view(self, call: Call, state: StateReader) -> Outcome:
        """Run a read-only method; writes and events are refused."""
