"""The host functions: what a running contract reaches outside its values (state, events, hashes, signatures).

State is read through the transaction's overlay and written to it; every value is copied on the way in and on
the way out, as canonical bytes. `compile_contract`, `compile_library`, `call_init` and `call_migrate` serve
the contract called `lifecycle` alone:

- `compile_contract(source: str) -> dict`: {"source_hash": bytes, "ir_hash": bytes, "engine": int,
  "abi": dict, "size": int, "libraries": {name: hash}}; reverts with REJECTED_SOURCE and the diagnostics when
  the source is refused, with UNKNOWN_LIBRARY when it names one that the Map `libraries` does not offer.
  `size` is what a node keeps in memory while the contract is in force, in bytes, at most.
- `compile_library(source: str) -> dict`: the same of a library, without "abi" and "libraries".
- `call_init(name: str, source_hash: bytes, args: dict)` and `call_migrate(…)`: run @init or @migrate of a
  source held in the Map `sources`, as contract `name`, in this transaction; None when the source declares
  no such function (then args must be empty).

`trace_page(source: str, datasets: list, parameters: dict, initiator: str) -> dict` serves `programs` alone:
what follows of a page (`contracts/pages/facts.py`), of its job where datasets are given, else all that
members vote on; it reverts with REJECTED_PAGE, or DOMAIN_NOT_REGISTERED, and the diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from chain.primitives import crypto, merkle
from chain.primitives.kinds import foreign_subjects
from chain.primitives.runtimeport import Event
from chain.primitives.values import Value
from contracts.language.faults import LimitExceeded, OutOfGas, Reverted
from contracts.language.limits import (
    EVENTS_MAX,
    FOREIGN_EVENTS_MAX,
    GAS_EVENT,
    GAS_EVENT_BYTES,
    GAS_HASH,
    GAS_MERKLE_STEP,
    GAS_SIGNATURE,
    GAS_STATE_READ,
    GAS_STATE_WRITE,
    GAS_SUBJECT,
    GAS_WRITE_BYTES,
    MEM_TEXT,
)
from contracts.language.run.encoding import ENCODED, EVENT, KEY, WRITTEN, decode, encode
from contracts.language.run.machine import Machine
from contracts.language.run.payments import need
from contracts.language.run.values import type_name, wrong_type

ABSENT = object()
LIFECYCLE = "lifecycle"
PROGRAMS = "programs"


# --- state -----------------------------------------------------------------------------------------------


def entry_key(m: Machine, prefix: bytes, key: Value) -> bytes:
    """Return the state key of a Map's entry: `runtimeport.map_key`, paid for and bounded."""
    return prefix + encode(m, key, KEY)


def load(m: Machine, key: bytes) -> Any:
    """Return a copy of the value stored under a state key of this contract, or ABSENT."""
    m.gas -= GAS_STATE_READ
    if m.gas < 0:
        raise OutOfGas
    place = (m.contract, key)
    data = m.writes[place] if place in m.writes else m.state.get(m.contract, key)
    if data is None:
        return ABSENT
    m.gas -= len(data) >> 5
    if m.gas < 0:
        raise OutOfGas
    return decode(m, data)


def present(m: Machine, key: bytes) -> bool:
    """Tell whether a state key of this contract holds a value.

    The state reads and hashes a large value in whole to tell, so its size is paid for, as a load's.
    """
    m.charge(GAS_STATE_READ)
    place = (m.contract, key)
    data = m.writes[place] if place in m.writes else m.state.get(m.contract, key)
    if data is None:
        return False
    m.charge(len(data) >> 5)
    return True


def store(m: Machine, key: bytes, value: Value) -> None:
    """Store a copy of a value under a state key of this contract."""
    if m.read_only:
        raise Reverted("READ_ONLY", "a view does not write state")
    data = encode(m, value, WRITTEN)
    size = len(key) + len(data)
    m.gas -= GAS_STATE_WRITE + size // GAS_WRITE_BYTES
    if m.gas < 0:
        raise OutOfGas
    _write(m, size)
    m.writes[m.contract, key] = data


def _write(m: Machine, size: int) -> None:
    m.written -= size
    if m.written < 0:
        raise LimitExceeded("WRITTEN_BYTES", "the transaction writes more than 128 KiB")


