"""The way back of a private join's common positions, as messages that each owner can give again and again.

After `psi.match` every owner knows its own shuffle of each list, and the matcher the common points' positions
in every list. The positions of list l travel from the matcher to the owner of the last hop, and back along
the ring: whoever made hop k undoes it and passes the positions before it on to whoever made hop k - 1. Each
message is a function of what was matched alone: it may be asked for by a party that was away, in any order
and any number of times, and is the same every time. `psi.release` is the same over links, for a join whose
owners go on computing.

The matcher commits to the positions of every list before the reveal; the owners that get them check it. Of
the hops in between only the form is checked: positions are distinct, within their list, and as many as are
common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from chain.primitives.values import Value, decode_value, encode_value
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.protocols.psi import Matching, PsiSpec

SALT_BYTES = 32
_INDEX = np.dtype("<u4")


def write_matching(matching: Matching) -> Value:
    """Return what was matched as a contract value: to be sealed, and to be committed to."""
    common = [] if matching.common is None else [one.astype(_INDEX).tobytes() for one in matching.common]
    shuffles = [one.astype(_INDEX).tobytes() for one in matching.permutations]
    return [list(matching.sizes), shuffles, matching.common is not None, common]


def read_matching(value: Value) -> Matching:
    """Read what `write_matching` returned; raise DecodeError for anything else."""
    try:
        sizes, shuffles, is_matcher, common = value
        positions = tuple(np.frombuffer(one, _INDEX) for one in common)
        return Matching(
            tuple(sizes),
            tuple(np.frombuffer(one, _INDEX).astype(np.int64) for one in shuffles),
            positions if is_matcher else None,
        )
    except (ValueError, TypeError) as error:
        raise DecodeError(f"a matching: {type(error).__name__}") from None


def matching_commitment(salt: bytes, matching: Matching) -> bytes:
    """Return H(salt ‖ sizes, shuffles and common positions) of one owner; `salt` is 32 secret bytes."""
    return digest("assent/psi-matching", salt, encode_value(write_matching(matching)))


def _positions_commitment(list_of: int, opening: bytes) -> bytes:
    return digest("assent/psi-common", bytes((list_of,)), opening)


class JoinReturn:
    """One owner's part in the way back: it takes messages in, and says what it can pass on."""

    def __init__(
        self, spec: PsiSpec, me: int, matching: Matching, salt: bytes, commitments: Mapping[str, bytes]
    ) -> None:
        """`salt` is this owner's, of 32 bytes; `commitments` are those of all before the reveal."""
        self.spec, self.me, self._matching = spec, me, matching
        self._here, self._n = spec.parties.index(me), len(spec.parties)
        self._salt, self._commitments = salt, commitments
        self._held: dict[int, NDArray[np.int64]] = {}
        """Hop -> positions in the list of ring position (here - hop), as they left that hop of ours."""
        if matching.common is not None:
            self._held[self._n - 1] = matching.common[(self._here + 1) % self._n].astype(np.int64)

    def own_commitments(self) -> dict[str, bytes]:
        """Return what this owner commits to: its matching, and as the matcher the positions of every list."""
        made = {f"matching-{self.me}": matching_commitment(self._salt, self._matching)}
        if self._matching.common is not None:
            made |= {
                f"common-{index}": _positions_commitment(index, self._opening(index))
                for index in range(self._n)
            }
        return made

    @property
    def missing(self) -> dict[int, tuple[int, ...]]:
        """Owners that have something for us still, with the hops that it is about."""
        after = self.spec.parties[(self._here + 1) % self._n]
        wanted: dict[int, list[int]] = {}
        for hop in range(self._n):
            if hop not in self._held:
                wanted.setdefault(self.spec.matcher if hop == self._n - 1 else after, []).append(hop)
        return {party: tuple(hops) for party, hops in wanted.items()}

    @property
    def bytes_max(self) -> int:
        """The most bytes of positions that one owner hands to another."""
        return self._n * max(self._matching.sizes) * _INDEX.itemsize

    @property
    def count(self) -> int | None:
        """Number of common rows, None while we know of none."""
        return next((len(positions) for positions in self._held.values()), None)

    def rows(self, most: int) -> NDArray[np.int64] | None:
        """Return our own common rows in the canonical order, None while they are not all there.

        `most` is the number of our rows; raises PeerMisbehaved when a position is one of padding.
        """
        if self.missing:
            return None
        found: NDArray[np.int64] = self._matching.permutations[0][self._held[0]]
        if found.size and int(found.max()) >= most:
            after = self.spec.parties[(self._here + 1) % self._n]
            raise PeerMisbehaved(after, f"party {after} returned a padding point as common")
        return found

    def give(self, party: int) -> dict[str, bytes]:
        """Return what we have for another owner now: messages by the hop of its own that they are about."""
        given: dict[str, bytes] = {}
        there = self.spec.parties.index(party)
        if self._matching.common is not None:
            given[str(self._n - 1)] = self._opening((there + 1) % self._n)
        if there == (self._here - 1) % self._n:
            for hop in range(1, self._n):
                if hop in self._held:
                    before = self._matching.permutations[hop][self._held[hop]]
                    given[str(hop - 1)] = before.astype(_INDEX).tobytes()
        return given

    def take(self, party: int, messages: Mapping[str, Any]) -> None:
        """Take in what another owner has for us; raise PeerMisbehaved for what cannot be right."""
        for hop in self.missing.get(party, ()):
            data = messages.get(str(hop))
            if data is None:
                continue
            list_of = (self._here - hop) % self._n
            if hop == self._n - 1:
                data = self._opened(party, list_of, data)
            self._held[hop] = self._positions(party, data, self._matching.sizes[list_of])

    def _opening(self, list_of: int) -> bytes:
        """The matcher's positions in a list, with a salt of their own."""
        assert self._matching.common is not None, "only the matcher knows them"
        salt = digest("assent/psi-common-salt", self._salt, bytes((list_of,)))
        return encode_value([salt, self._matching.common[list_of].astype(_INDEX).tobytes()])

    def _opened(self, party: int, list_of: int, opening: Any) -> Any:
        said = self._commitments.get(f"common-{list_of}")
        if not isinstance(opening, bytes) or _positions_commitment(list_of, opening) != said:
            raise PeerMisbehaved(
                party,
                f"party {party} hands out other common positions than it committed to",
            )
        try:
            _, data = decode_value(opening, max_bytes=len(opening))
        except (DecodeError, ValueError, TypeError):
            return None
        return data

    def _positions(self, party: int, data: Any, size: int) -> NDArray[np.int64]:
        expected = self.count
        if not isinstance(data, bytes) or len(data) % _INDEX.itemsize:
            raise PeerMisbehaved(party, f"party {party} sent no positions")
        positions = np.frombuffer(data, _INDEX).astype(np.int64)
        if expected is not None and len(positions) != expected:
            raise PeerMisbehaved(
                party, f"party {party} sent {len(positions)} positions, common are {expected}"
            )
        if positions.size and (int(positions.max()) >= size or np.unique(positions).size != positions.size):
            raise PeerMisbehaved(party, f"party {party} sent positions that repeat or exceed {size}")
        return positions
