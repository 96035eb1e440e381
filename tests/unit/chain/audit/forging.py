"""Forgeries of audit packages: each is whole in form, with every hash made anew, and says what is not so.

`forgeries` tells them by name, in an order that a seed fixes; `mutations` changes bytes.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from chain.audit.container import MAGIC, pack_file, pack_record
from chain.audit.package import encode_package
from chain.audit.records import EVIDENCE, PackageParts, RecordKind, SetProof
from chain.ledger.block import header_hash
from chain.ledger.testing import toy_key
from chain.primitives.certificate import Certificate, checkpoint_digest
from chain.primitives.codec import encode
from tests.unit.chain.audit.kit import Records, parts_of, records_of

Forged = Iterator[tuple[str, bytes]]


def forgeries(package: bytes, others: list[bytes], seed: int) -> Forged:
    """Yield (name, file) of what forgers may try with a package, and others of the same chain."""
    dice = random.Random(seed)
    records = records_of(package)
    yield from _left_out(records)
    yield from _twice(records)
    yield from _out_of_order(records)
    yield from _certificates(package)
    yield from _heads(records)
    for number, other in enumerate(others):
        yield from _padded(package, other, number)
    yield from _fields(records, dice)
    yield from _forks(package)


def mutations(package: bytes, seed: int, count: int) -> Forged:
    """Yield files of which bytes were changed, put in, or cut out; half of them with the hash made anew."""
    dice = random.Random(seed)
    for number in range(count):
        whole = bytearray(package[:-32])
        at = dice.randrange(len(whole))
        match number % 4:
            case 0:
                whole[at] ^= 1 << dice.randrange(8)
            case 1:
                whole[at:at] = dice.randbytes(dice.randrange(1, 9))
            case 2:
                del whole[at : at + dice.randrange(1, 65)]
            case _:
                whole[at] = dice.randrange(256)
        tail = sha256(whole).digest() if number % 8 < 4 else package[-32:]
        made = bytes(whole) + tail
        if made != package:
            yield f"mutation {number} at {at}", made


def groups(records: Records) -> list[Records]:
    """Return records of content with the evidence that follows each."""
    found: list[Records] = []
    for kind, item in records:
        own = kind < EVIDENCE or kind in (RecordKind.VALIDATORS, RecordKind.STATEMENT, RecordKind.LINK)
        if own and kind is not RecordKind.RECEIPT:
            found.append([])
        found[-1].append((kind, item))
    return found


def _joined(parts: list[Records]) -> bytes:
    return pack_file([record for part in parts for record in part])


def _left_out(records: Records) -> Forged:
    found = groups(records)
    for at, group in enumerate(found):
        name = group[0][0].name.lower()
        yield f"{name} {at} left out", _joined(found[:at] + found[at + 1 :])
    for at, (kind, _) in enumerate(records):
        if kind >= EVIDENCE:
            yield f"evidence {kind.name.lower()} {at} left out", pack_file(records[:at] + records[at + 1 :])


def _twice(records: Records) -> Forged:
    found = groups(records)
    for at, group in enumerate(found):
        name = group[0][0].name.lower()
        yield f"{name} {at} twice", _joined([*found[: at + 1], *found[at:]])
        if group[0][0] in (RecordKind.TRANSACTION, RecordKind.STATE):
            yield f"{name} {at} again at the end", _joined([*found, group])


def _out_of_order(records: Records) -> Forged:
    found = groups(records)
    for at in range(len(found) - 1):
        names = f"{found[at][0][0].name.lower()} {at} after {found[at + 1][0][0].name.lower()}"
        yield names, _joined([*found[:at], found[at + 1], found[at], *found[at + 2 :]])


def _certificates(package: bytes) -> Forged:
    def changed(name: str, change: Callable[[Certificate], Certificate]) -> Forged:
        for at, (kind, item) in enumerate(records := records_of(package)):
            if kind is RecordKind.CERTIFICATE:
                made = [*records[:at], (kind, change(item)), *records[at + 1 :]]
                yield f"certificate {at} {name}", pack_file(made)

    def signed(item: Certificate, *signatures: Any) -> Certificate:
        return dataclasses.replace(item, signatures=tuple(signatures))

    yield from changed("empty", signed)
    yield from changed("one short", lambda item: signed(item, *item.signatures[:-1]))
    yield from changed("one twice", lambda item: signed(item, item.signatures[0], *item.signatures))
    yield from changed("reversed", lambda item: signed(item, *item.signatures[::-1]))
    yield from changed("by strangers", lambda item: signed(item, *strangers(item, 3)))
    yield from changed("of another height", lambda item: dataclasses.replace(item, height=item.height + 1))
    yield from changed("of another header", lambda item: dataclasses.replace(item, header_hash=bytes(32)))


def strangers(item: Certificate, count: int, chain_id: bytes = bytes(32)) -> list[tuple[bytes, bytes]]:
    """Return signatures under a certificate by keys that no validator has."""
    keys = [toy_key(f"stranger {number}") for number in range(count)]
    message = checkpoint_digest(chain_id, item.height, item.header_hash)
    return sorted([(key.public, key.sign(message)) for key in keys])


def _heads(records: Records) -> Forged:
    head = records[0][1]
    for name, over in (
        ("stale: one height fewer", {"last": head.last - 1}),
        ("one height more", {"last": head.last + 1}),
        ("a million heights more", {"last": head.last + 1_000_000}),
        ("begins later", {"first": head.first + 2}),
        ("begins at 1", {"first": 1}),
        ("ends before it begins", {"first": head.last + 1}),
        ("another subject", {"subject": "dataset:other/one"}),
        ("another kind", {"subject": "org:" + head.subject.partition(":")[2]}),
        ("a foreign chain", {"chain_id": bytes(32)}),
        ("another version", {"version": head.version + 1}),
    ):
        yield f"head: {name}", pack_file([(RecordKind.HEAD, dataclasses.replace(head, **over)), *records[1:]])
    renamed = dataclasses.replace(records[1][1], chain_name="twin")
    yield "genesis of a twin", pack_file([records[0], (RecordKind.GENESIS, renamed), *records[2:]])


def _padded(package: bytes, other: bytes, number: int) -> Forged:
    """Add what another package proves, one thing at a time: all of it is true, nothing of it belongs here."""
    extra, own = parts_of(other), parts_of(package)
    held = {(item.row.height, item.row.namespace, item.row.key) for item in own.states}
    for item in extra.states:
        place = (item.row.height, item.row.namespace, item.row.key)
        if place not in held:
            yield f"state {place} of package {number}", _with(package, extra, states=[item])
    known = {item.receipt.tx_id for item in own.transactions}
    for call in extra.transactions:
        if call.receipt.tx_id not in known:
            name = f"transaction {call.receipt.tx_id.hex()[:8]} of package {number}"
            yield name, _with(package, extra, transactions=[call])
    for height in sorted(set(extra.headers) - set(own.headers)):
        yield f"header {height} of package {number}", _with(package, extra, heights=[height])
    for entry in extra.entries:
        if entry not in own.entries:
            yield f"entry of genesis of package {number}", _with(package, extra, entries=[entry])
    mixed = parts_of(package)
    mixed.states, mixed.headers = extra.states, {**extra.headers, **own.headers}
    yield f"all states of package {number}", encode_package(mixed)


def _with(package: bytes, extra: PackageParts, **more: Any) -> bytes:
    parts = parts_of(package)
    parts.states += more.get("states", [])
    parts.transactions += more.get("transactions", [])
    parts.entries += more.get("entries", [])
    heights = [item.row.height for item in more.get("states", [])]
    heights += [item.height for item in more.get("transactions", [])] + more.get("heights", [])
    for height in heights:
        parts.headers.setdefault(height, extra.headers[height])
    parts.sets = max(parts.sets, extra.sets, key=len)
    return encode_package(parts)


def _fields(records: Records, dice: random.Random) -> Forged:
    """Change one field of each record, in a way that its type allows; times and amounts among them."""
    for at, (kind, item) in enumerate(records):
        if kind is RecordKind.GENESIS:
            continue
        names = [field.name for field in dataclasses.fields(item)]
        for name in names:
            value = getattr(item, name)
            changed = _other(value, dice)
            if changed is None:
                continue
            made = [*records[:at], (kind, dataclasses.replace(item, **{name: changed})), *records[at + 1 :]]
            yield f"{kind.name.lower()} {at}: another {name}", pack_file(made)


def _other(value: Any, dice: random.Random) -> Any:
    if type(value) is int:
        return value + 1
    if type(value) is bytes and value:
        at = dice.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
    if type(value) is str and value:
        return value[:-1] + ("x" if value[-1] != "x" else "y")
    if type(value) is tuple and value:
        return value[:-1]
    return None


def _forks(package: bytes) -> Forged:
    """Validator sets of the forger's own, by headers that the true set never signed, or by true ones."""
    own = parts_of(package)
    for at, item in enumerate(own.sets):
        for name, made in (
            ("left out", []),
            ("twice", [item, item]),
            ("with a stranger", [_stranger(item)]),
            ("certified by strangers", [_resigned(item)]),
            ("moved", [_moved(item)]),
        ):
            parts = parts_of(package)
            parts.sets[at : at + 1] = made
            yield f"set {at} {name}", encode_package(parts)
    parts = parts_of(package)
    height, proof = max(parts.headers.items())
    header = dataclasses.replace(proof.headers[0], state_root=bytes(32), time=proof.headers[0].time + 1)
    certificate = Certificate(height, header_hash(header), ())
    signatures = strangers(certificate, 4, parts.genesis.chain_id)
    made_up = Certificate(height, certificate.header_hash, tuple(signatures))
    parts.headers[height] = dataclasses.replace(proof, headers=(header,), certificate=made_up)
    yield "a fork of the last header", encode_package(parts)


