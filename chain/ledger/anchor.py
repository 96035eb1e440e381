"""What proves a height to a node that has only the genesis: the sets that came to power, the last headers.

A header names the validator set in force `consensus_window` heights above it. So a chain of set changes, each
in a header that the former set certified, leads from the genesis to any height, and the last window of
headers, linked by parent hashes, names every set that is in force, or settled, at the top.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from chain.ledger.block import Header, header_hash
from chain.ledger.genesis import Genesis, Validator
from chain.ledger.holding import UnknownHeight
from chain.ledger.proof import HEADERS_MAX, HeaderProof
from chain.ledger.prover import Prover
from chain.ledger.queries import Queries
from chain.ledger.rows import ValidatorSet
from chain.primitives.certificate import Certificate, check_certificate, validators_hash
from chain.primitives.codec import U64, Bound, record
from chain.primitives.errors import ProofInvalid

CHANGES_MAX = 64
"""In one record; a chain with more sends them in several."""


@record("set-change", max_bytes=262_144)
class SetChange:
    """A header that names a set other than the one below it, and that set."""

    header: HeaderProof
    validators: ValidatorSet


@record("set-changes", max_bytes=CHANGES_MAX * 262_144)
class SetChanges:
    """Set changes in order of height, from the one after `after` on."""

    after: U64
    """Height of the last change that the receiver knows; 0 for the genesis."""
    changes: Annotated[tuple[SetChange, ...], Bound(0, CHANGES_MAX)]


@record("anchor", max_bytes=65_536)
class Anchor:
    """A certified header and those below it, one consensus window of them."""

    headers: Annotated[tuple[Header, ...], Bound(1, HEADERS_MAX + 1)]
    """Upwards; the last is the certified one."""
    certificate: Certificate

    @property
    def top(self) -> Header:
        """The certified header."""
        return self.headers[-1]


class TrustedSets:
    """The validator sets by height, as far as certified headers name them; starts at the genesis."""

    def __init__(self, genesis: Genesis) -> None:
        self._chain_id, self._window = genesis.chain_id, genesis.limits.consensus_window
        self._sets: list[tuple[int, tuple[Validator, ...]]] = [(0, genesis.validators)]
        """(first height in force, set), ascending."""
        self.changes: list[SetChange] = []
        """What was followed."""

    @property
    def last_change(self) -> int:
        """Height of the newest change followed; 0 when the genesis set still stands."""
        return self.changes[-1].header.headers[0].height if self.changes else 0

    @property
    def rows(self) -> list[tuple[int, tuple[Validator, ...]]]:
        """(first height in force, set) of every set."""
        return list(self._sets)

    def at(self, height: int) -> tuple[bytes, ...]:
        """Return the keys in force at a height, if no change lies between that is not known here."""
        found = self._sets[0][1]
        for first, validators in self._sets:
            if first <= height:
                found = validators
        return tuple([validator.public_key for validator in found])

    def follow(self, changes: Iterable[SetChange]) -> None:
        """Go on to the sets that certified headers name; raise ProofInvalid."""
        for change in changes:
            headers, height = change.header.headers, change.header.headers[0].height
            where = f"validator set change of height {height}"
            if height <= self.last_change:
                raise ProofInvalid(f"{where}: not above the one of height {self.last_change}")
            self._check_linked(where, headers)
            if headers[-1].height >= height + self._window:
                raise ProofInvalid(f"{where}: certified only by the set that it brings to power")
            self._check_certified(where, headers[-1], change.header.certificate)
            keys = [validator.public_key for validator in change.validators.validators]
            if headers[0].validators_hash != validators_hash(keys):
                raise ProofInvalid(f"{where}: the header names another set")
            self._sets.append((height + self._window, change.validators.validators))
            self.changes.append(change)

    def check_anchor(self, anchor: Anchor) -> None:
        """Raise ProofInvalid unless the top is certified and every set settled there is known here."""
        where = f"anchor of height {anchor.top.height}"
        self._check_linked(where, anchor.headers)
        if len(anchor.headers) < min(self._window, anchor.top.height) + 1:
            raise ProofInvalid(f"{where}: {len(anchor.headers)} headers, expected one consensus window")
        self._check_certified(where, anchor.top, anchor.certificate)
        for header in anchor.headers:
            if header.validators_hash != validators_hash(self.at(header.height + self._window)):
                raise ProofInvalid(f"{where}: header {header.height} names a validator set not yet followed")

    def _check_certified(self, where: str, header: Header, certificate: Certificate) -> None:
        if (certificate.height, certificate.header_hash) != (header.height, header_hash(header)):
            raise ProofInvalid(f"{where}: the certificate is over another header")
        check_certificate(certificate, self._chain_id, self.at(header.height))

    def _check_linked(self, where: str, headers: tuple[Header, ...]) -> None:
        for below, header in pairwise(headers):
            if (header.height, header.parent) != (below.height + 1, header_hash(below)):
                raise ProofInvalid(f"{where}: header {header.height} does not follow the one below it")


def make_anchor(read: Queries, height: int, window: int) -> Anchor:
    """Return the anchor of a certified height; raise UnknownHeight when a part is not here."""
    headers = [read.header(at) for at in range(max(0, height - window), height + 1)]
    certificate = read.certificate(height)
    found = tuple(header for header in headers if header is not None)
    if certificate is None or len(found) != len(headers):
        raise UnknownHeight(f"height {height}: not certified here, or its headers are not all here")
    return Anchor(found, certificate)


def make_changes(read: Queries, prove: Prover, after: int, window: int) -> SetChanges:
    """Return the set changes in headers above `after`, at most `CHANGES_MAX`; raise UnknownHeight."""
    changes: list[SetChange] = []
    for first, validators in read.validator_sets(above=after + window if after else 0):
        if len(changes) == CHANGES_MAX:
            break
        changes.append(SetChange(prove.header(first - window), validators))
    return SetChanges(after, tuple(changes))
