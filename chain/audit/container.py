"""The file of an audit package: magic, manifest, hash of the manifest, then the parts, nothing else.

    magic | length of manifest: 4 bytes | manifest | SHA-256 of manifest | part | part | …
    part   = record | record | …        record = length: 4 bytes, big endian | canonical bytes

Every byte is covered: the magic by comparison, the manifest by its hash, the parts by the hashes in the
manifest, the length of the file by the sizes in it. Whoever recomputes those hashes still meets the proofs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from chain.audit.records import PACKAGE_VERSION, PARTS, Manifest, Part
from chain.primitives.codec import decode, encode, max_bytes_of
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError, ProofInvalid

MAGIC = b"assent audit package 1\n"
PACKAGE_BYTES_MAX = 2_147_483_648
_LENGTH_BYTES, _HASH_BYTES = 4, 32


class PackageDamaged(ProofInvalid):
    """A file that is not a whole audit package: the text names the part; export it again."""

    code = "package_damaged"


@dataclass(frozen=True, slots=True)
class Container:
    """A file cut into its parts; `damaged` names those whose bytes are not the manifest's."""

    manifest: Manifest
    parts: Mapping[str, memoryview]
    damaged: tuple[str, ...]


def write_container(
    chain_id: bytes, subject: str, first: int, last: int, parts: Mapping[str, Iterable[bytes]]
) -> bytes:
    """Return the bytes of a package whose parts are these encoded records."""
    bodies: list[bytes] = []
    rows: list[Part] = []
    for name in PARTS:
        records = list(parts[name])
        body = b"".join([len(item).to_bytes(_LENGTH_BYTES, "big") + item for item in records])
        bodies.append(body)
        rows.append(Part(name, len(body), len(records), _part_hash(name, body)))
    manifest = encode(Manifest(PACKAGE_VERSION, chain_id, subject, first, last, tuple(rows)))
    head = MAGIC + len(manifest).to_bytes(_LENGTH_BYTES, "big") + manifest + _manifest_hash(manifest)
    return b"".join([head, *bodies])


def read_container(data: bytes) -> Container:
    """Cut a file into its parts; raise PackageDamaged when magic, manifest or length are not whole."""
    if not data.startswith(MAGIC):
        raise PackageDamaged("file: not an audit package of version 1 (its first bytes differ)")
    view, at = memoryview(data), len(MAGIC)
    size = int.from_bytes(view[at : at + _LENGTH_BYTES], "big")
    at += _LENGTH_BYTES
    if size > max_bytes_of(Manifest) or len(data) < at + size + _HASH_BYTES:
        raise PackageDamaged("manifest: its length is impossible")
    raw = bytes(view[at : at + size])
    if _manifest_hash(raw) != view[at + size : at + size + _HASH_BYTES]:
        raise PackageDamaged("manifest: its bytes do not have the hash that follows it")
    try:
        manifest = decode(Manifest, raw)
    except DecodeError as error:
        raise PackageDamaged(f"manifest: {error}") from None
    _check_manifest(manifest)
    at += size + _HASH_BYTES
    if len(data) != at + sum(part.size for part in manifest.parts):
        raise PackageDamaged("file: longer or shorter than its manifest says")
    parts: dict[str, memoryview] = {}
    for part in manifest.parts:
        parts[part.name] = view[at : at + part.size]
        at += part.size
    damaged = [part.name for part in manifest.parts if _part_hash(part.name, parts[part.name]) != part.hash]
    return Container(manifest, parts, tuple(damaged))


def cut_records(name: str, body: memoryview) -> list[bytes]:
    """Return the records of a part; raise PackageDamaged where the lengths do not add up."""
    records: list[bytes] = []
    at = 0
    while at < len(body):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(body[at:start], "big")
        if start > len(body) or end > len(body):
            raise PackageDamaged(f"{name}: record {len(records)} runs past the end of its part")
        records.append(bytes(body[start:end]))
        at = end
    return records


def _check_manifest(manifest: Manifest) -> None:
    if manifest.version != PACKAGE_VERSION:
        raise PackageDamaged(
            f"manifest: package version {manifest.version}, this Assent reads {PACKAGE_VERSION}; "
            "use the release that wrote it, or a newer one"
        )
    if tuple([part.name for part in manifest.parts]) != PARTS:
        raise PackageDamaged(f"manifest: the parts are not {', '.join(PARTS)}")


def _part_hash(name: str, body: bytes | memoryview) -> bytes:
    state = sha256(b"assent/audit-part\0" + name.encode() + b"\0")
    state.update(body)
    return state.digest()


def _manifest_hash(manifest: bytes) -> bytes:
    return digest("assent/audit-manifest", manifest)
