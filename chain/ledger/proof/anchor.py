"""Anchor: what proves a height to a node that has only the genesis: validator sets and the last headers.

A header names the validator set in force `consensus_window` heights above it. So a chain of set changes, each
in a header that the former set certified, leads from the genesis to any height, and the last window of
headers, linked by parent hashes, names every set that is in force, or final, at its header.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from chain.ledger.block import Header
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HEADERS_MAX, HeaderProof, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.pruned import UnknownHeight
from chain.ledger.queries import Queries
from chain.primitives.certificate import Certificate
from chain.primitives.codec import Bound, record
from chain.primitives.errors import ProofInvalid


@record("anchor", max_bytes=65_536)
class Anchor:
    """A certified header and those below it, one consensus window of them."""

    headers: Annotated[tuple[Header, ...], Bound(1, HEADERS_MAX + 1)]
    """Upwards; the last is the certified one."""
    certificate: Certificate

    @property
    def header(self) -> Header:
        """The certified header."""
        return self.headers[-1]


class TrustedSets:
    """The validator sets by height, as far as certified headers name them; starts at the genesis."""

    def __init__(self, genesis: Genesis) -> None:
        self._verifier = ProofVerifier(genesis)
        self.changes: list[SetChange] = []
        """What was followed."""

    @property
    def chain_id(self) -> bytes:
        """The chain whose genesis is trusted."""
        return self._verifier.chain_id

    @property
    def followed(self) -> int:
        """The height from which the newest set known here is in force; 0 while it is the genesis'."""
        return self._verifier.followed

    def at(self, height: int) -> tuple[bytes, ...]:
        """Return the keys in force at a height, if no change lies between that is not known here."""
        return self._verifier.validators_at(height)

    def follow(self, changes: Iterable[SetChange]) -> None:
        """Go on to the sets that certified headers name; raise ProofInvalid."""
        for change in changes:
            self._verifier.follow(change)
            self.changes.append(change)

    def check_header(self, proof: HeaderProof) -> None:
        """Raise ProofInvalid unless the header is certified by a set that was followed."""
        self._verifier.check_header(proof)

    def check_anchor(self, anchor: Anchor) -> None:
        """Raise ProofInvalid unless its header is certified and every set that is final there is known."""
        window = self._verifier.consensus_window
        if len(anchor.headers) < min(window, anchor.header.height) + 1:
            raise ProofInvalid(
                f"anchor of height {anchor.header.height}: {len(anchor.headers)} headers, expected one "
                "consensus window"
            )
        self._verifier.check_header(HeaderProof(anchor.headers, anchor.certificate))


def make_anchor(read: Queries, height: int, window: int) -> Anchor:
    """Return the anchor of a certified height; raise UnknownHeight when a part is not here."""
    headers = [read.header(at) for at in range(max(0, height - window), height + 1)]
    certificate = read.certificate(height)
    found = tuple(header for header in headers if header is not None)
    if certificate is None or len(found) != len(headers):
        raise UnknownHeight(f"height {height}: not certified here, or its headers are not all here")
    return Anchor(found, certificate)