def _stranger(item: SetProof) -> SetProof:
    keys = (*item.change.validators[:-1], toy_key("stranger").public)
    return dataclasses.replace(item, change=dataclasses.replace(item.change, validators=keys))


def _resigned(item: SetProof) -> SetProof:
    proof = item.change.header
    signatures = tuple(strangers(proof.certificate, len(proof.certificate.signatures)))
    certificate = dataclasses.replace(proof.certificate, signatures=signatures)
    change = dataclasses.replace(item.change, header=dataclasses.replace(proof, certificate=certificate))
    return dataclasses.replace(item, change=change)


def _moved(item: SetProof) -> SetProof:
    return dataclasses.replace(item, change=dataclasses.replace(item.change, first=item.change.first + 1))


def junk(size: int) -> bytes:
    """Return a file of the shortest records that there are, as many as fit."""
    one = pack_record(RecordKind.STATE, b"\xc0")
    whole = MAGIC + one * (size // len(one))
    return whole + sha256(whole).digest()


def not_canonical(package: bytes) -> bytes:
    """Return a package whose first record says the same in other bytes: a number longer than it must be."""
    records = records_of(package)
    kind, head = records[0]
    body = encode(head).replace(b"\xaaaudit-head\x02", b"\xaaaudit-head\xcc\x02")
    rest = b"".join([pack_record(of, encode(item)) for of, item in records[1:]])
    whole = MAGIC + pack_record(kind, body) + rest
    return whole + sha256(whole).digest()