def remove(m: Machine, key: bytes) -> None:
    """Delete a state key of this contract; revert when it holds nothing."""
    if m.read_only:
        raise Reverted("READ_ONLY", "a view does not write state")
    if not present(m, key):
        raise Reverted("KEY_ERROR", "del: no such entry")
    m.charge(GAS_STATE_WRITE + len(key) // GAS_WRITE_BYTES)
    _write(m, len(key))
    m.writes[m.contract, key] = None


def announce(m: Machine, name: str, data: bytes, subjects: list[str]) -> None:
    """Add one event to the transaction.

    `data` encodes its fields and `subjects` are at most 16: the caller has paid for them and seen to it.
    """
    if m.read_only:
        raise Reverted("READ_ONLY", "a view emits no events")
    if len(m.events) >= EVENTS_MAX:
        raise LimitExceeded("EVENTS", f"a transaction emits at most {EVENTS_MAX} events")
    m.gas -= GAS_EVENT + len(data) // GAS_EVENT_BYTES + GAS_SUBJECT * len(subjects)
    if m.gas < 0:
        raise OutOfGas
    if len(data) > EVENT.most:
        raise EVENT.refuse()
    _write(m, len(data))
    for subject in foreign_subjects(m.contract, name, subjects):
        m.foreign[subject] = count = m.foreign.get(subject, 0) + 1
        if count > FOREIGN_EVENTS_MAX:
            why = (
                f"more than {FOREIGN_EVENTS_MAX} events for {subject}, which is not of contract {m.contract}"
            )
            raise LimitExceeded("FOREIGN_EVENTS", why)
    m.events.append(Event(m.contract, name, data, tuple(subjects)))


# --- functions -------------------------------------------------------------------------------------------


def _sha256(m: Machine, data: Value) -> bytes:
    need(data, bytes, "sha256")
    m.charge(GAS_HASH + (len(data) >> 6))
    m.allocate(MEM_TEXT + 32)
    return sha256(data).digest()


def _encode(m: Machine, value: Value) -> bytes:
    data = encode(m, value, ENCODED)
    m.text(len(data))
    return data


def _verify_signature(m: Machine, public: Value, message: Value, signature: Value) -> bool:
    for part in (public, message, signature):
        need(part, bytes, "verify_signature")
    m.charge(GAS_SIGNATURE + (len(message) >> 4))
    return crypto.verify(public, message, signature)


def _merkle_verify(m: Machine, root: Value, leaf: Value, index: Value, count: Value, path: Value) -> bool:
    need(root, bytes, "merkle_verify")
    need(leaf, bytes, "merkle_verify")
    need(index, int, "merkle_verify")
    need(count, int, "merkle_verify")
    if type(path) not in (list, tuple):
        raise wrong_type(f"merkle_verify takes a list of hashes, not {type_name(path)}")
    m.charge(GAS_MERKLE_STEP * (1 + len(path)))
    if any(type(step) is not bytes or len(step) != 32 for step in (*path, root, leaf)):
        return False
    return merkle.verify(root, leaf, index, count, path)


def _only_lifecycle(m: Machine, name: str) -> None:
    if m.contract != LIFECYCLE or m.read_only:
        raise Reverted("LIFECYCLE_ONLY", f"{name}() serves the contract `{LIFECYCLE}` alone")


def _compile(m: Machine, source: Value) -> Value:
    _only_lifecycle(m, "compile_contract")
    return m.services.compile_source(m, need(source, str, "compile_contract"))


def _compile_library(m: Machine, source: Value) -> Value:
    _only_lifecycle(m, "compile_library")
    return m.services.compile_library(m, need(source, str, "compile_library"))


def _start(kind: str) -> Callable[..., Value]:
    def function(m: Machine, name: Value, source_hash: Value, args: Value) -> Value:
        _only_lifecycle(m, f"call_{kind}")
        need(name, str, f"call_{kind}")
        need(source_hash, bytes, f"call_{kind}")
        return m.services.start(m, name, source_hash, need(args, dict, f"call_{kind}"), kind)

    return function


def _trace_page(m: Machine, source: Value, datasets: Value, parameters: Value, initiator: Value) -> Value:
    if m.contract != PROGRAMS:
        raise Reverted("PROGRAMS_ONLY", f"trace_page() serves the contract `{PROGRAMS}` alone")
    need(source, str, "trace_page")
    need(datasets, list, "trace_page")
    need(parameters, dict, "trace_page")
    return m.services.trace_page(m, source, datasets, parameters, need(initiator, str, "trace_page"))


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "call_init": _start("init"),
    "call_migrate": _start("migrate"),
    "compile_contract": _compile,
    "compile_library": _compile_library,
    "encode": _encode,
    "merkle_verify": _merkle_verify,
    "sha256": _sha256,
    "trace_page": _trace_page,
    "verify_signature": _verify_signature,
}
