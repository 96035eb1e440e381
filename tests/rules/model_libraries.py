"""Libraries: published under the hash of their text, held by proposals that name them, withdrawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.model_pages import Pages
from tests.rules.policies import Shared, code_of, library_of

LIBRARIES_MAX, LIBRARIES_BYTES_MAX, LIBRARIES_A_DAY_MAX = 32, 524_288, 200


@dataclass(frozen=True, slots=True)
class Published:
    """Who published a library last."""

    by: str
    library: Shared
    published_at: int
    withdrawn: bool = False


class Libraries(Pages):
    """The rules of contract `lifecycle` about libraries."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without libraries."""
        super().__init__(chain_id)
        self.published: dict[bytes, Published] = {}
        """Whatever was ever published; what of it is on the ledger follows from the proposals."""

    def offered(self, source_hash: bytes) -> bool:
        """Tell whether a proposal may name a library."""
        found = self.published.get(source_hash)
        return found is not None and not found.withdrawn

    def naming(self, source_hash: bytes) -> int:
        """Return how many open proposals name a library."""
        return sum(
            source_hash in code.libraries.values()
            for place, proposal in self.proposals.items()
            if isinstance(place, tuple)
            and proposal.committed_at is None
            and (code := code_of(proposal.content["source"])) is not None
        )

    def held(self) -> dict[bytes, Published]:
        """Return the libraries on the ledger: on offer, or withdrawn while open proposals name them."""
        return {
            key: found for key, found in self.published.items() if not found.withdrawn or self.naming(key) > 0
        }

    def account(self, org: str) -> dict[str, int]:
        """Return what an organisation has on the ledger."""
        own = [found.library for found in self.held().values() if found.by == org]
        return {"count": len(own), "bytes": sum(library.length for library in own)}

    def lifecycle_publish(self, source: str) -> bytes:
        """Put a library on the ledger."""
        org = self.role()
        library = library_of(source)
        self.need(library is not None, "REJECTED_SOURCE")
        assert library is not None
        key = library.source_hash
        self.must(not self.offered(key), "LIBRARY_EXISTS")
        own = [found.library for other, found in self.held().items() if found.by == org and other != key]
        self.must(len(own) < LIBRARIES_MAX, "TOO_MANY_LIBRARIES")
        size = sum(other.length for other in own) + library.length
        self.must(size <= LIBRARIES_BYTES_MAX, "LIBRARIES_TOO_LONG")
        self.room_today("lifecycle", "libraries", LIBRARIES_A_DAY_MAX, "TOO_MANY_LIBRARIES_TODAY")
        self.go()
        self.published[key] = Published(org, library, self.height)
        told = {"source_hash": key, "ir_hash": library.ir_hash, "bytes": library.length}
        self.tell("lifecycle.LibraryPublished", ["library"], library=f"library:{key.hex()}", **told)
        return key

    def lifecycle_withdraw_library(self, source_hash: bytes) -> None:
        """Take a library back."""
        org = self.role()
        self.need(source_hash in self.held(), "UNKNOWN_LIBRARY")
        found = self.published[source_hash]
        self.must(found.by == org, "NOT_PUBLISHER")
        self.must(not found.withdrawn, "WRONG_STATE")
        self.go()
        self.published[source_hash] = replace(found, withdrawn=True)
        name = f"library:{source_hash.hex()}"
        self.tell("lifecycle.LibraryWithdrawn", ["library"], library=name, source_hash=source_hash)

    def lifecycle_library_of(self, source_hash: bytes) -> dict[str, Any]:
        """Answer with the record."""
        self.need(source_hash in self.held(), "UNKNOWN_LIBRARY")
        return self.library_row(source_hash)

    def library_row(self, source_hash: bytes) -> dict[str, Any]:
        """Return the record of a library."""
        found = self.published[source_hash]
        return {
            "by": found.by,
            "bytes": found.library.length,
            "ir_hash": found.library.ir_hash,
            "engine": found.library.engine,
            "size": found.library.size,
            "published_at": found.published_at,
            "open": self.naming(source_hash),
            "withdrawn": found.withdrawn,
        }

    def rows_libraries(self) -> dict[tuple[str, str, Any], Any]:
        """Return the rows about libraries."""
        held = {("lifecycle", "libraries", key): self.library_row(key) for key in self.held()}
        orgs = {found.by for found in self.published.values()}
        return held | {("lifecycle", "library_totals", org): self.account(org) for org in orgs}
